"""A start goes on from what is stored, and finds what is not."""

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind, positions_of
from candled.domain.interval import MINUTE
from candled.history.memory import open_memory_history
from candled.pipeline import restore
from candled.settings import DaemonSettings

START = 1_700_006_400_000_000


def bar(number: int) -> Bar:
    at = START + number * MINUTE
    return Bar("X", "1m", at, at + MINUTE, 1, 1, 1, 1, 1, 1, 1, 1, 1, number + 1, number + 1, number, True, True)


async def test_a_minute_missing_hours_ago_between_complete_bars_is_asked_for() -> None:
    numbers = [number for number in range(1000) if number not in {300, 301}]
    async with open_memory_history() as history:
        await history.store([BarEvent(BarEventKind.CLOSE, bar(number), 0, number + 1) for number in numbers])
        engine, _ = await restore(DaemonSettings(symbols=("X",)), history, positions_of(history.epoch))
    symbol = engine.symbols["X"]
    assert symbol.continuity.missing == [(301, 302)]
    assert "X" in engine.needy


async def test_with_nothing_to_rebuild_the_newest_bar_is_enough() -> None:
    async with open_memory_history() as history:
        await history.store([BarEvent(BarEventKind.CLOSE, bar(number), 0, number + 1) for number in range(500)])
        engine, rollup = await restore(DaemonSettings(symbols=("X",)), history, positions_of(history.epoch))
    symbol = engine.symbols["X"]
    assert symbol.continuity.missing == []
    assert symbol.next_end == START + 501 * MINUTE
    assert rollup.forming("X", "1d") is not None
