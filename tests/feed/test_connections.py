"""Connections are cut, stall and are replaced: the symbols' streams have no gap that can be avoided.

All of it on a mock clock: the exchange is the embedded one, in memory.
"""

from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from candled.embedded_exchange.core import Limits
from candled.feed import connections
from candled.feed.binance.adapter import BinanceAdapter
from candled.feed.binance.capabilities import CAPABILITIES
from tests.feed.stand import SYMBOLS, Network, Stand, make_exchange, open_feed
from tests.memory_daemon import captured_logs

pytestmark = pytest.mark.usefixtures("each_library")


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def has_no_gap(stand: Stand) -> bool:
    return all(stand.missing(symbol) == [] for symbol in SYMBOLS)


def test_connections_are_replaced_early() -> None:
    """A connection is replaced well before the exchange ends it."""
    assert CAPABILITIES.connection_lifetime < 24 * 3600 - 600


async def test_rollover_leaves_no_gap(autojump_clock: MockClock) -> None:
    exchange = make_exchange(limits=Limits(lifetime_s=120.0))
    async with open_feed(exchange, lifetime=100.0) as stand:
        await stand.until(lambda: stand.feed.counts.roll_overs >= 3)
        await stand.hears_each()
        assert stand.feed.counts.disconnects == 0
        assert stand.received.losses == []
        assert has_no_gap(stand)
        assert stand.feed.connected == 1


async def test_server_shutdown_leaves_no_gap(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        stand.exchange.command("shutdown")
        await stand.until(lambda: stand.feed.counts.roll_overs == 1)
        await trio.sleep(30)  # longer than the server goes on
        await stand.hears_each()
        assert stand.feed.counts.disconnects == 0
        assert stand.received.losses == []
        assert has_no_gap(stand)


def has_lost_more(stand: Stand, disconnects: int) -> bool:
    return stand.feed.counts.disconnects > disconnects


async def test_second_connection_covers_a_loss(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange(), connections=2) as stand:
        await stand.until(lambda: stand.feed.connected == 2)
        assert set(stand.network.hosts) == {"a", "b"}
        await stand.hears_each()
        for _ in range(2):
            disconnects = stand.feed.counts.disconnects
            stand.network.streams[-1].cut()
            await stand.until(partial(has_lost_more, stand, disconnects))
            await stand.until(lambda: stand.feed.connected == 2)
            await stand.hears_each()
        assert stand.received.losses == []
        assert has_no_gap(stand)


async def test_loss_and_reconnection_are_emitted(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        stand.exchange.command("cut")
        await stand.until(lambda: stand.feed.counts.connects == 2)
        await stand.hears_each()
        assert stand.received.losses == [SYMBOLS]
        assert stand.received.lives == [SYMBOLS, SYMBOLS]
        assert [stand.feed.reconnects(symbol) for symbol in SYMBOLS] == [1, 1, 1]


async def test_next_endpoint_is_tried_when_one_is_down(autojump_clock: MockClock) -> None:
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


async def test_only_a_dead_stream_is_replaced(
    autojump_clock: MockClock,
) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        last = stand.received.last("ETHUSDT")
        stand.exchange.command("stall:ETHUSDT")
        await stand.until(lambda: stand.feed.counts.stalls == 1)
        stand.exchange.command("stall:ETHUSDT=off")
        assert stand.received.exists["ETHUSDT"] > last, "what was missed is known at once"
        await stand.until(lambda: stand.feed.counts.roll_overs == 1)
        await stand.hears_each()
        assert stand.received.losses == []
        assert (stand.missing("BTCUSDT"), stand.missing("PEPEUSDT")) == ([], [])


async def test_dead_connection_is_replaced_once(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        stand.exchange.command("stall")
        await stand.until(lambda: stand.feed.counts.stalls == 1)
        stand.exchange.command("stall=off")
        await stand.hears_each()
        assert stand.feed.counts.stalls == 1


async def test_quiet_market_is_checked_ever_less_often(autojump_clock: MockClock) -> None:
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


async def test_lagging_rest_is_no_quiet_market(
    autojump_clock: MockClock,
) -> None:
    exchange = make_exchange()
    async with open_feed(exchange) as stand:
        await stand.hears_each()
        exchange.command("rest_lag=2m,stall:BTCUSDT")
        await trio.sleep(100)
        exchange.command("rest_lag=0s")
        await stand.until(lambda: stand.feed.counts.stalls == 1, seconds=60)


async def test_reconnects_stay_within_the_exchanges_limit(
    autojump_clock: MockClock,
) -> None:
    most, seconds = CAPABILITIES.attempts
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


async def test_many_symbols_are_split_over_connections(
    autojump_clock: MockClock,
) -> None:
    """Symbols beyond one connection's limit get another, within the limit of messages."""
    # Smaller than the real ones, for speed: connections of 120, six messages after the ten in the URL.
    adapter = BinanceAdapter(
        capabilities=attrs.evolve(CAPABILITIES, streams_per_connection=120),
        streams_in_url=10,
        streams_per_message=20,
    )
    symbols = [f"S{number:04}USDT" for number in range(200)]
    exchange = make_exchange(symbols, rate=0.002, limits=Limits(streams=120))
    async with open_feed(exchange, symbols, adapter=adapter) as stand:
        await stand.until(lambda: stand.feed.connected == 2)
        await trio.sleep(45)  # two of its pings, which count as messages too
        assert stand.feed.counts.disconnects == 0
        assert stand.feed.refusals.total == 0
        assert sorted(name for names in stand.received.lives for name in names) == symbols
        sessions: list[Any] = [*exchange._sessions]
        carried = [name for session in sessions for name in session._streams.names]
        assert sorted(carried) == sorted(f"{symbol.lower()}@trade" for symbol in symbols)


async def test_changing_symbols_leaves_the_others_without_gap(autojump_clock: MockClock) -> None:
    symbols = (*SYMBOLS, "SOLUSDT")
    exchange = make_exchange(symbols)
    async with open_feed(exchange) as stand:
        await stand.hears_each()
        description = await stand.rest.describe(["BTCUSDT", "ETHUSDT", "SOLUSDT"])
        stand.feed.follow(description.instruments.values())
        await stand.hears_each(["SOLUSDT"])
        assert stand.received.lives == [SYMBOLS, ("SOLUSDT",)]
        await stand.until(lambda: stand.feed.connected == 1)
        gone_at = stand.received.last("PEPEUSDT")
        await trio.sleep(300)
        assert stand.received.last("PEPEUSDT") == gone_at
        assert stand.received.losses == []
        assert (stand.missing("BTCUSDT"), stand.missing("ETHUSDT")) == ([], [])


async def test_removing_the_last_symbol_closes_its_connection(autojump_clock: MockClock) -> None:
    async with open_feed(make_exchange()) as stand:
        await stand.hears_each()
        stand.feed.follow([])
        await stand.until(lambda: stand.feed.connected == 0)
        await trio.sleep(120)
        assert stand.feed.counts.connects == 1
        stand.feed.follow((await stand.rest.describe(SYMBOLS)).instruments.values())
        await stand.hears_each()


async def test_reason_of_close_is_plain_text(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """Whatever the exchange says as it ends a connection, nothing that a terminal obeys gets to status and log."""
    monkeypatch.setattr(connections, "why_lost", lambda _error: "closed with 1001 \x1b[2J\x07")

    async def first_is_down(network: Network) -> None:
        network.down.add("a")

    with captured_logs() as logs:
        async with open_feed(make_exchange(), prepare=first_is_down) as stand:
            await stand.hears_each()
            shown = [*stand.feed.connect_failures.values()]
            stand.exchange.command("cut")
            await stand.until(lambda: stand.feed.counts.disconnects >= 1)
    shown += [line["reason"] for line in logs if "reason" in line]
    assert len(shown) >= 3
    assert all(text.startswith("closed with 1001") and text.isprintable() for text in shown)
