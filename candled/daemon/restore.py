"""Restore the engine from stored bars, at a start and when a symbol is added."""

from collections.abc import Callable, Collection
from typing import Final

from candled.config.settings import DaemonSettings
from candled.domain.bar import Bar
from candled.domain.feed_event import SymbolAdded
from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.domain.storage import BarReader, BarSource
from candled.engine.engine import Engine
from candled.feed.registry import find_adapter

REBUILD_MINUTES: Final = 7 * 1440
"""How far back from the newest stored bar an incomplete one is rebuilt."""
LOOK_BACK_BARS: Final = 30_000
"""Stored bars that are searched for missing minutes, of all symbols together."""
LOOK_BACK_MINUTES_MIN: Final = 240
"""Minutes searched of each symbol, however many symbols there are."""


async def restore(settings: DaemonSettings, stored: BarSource, next_position: Callable[[], int]) -> Engine:
    """Make an engine that continues from the stored bars.

    Args:
        settings: which symbols, and how long a closing bar waits for late trades.
        stored: the history.
        next_position: numbers the bars that the engine closes.
    """
    engine = Engine(
        close_grace=round(settings.close_grace * MICROSECONDS),
        next_position=next_position,
        quote_decimals=find_adapter(settings.exchange).capabilities.quote_decimals,
    )
    for added in await read_symbols(settings.symbols, stored):
        engine.handle(added, 0.0)
    return engine


async def read_symbols(symbols: Collection[str], stored: BarSource) -> list[SymbolAdded]:
    """Read what an engine needs to continue the bars of these symbols.

    Of each that is the newest bar, and before it everything from the oldest bar that is to be rebuilt.
    """
    found = []
    newest = await stored.newest_bars()
    look_back = max(LOOK_BACK_MINUTES_MIN, min(REBUILD_MINUTES, LOOK_BACK_BARS // max(1, len(symbols))))
    for symbol in symbols:
        last = newest.get(symbol)
        if last is None:
            found.append(SymbolAdded(symbol))
            continue
        bars = await _bars_to_restore(symbol, last, look_back, stored)
        parts = []
        for interval, start in Engine.part_ranges(last.close_time).items():
            limit = (last.close_time - start) // MINUTE + 1
            parts += await stored.bars(symbol, interval, start, last.close_time, limit)
        found.append(SymbolAdded(symbol, bars, parts, await stored.disputed(symbol)))
    return found


async def _bars_to_restore(symbol: str, last: Bar, look_back: int, stored: BarReader) -> list[Bar]:
    """Return the stored bars from the oldest incomplete one, or the last before a missing minute, on."""
    oldest = last.close_time - REBUILD_MINUTES * MINUTE
    incomplete = await stored.incomplete_bars(symbol, oldest, 1)
    since = last.close_time - look_back * MINUTE
    if incomplete:
        since = min(since, incomplete[0].open_time - MINUTE)
    bars = await stored.bars(symbol, ONE_MINUTE.name, since, last.close_time, REBUILD_MINUTES + 1)
    for number, bar in enumerate(bars):
        hole_after = number + 1 < len(bars) and bars[number + 1].open_time > bar.close_time
        if not bar.complete or hole_after:
            return bars[number:]
    return [last]
