"""Trade ids that are reset, as on a test network that is reset: bars go on, complete, and say where it was."""

import pytest
import trio
from trio.testing import MockClock

from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.domain.status import GapState
from candled.embedded_exchange.memory import open_memory_exchange
from tests.memory_daemon import MemoryDaemon, captured_logs, make_exchange, open_memory_daemon

SYMBOL = "BTCUSDT"


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def reasons(daemon: MemoryDaemon) -> list[str]:
    return [gap.reason for gap in daemon.status(SYMBOL).gaps if gap.state is GapState.UNFILLABLE]


def assert_whole_after(daemon: MemoryDaemon, time: int) -> None:
    """Every minute from the one after this time on equals the exchange's kline, complete."""
    after = ONE_MINUTE.end(ONE_MINUTE.floor(time))
    bars = {bar.open_time: bar for bar in daemon.bars(SYMBOL) if bar.open_time >= after}
    assert list(bars) == list(range(after, max(bars) + 1, MINUTE))
    for open_time, bar in list(bars.items())[:-2]:  # the newest wait for a later trade
        kline = daemon.exchange.ledger.kline(SYMBOL, open_time, bar.close_time, daemon.exchange.clock.now())
        assert kline is not None
        assert (bar.trade_count, bar.complete) == (kline.count, True), bar
        assert bar.volume == int(kline.volume.scaleb(8))
        assert bar.last_trade_id < 1_000_000


async def test_bars_after_a_reset_are_complete(autojump_clock: MockClock) -> None:
    """Bars continue after the ids were reset, and are complete."""
    exchange = make_exchange()
    with captured_logs() as logs:
        async with open_memory_exchange(exchange) as network, open_memory_daemon(network) as daemon:
            await daemon.closes(3)
            await trio.sleep(20)
            before = {symbol: len(daemon.bars(symbol)) for symbol in ("ETHUSDT", "PEPEUSDT")}
            time = exchange.clock.now()
            exchange.command(f"reset_ids:{SYMBOL}")
            await daemon.closes(8)
            assert_whole_after(daemon, time)
            (reason,) = reasons(daemon)
            assert "trade ids were reset here" in reason
            assert daemon.pipeline.engine.statistics().id_epochs == {SYMBOL: 1}
            assert [bar.complete for bar in daemon.bars(SYMBOL) if bar.open_time == ONE_MINUTE.floor(time)] == [
                False
            ]
            assert not [gap for gap in daemon.status(SYMBOL).gaps if gap.state is GapState.OPEN]
            for symbol, count in before.items():
                assert len(daemon.bars(symbol)) >= count + 8
            await daemon.is_whole(tuple(before))
    assert [line["symbol"] for line in logs if line["event"] == "trade ids were reset"] == [SYMBOL]


async def test_reset_is_recognised_after_a_restart(autojump_clock: MockClock) -> None:
    """Ids were reset while no daemon ran; a later daemon goes on from bars of both epochs."""
    exchange = make_exchange()
    async with open_memory_exchange(exchange) as network:
        async with open_memory_daemon(network) as daemon:
            await daemon.closes(3)
            store = daemon.store
        exchange.clock._origin += 3_600 * MICROSECONDS
        exchange.command(f"reset_ids:{SYMBOL}")
        exchange.clock._origin += 3_600 * MICROSECONDS
        async with open_memory_daemon(network, store) as daemon:
            await daemon.until(lambda: reasons(daemon) != [])
            time = exchange.clock.now()
            await daemon.closes(4)
            assert_whole_after(daemon, time)
        async with open_memory_daemon(network, store) as daemon:
            await daemon.closes(4)
            assert_whole_after(daemon, time)
            assert daemon.pipeline.engine.statistics().id_epochs == {}
            assert not [gap for gap in daemon.status(SYMBOL).gaps if gap.state is GapState.OPEN]
