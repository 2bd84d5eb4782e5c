"""A start goes on from what is stored, and finds what is not."""

from pathlib import Path

from msgspec.structs import replace

from candled.config.settings import DaemonSettings
from candled.daemon.restore import restore
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind, positions_of
from candled.domain.interval import MINUTE
from candled.history import open_history
from candled.history.memory import open_memory_history
from candled.history.unfillable import Unfillable

START = 1_700_006_400_000_000


def bar(number: int) -> Bar:
    at = START + number * MINUTE
    return Bar("X", "1m", at, at + MINUTE, 1, 1, 1, 1, 1, 1, 1, 1, 1, number + 1, number + 1, number, True, True)


async def test_hole_between_complete_bars_is_requested() -> None:
    """A minute that is missing hours ago between complete bars is requested."""
    numbers = [number for number in range(1000) if number not in {300, 301}]
    async with open_memory_history() as history:
        await history.store([BarEvent(BarEventKind.CLOSE, bar(number), 0, number + 1) for number in numbers])
        engine = await restore(DaemonSettings(symbols=("X",)), history, positions_of(history.epoch))
    symbol = engine.symbols["X"]
    assert symbol.continuity.missing == [(301, 302)]
    assert "X" in engine.symbols_to_repair


async def test_newest_bar_is_enough() -> None:
    """With nothing to rebuild, only the newest bar is restored."""
    async with open_memory_history() as history:
        await history.store([BarEvent(BarEventKind.CLOSE, bar(number), 0, number + 1) for number in range(500)])
        engine = await restore(DaemonSettings(symbols=("X",)), history, positions_of(history.epoch))
    symbol = engine.symbols["X"]
    assert symbol.continuity.missing == []
    assert symbol.next_end == START + 501 * MINUTE
    assert engine.forming("X", "1d") is not None


async def test_disputed_trades_stay_disputed_over_a_restart(tmp_path: Path) -> None:
    """They are recorded beside the bars, and the bar that holds them is not rebuilt as proven."""
    bars = [bar(number) for number in range(10)]
    bars[6] = replace(bars[6], complete=False)
    ids, why = bars[6].first_trade_id, "two truths: a, then b"
    async with open_history(tmp_path, exchange="x") as history:
        positions = positions_of(history.epoch)
        await history.store([BarEvent(BarEventKind.CLOSE, each, 0, positions()) for each in bars])
        await history.record_unfillable([Unfillable("X", ids, ids, why, is_disputed=True)])
        await history.record_unfillable([Unfillable("Y", ids, ids, why, is_disputed=True)])
        await history.record_unfillable([Unfillable("X", ids + 1, ids + 1, "passed over")])
    async with open_history(tmp_path, exchange="x") as history:
        engine = await restore(DaemonSettings(symbols=("X",)), history, positions_of(history.epoch))
    symbol = engine.symbols["X"]
    assert symbol.continuity.missing == []
    assert [(gap.first_id, gap.reason, gap.is_disputed) for gap in symbol.continuity.gaps()] == [(ids, why, True)]
