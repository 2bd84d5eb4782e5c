"""Connections are cut, stall and are replaced: the symbols' streams have no gap that can be avoided.

All of it on a mock clock: the exchange is the embedded one, in memory.
"""

import pytest
import trio
from trio.testing import MockClock

from candled.exchange.core import Limits
from candled.feed.binance import feed
from candled.feed.binance.feed import ATTEMPTS, ROLL_OVER_SECONDS
from tests.feed.stand import SYMBOLS, Network, Stand, make_exchange, open_feed


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def has_no_gap(stand: Stand) -> bool:
    return all(stand.missing(symbol) == [] for symbol in SYMBOLS)


def test_a_connection_is_replaced_well_before_the_exchange_ends_it() -> None:
    assert ROLL_OVER_SECONDS < 24 * 3600 - 600


async def test_a_roll_over_by_age_leaves_no_gap_and_no_moment_without_a_stream(autojump_clock: MockClock) -> None:
    exchange = make_exchange(limits=Limits(lifetime_s=120.0))
    async with open_feed(exchange, roll_over_seconds=100.0) as stand:
        await stand.until(lambda: stand.feed.counts.roll_overs >= 3)
        await stand.hears_each()
        assert stand.feed.counts.disconnects == 0
        assert stand.heard.losses == []
        assert has_no_gap(stand)
        assert stand.feed.connected == 1


async def test_a_server_that_shuts_down_is_left_without_a_gap(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        stand.exchange.command("shutdown")
        await stand.until(lambda: stand.feed.counts.roll_overs == 1)
        await trio.sleep(30)  # longer than the server goes on
        await stand.hears_each()
        assert stand.feed.counts.disconnects == 0
        assert stand.heard.losses == []
        assert has_no_gap(stand)


async def test_with_two_connections_the_loss_of_one_is_not_noticed(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange(), connections=2) as stand:
        await stand.until(lambda: stand.feed.connected == 2)
        assert set(stand.network.hosts) == {"a", "b"}
        await stand.hears_each()
        for _ in range(2):
            disconnects = stand.feed.counts.disconnects
            stand.network.streams[-1].cut()
            await stand.until(lambda before=disconnects: stand.feed.counts.disconnects > before)
            await stand.until(lambda: stand.feed.connected == 2)
            await stand.hears_each()
        assert stand.heard.losses == []
        assert has_no_gap(stand)


async def test_a_lost_connection_is_told_and_so_is_its_successor(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        stand.exchange.command("cut")
        await stand.until(lambda: stand.feed.counts.connects == 2)
        await stand.hears_each()
        assert stand.heard.losses == [SYMBOLS]
        assert stand.heard.lives == [SYMBOLS, SYMBOLS]
        assert [stand.feed.reconnects(symbol) for symbol in SYMBOLS] == [1, 1, 1]


async def test_the_next_endpoint_is_tried_when_one_is_down(autojump_clock: MockClock) -> None:
    async def first_is_down(network: Network) -> None:
        network.down.add("a")

    async with open_feed(make_exchange(), prepare=first_is_down) as stand:
        await stand.hears_each()
        assert stand.network.hosts == ["a", "b"]
        stand.network.down = {"b"}
        stand.exchange.command("cut")
        await stand.until(lambda: stand.feed.counts.connects == 2)
        await stand.hears_each()
        assert stand.network.hosts == ["a", "b", "b", "a"]


async def test_a_symbol_whose_stream_is_dead_gets_a_new_one_and_the_others_keep_theirs(
    autojump_clock: MockClock,
) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        last = stand.heard.last("ETHUSDT")
        stand.exchange.command("stall:ETHUSDT")
        await stand.until(lambda: stand.feed.counts.stalls == 1)
        stand.exchange.command("stall:ETHUSDT=off")
        assert stand.heard.exists["ETHUSDT"] > last, "what was missed is known at once"
        await stand.until(lambda: stand.feed.counts.roll_overs == 1)
        await stand.hears_each()
        assert stand.heard.losses == []
        assert (stand.missing("BTCUSDT"), stand.missing("PEPEUSDT")) == ([], [])


async def test_all_symbols_dead_on_one_connection_replace_it_once(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        stand.exchange.command("stall")
        await stand.until(lambda: stand.feed.counts.stalls == 1)
        stand.exchange.command("stall=off")
        await stand.hears_each()
        assert stand.feed.counts.stalls == 1


async def test_a_quiet_market_is_left_alone_and_asked_after_ever_less(autojump_clock: MockClock) -> None:
    exchange = make_exchange()
    async with open_feed(exchange) as stand:
        await stand.hears_each()
        exchange.command("halt:BTCUSDT,halt:ETHUSDT")
        begun, requests = trio.current_time(), stand.rest.requests
        await trio.sleep(1800)
        assert stand.feed.counts.stalls == stand.feed.counts.roll_overs == 0
        clock_readings = (trio.current_time() - begun) / 30
        assert stand.rest.requests - requests - clock_readings < 2 * 1800 / 300 + 30
        exchange.command("halt:BTCUSDT=off,halt:ETHUSDT=off")
        await stand.hears_each()
        assert has_no_gap(stand)


async def test_connections_that_are_cut_again_and_again_are_begun_within_the_exchanges_limit(
    autojump_clock: MockClock,
) -> None:
    most, seconds = ATTEMPTS
    async with open_feed(make_exchange(), connections=2) as stand:
        stand.network.seconds = 0.0
        with trio.move_on_after(400):
            while True:
                await trio.sleep(1.0)  # time for a trade, so that no backoff grows
                stand.network.memory.cut_all()
        times = [time for time, _ in stand.network.made]
        assert len(times) > most, "or this shows nothing"
        for number, time in enumerate(times):
            assert sum(1 for other in times[number:] if other < time + seconds - 0.001) <= most
        await stand.until(lambda: stand.feed.connected == 2)
        await stand.hears_each()


async def test_more_symbols_than_one_connection_carries_are_split_and_subscribed_within_the_message_limit(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Smaller than the real ones, for speed: connections of 120, six messages after the ten in the URL.
    monkeypatch.setattr(feed, "STREAMS_PER_CONNECTION", 120)
    monkeypatch.setattr(feed, "STREAMS_IN_URL", 10)
    monkeypatch.setattr(feed, "STREAMS_PER_MESSAGE", 20)
    symbols = [f"S{number:04}USDT" for number in range(200)]
    exchange = make_exchange(symbols, rate=0.002, limits=Limits(streams=120))
    async with open_feed(exchange, symbols) as stand:
        await stand.until(lambda: stand.feed.connected == 2)
        await trio.sleep(45)  # two of its pings, which count as messages too
        assert stand.feed.counts.disconnects == 0
        assert stand.feed.counts.malformed == 0
        assert sorted(name for names in stand.heard.lives for name in names) == symbols
        carried = [name for session in exchange._sessions for name in session._feeder.names]
        assert sorted(carried) == sorted(f"{symbol.lower()}@trade" for symbol in symbols)


async def test_symbols_come_and_go_while_the_others_have_no_gap(autojump_clock: MockClock) -> None:
    symbols = (*SYMBOLS, "SOLUSDT")
    exchange = make_exchange(symbols)
    async with open_feed(exchange) as stand:
        await stand.hears_each()
        description = await stand.rest.describe(["BTCUSDT", "ETHUSDT", "SOLUSDT"])
        stand.feed.follow(description.instruments.values())
        await stand.hears_each(["SOLUSDT"])
        assert stand.heard.lives == [SYMBOLS, ("SOLUSDT",)]
        await stand.until(lambda: stand.feed.connected == 1)
        gone_at = stand.heard.last("PEPEUSDT")
        await trio.sleep(300)
        assert stand.heard.last("PEPEUSDT") == gone_at
        assert stand.heard.losses == []
        assert (stand.missing("BTCUSDT"), stand.missing("ETHUSDT")) == ([], [])


async def test_the_last_symbol_that_goes_takes_its_connection_with_it(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        stand.feed.follow([])
        await stand.until(lambda: stand.feed.connected == 0)
        await trio.sleep(120)
        assert stand.feed.counts.connects == 1
        stand.feed.follow((await stand.rest.describe(SYMBOLS)).instruments.values())
        await stand.hears_each()
