"""A daemon on an exchange that sends impossible values: it continues, and marks the bars they affect."""

from decimal import Decimal

import pytest
import trio
from trio.testing import MockClock

from candled.domain.refusal import Refusal
from candled.domain.status import GapState
from candled.embedded_exchange.memory import open_memory_exchange
from candled.history import MemoryStore
from tests.memory_daemon import MemoryDaemon, captured_logs, make_exchange, open_daemon_on, open_memory_daemon

SYMBOLS = ("BTCUSDT", "ETHUSDT")
LIES = [
    ("price", "10000000000.00000000", "price out of range"),
    ("price", "1E-7", "not a plain decimal"),
    ("price", "NaN", "not a plain decimal"),
    ("price", "doubled", "doubled key"),
    ("quantity", "1" * 30, "quantity out of range"),
    ("quantity", "0.123456789", "more than 8 decimals"),
    ("quantity", "-1.0", "not a plain decimal"),
    ("time", "999999999999999999", "time out of range"),
    ("time", "missing", "missing or wrong field"),
]


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def wrong(daemon: MemoryDaemon, symbol: str) -> list[int]:
    """Open times of stored bars that say complete and differ from the exchange's own klines."""
    found = []
    for bar in daemon.bars(symbol):
        kline = daemon.exchange.ledger.kline(symbol, bar.open_time, bar.close_time, daemon.exchange.clock.now())
        numbers = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume)
        true = kline and (
            *(kline.open, kline.high, kline.low, kline.close),
            *(kline.volume, kline.quote_volume),
        )
        if bar.complete and tuple(Decimal(value).scaleb(-8) for value in numbers) != true:
            found.append(bar.open_time)
    return found


@pytest.mark.parametrize(("field", "value", "reason"), [*LIES, ("id", str(2**63), "trade id out of range")])
async def test_bad_values_of_the_stream_are_fetched(
    field: str, value: str, reason: str, autojump_clock: MockClock
) -> None:
    """REST states it rightly: every bar is complete, and the refusals are counted and logged."""
    with captured_logs() as logs:
        async with open_daemon_on(make_exchange(SYMBOLS, faults=f"say_{field}={value}/0.05"), SYMBOLS) as daemon:
            await daemon.closes(3, SYMBOLS)
            await daemon.is_whole(SYMBOLS)
            assert daemon.pipeline.feed.refusals.counts[Refusal(reason)] > 0
    (first, *_) = (line for line in logs if line["event"] == "frames refused")
    assert first["reason"] == reason
    assert len([line for line in logs if line["event"] == "frames refused"]) < 200


@pytest.mark.parametrize(("field", "value", "reason"), LIES)
async def test_bad_values_of_rest_too_are_listed(
    field: str, value: str, reason: str, autojump_clock: MockClock
) -> None:
    """The bars that lack it are not complete and the status says why; after the lies all is well again."""
    lies = f"say_{field}={value}/0.03,rest_say_{field}={value}/0.03"
    async with open_daemon_on(make_exchange(SYMBOLS), SYMBOLS) as daemon:
        await daemon.closes(2, SYMBOLS)
        daemon.exchange.command(lies)
        await daemon.closes(3, SYMBOLS)
        daemon.exchange.command("clear")
        engines = daemon.pipeline.engine.symbols
        await daemon.until(lambda: not any(engines[name].continuity.missing for name in SYMBOLS))
        gaps = [gap for name in SYMBOLS for gap in daemon.status(name).gaps if gap.state is GapState.UNFILLABLE]
        assert gaps
        assert all(f"refused: {reason}" in gap.reason for gap in gaps)
        assert not any(wrong(daemon, name) for name in SYMBOLS)
        assert any(not bar.complete for name in SYMBOLS for bar in daemon.bars(name))
        before = {name: daemon.bars(name)[-1].open_time for name in SYMBOLS}
        await daemon.closes(4, SYMBOLS)
        await daemon.until(
            lambda: all(
                sum(bar.complete for bar in daemon.bars(name) if bar.open_time > before[name]) >= 2
                for name in SYMBOLS
            )
        )
        assert daemon.readiness.not_ready_reasons() == ()


async def test_restart_survives_the_same_bad_row(autojump_clock: MockClock) -> None:
    """What REST states wrongly for good does not end the daemon at its next start either."""
    exchange = make_exchange(SYMBOLS, faults="say_price=10000000000.0/0.03,rest_say_price=10000000000.0/0.03")
    store = MemoryStore()
    async with open_memory_exchange(exchange) as network:
        for _ in range(3):
            async with open_memory_daemon(network, store, SYMBOLS) as daemon:
                await daemon.closes(2, SYMBOLS)
                assert not any(wrong(daemon, name) for name in SYMBOLS)


async def test_malformed_headers_are_harmless(autojump_clock: MockClock) -> None:
    """A wait of 30 years is an hour at most, and a weight of 5,000 digits is ignored."""
    exchange = make_exchange(SYMBOLS)
    async with open_daemon_on(exchange, SYMBOLS) as daemon:
        await daemon.closes(1, SYMBOLS)
        exchange.command(f"rest_weight={'9' * 5000},lose=0.05")
        await daemon.closes(2, SYMBOLS)
        await daemon.is_whole(SYMBOLS)
        exchange.command("rest_weight=off,rest_429=1,rest_retry=1000000000")
        await trio.sleep(120)
        exchange.command("clear")
        await trio.sleep(3600)
        await daemon.closes(2, SYMBOLS)
        await daemon.is_whole(SYMBOLS)


async def test_daemon_starts_despite_bad_values(autojump_clock: MockClock) -> None:
    """From the first message on: what is proven is right, the rest says that it is not complete."""
    exchange = make_exchange(SYMBOLS, faults="say_quantity=NaN/0.2,rest_say_quantity=NaN/0.2")
    async with open_daemon_on(exchange, SYMBOLS) as daemon:
        await daemon.closes(4, SYMBOLS)
        assert not any(wrong(daemon, name) for name in SYMBOLS)
