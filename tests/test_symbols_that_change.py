"""Symbols that are halted, delisted and traded again while the daemon runs: it says so, and invents nothing."""

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from candled.domain.interval import MINUTE
from candled.feed.adapter import DELISTED, HINTS_MAX, ExchangeDescription, Instrument
from candled.feed.instruments import DELISTED_EVERY, Change, Listings
from tests.memory_daemon import SYMBOLS, MemoryDaemon, captured_logs, make_exchange, open_daemon_on


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def described(**status_by_symbol: str) -> ExchangeDescription:
    instruments = {symbol: Instrument(symbol, status, 2, 5) for symbol, status in status_by_symbol.items()}
    return ExchangeDescription("test", instruments, list(status_by_symbol))


def test_status_change_is_reported_once() -> None:
    listings = Listings(described(A="TRADING", B="TRADING"))
    assert listings.learn(["A", "B"], described(A="BREAK", B="TRADING")) == [Change("A", "TRADING", "BREAK")]
    assert listings.learn(["A", "B"], described(A="BREAK", B="TRADING")) == []
    assert listings.status("A") == "BREAK"


def test_missing_symbol_is_delisted_with_similar_names() -> None:
    listings = Listings(described(LUNAUSDT="TRADING", B="TRADING"))
    (change,) = listings.learn(["LUNAUSDT", "B"], described(B="TRADING", LUNCUSDT="TRADING"))
    assert change == Change("LUNAUSDT", "TRADING", DELISTED, ("LUNCUSDT",))
    assert not listings.is_listed("LUNAUSDT")
    assert listings.instruments["LUNAUSDT"].price_decimals == 2


def test_names_are_suggested_for_the_first_of_many_unknown_symbols_only() -> None:
    """To compare names takes time, and an exchange may call every symbol unknown at once."""
    symbols = [f"A{number}USDT" for number in range(2000)]
    others = described(**{f"B{number}USDT": "TRADING" for number in range(100_000)})
    changes = Listings(described(**dict.fromkeys(symbols, "TRADING"))).learn(symbols, others)
    assert [change.symbol for change in changes if change.near] == symbols[:HINTS_MAX]
    assert [text for text in others.unknown(symbols) if "mean" in text] == others.unknown(symbols[:HINTS_MAX])


def test_delisted_symbol_is_checked_rarely() -> None:
    """A delisted symbol is asked for at every few looks alone."""
    listings = Listings(described(A="TRADING", B="TRADING"))
    listings.learn(["A", "B"], described(B="TRADING"))
    asked = [listings.to_ask(look) for look in range(1, DELISTED_EVERY + 1)]
    assert asked == [["B"]] * (DELISTED_EVERY - 1) + [["A", "B"]]
    assert listings.learn(["A", "B"], described(A="TRADING", B="TRADING")) == [Change("A", DELISTED, "TRADING")]


def test_symbol_removed_during_a_request_stays_forgotten() -> None:
    listings = Listings(described(A="TRADING"))
    listings.forget("A")
    assert listings.learn(["A"], described(A="HALT")) == []
    assert listings.status("A") == ""


async def test_halted_symbol_is_logged_and_resumes_complete(autojump_clock: MockClock) -> None:
    """A halted symbol is logged, has no bars meanwhile, and its bars are complete afterwards."""
    with captured_logs() as logs:
        async with open_daemon_on(make_exchange()) as daemon:
            await daemon.closes(3)
            daemon.exchange.command("halt:ETHUSDT")
            await daemon.until(lambda: daemon.status("ETHUSDT").trading_status == "HALT")
            assert daemon.status("BTCUSDT").trading_status == "TRADING"
            halted = daemon.exchange.clock.now()
            await daemon.closes(20, ("BTCUSDT", "PEPEUSDT"))
            assert max(bar.open_time for bar in daemon.bars("ETHUSDT")) < halted
            assert daemon.readiness.not_ready_reasons() == ()
            daemon.exchange.command("halt:ETHUSDT=off")
            await daemon.until(lambda: daemon.status("ETHUSDT").trading_status == "TRADING")
            await daemon.closes(5)
            await daemon.is_whole()
            times = [bar.open_time for bar in daemon.bars("ETHUSDT")]
            assert max(b - a for a, b in pairwise(times)) >= 18 * MINUTE
    logged = [(line["event"], line["symbol"]) for line in logs if line["event"].startswith("symbol is")]
    assert logged == [("symbol is not traded", "ETHUSDT"), ("symbol is traded again", "ETHUSDT")]


async def test_delisted_symbol_causes_no_repeated_warnings(autojump_clock: MockClock) -> None:
    """A delisted symbol is neither logged again and again nor asked for all the time."""
    with captured_logs() as logs:
        async with open_daemon_on(make_exchange()) as daemon:
            await daemon.closes(3)
            daemon.exchange.command("delist:ETHUSDT")
            await daemon.until(lambda: daemon.status("ETHUSDT").trading_status == DELISTED)
            logs.clear()
            failures = daemon.pipeline.repairer.counts.failures
            await daemon.closes(60, ("BTCUSDT", "PEPEUSDT"))
            assert daemon.pipeline.repairer.counts.failures - failures <= 1
            assert [line for line in logs if line["log_level"] in ("warning", "error")] == []
            daemon.exchange.command("delist:ETHUSDT=off")
            await daemon.until(lambda: daemon.status("ETHUSDT").trading_status == "TRADING")
            await daemon.closes(3)
            await daemon.is_whole()


async def settings_become(daemon: MemoryDaemon, *symbols: str) -> None:
    """The settings file names these symbols now, and SIGHUP comes."""
    daemon.settings = type(daemon.settings)(symbols=symbols, stream_urls=("ws://a",), rest_urls=("http://a",))
    await daemon.reload.send(None)


async def test_added_symbol_has_complete_bars(autojump_clock: MockClock) -> None:
    async with open_daemon_on(make_exchange((*SYMBOLS, "SOLUSDT"))) as daemon:
        await daemon.closes(2)
        filled = [daemon.status(symbol).gaps_filled for symbol in SYMBOLS]
        await trio.sleep(31)  # somewhere within a minute
        await settings_become(daemon, *SYMBOLS, "SOLUSDT")
        await daemon.closes(4, (*SYMBOLS, "SOLUSDT"))
        await daemon.is_whole((*SYMBOLS, "SOLUSDT"))
        assert daemon.recorder.events[-1].position <= daemon.hub.position
        assert daemon.status("SOLUSDT").live
        assert [daemon.status(symbol).gaps_filled for symbol in SYMBOLS] == filled, "the others had no gap"


async def test_readded_symbol_continues_from_its_last_bar(autojump_clock: MockClock) -> None:
    async with open_daemon_on(make_exchange()) as daemon:
        await daemon.closes(3)
        await settings_become(daemon, "BTCUSDT", "PEPEUSDT")
        await daemon.until(lambda: "ETHUSDT" not in daemon.pipeline.engine.symbols)
        gone = len(daemon.bars("ETHUSDT"))
        await daemon.closes(10, ("BTCUSDT", "PEPEUSDT"))
        assert len(daemon.bars("ETHUSDT")) == gone
        assert [each.symbol for each in daemon.readiness.status().symbols] == ["BTCUSDT", "PEPEUSDT"]
        await settings_become(daemon, *SYMBOLS)
        await daemon.closes(13, ("ETHUSDT",))
        await daemon.is_whole()
        closes = [
            e.bar.open_time for e in daemon.recorder.events if (e.bar.symbol, e.bar.interval) == ("ETHUSDT", "1m")
        ]
        assert len(set(closes)) == len(daemon.bars("ETHUSDT"))


async def test_unknown_symbol_rejects_the_reload(autojump_clock: MockClock) -> None:
    with captured_logs() as logs:
        async with open_daemon_on(make_exchange()) as daemon:
            await daemon.closes(1)
            await settings_become(daemon, "BTCUSDT", "ETHUDST")
            await daemon.closes(2)
            assert list(daemon.pipeline.engine.symbols) == list(SYMBOLS)
    (line,) = [line for line in logs if line["event"] == "reload rejected; keeping current settings"]
    assert "ETHUDST (did you mean ETHUSDT" in line["reason"]


async def test_settings_awaiting_a_restart_are_named(autojump_clock: MockClock) -> None:
    with captured_logs() as logs:
        async with open_daemon_on(make_exchange()) as daemon:
            await daemon.closes(1)
            for _ in range(2):
                daemon.settings = type(daemon.settings)(symbols=SYMBOLS, close_grace=2.5, connections=2)
                await daemon.reload.send(None)
                await trio.sleep(1)
    waiting = [
        line["settings"] for line in logs if line["event"] == "changed settings take effect at the next start"
    ]
    assert waiting == [["stream_urls", "rest_urls", "close_grace", "connections"]] * 2
