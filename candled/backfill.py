"""Fills stretches of the history from the exchange's klines."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog
from msgspec.structs import replace

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.feed.interface import SourceRefusedError, SourceUnavailableError, TradeSource
from candled.feed.klines import counted_bars


class Keeper(Protocol):
    """Where bars are kept."""

    async def bars(self, symbol: str, interval: str, start: int, end: int, limit: int) -> list[Bar]:
        """Stored bars with ``start <= open_time < end``, oldest first."""

    async def store(self, events: Sequence[BarEvent]) -> None:
        """Keep closed bars for good."""


async def backfill(
    source: TradeSource,
    history: Keeper,
    symbol: str,
    start: int,
    end: int,
    next_position: Callable[[], int],
    progress: Callable[[int], None] = lambda _bars: None,
) -> int:
    """Fetch the closed minutes of a symbol and store those that are not stored, or not complete.

    Args:
        source: where klines come from.
        history: where bars are kept.
        symbol: which.
        start: first open time, a whole minute.
        end: open time past the last one; at the latest the minute that is running.
        next_position: numbers the stored bars.
        progress: told how many bars were looked at, after each page.

    Returns:
        How many bars were stored.

    Raises:
        SourceUnavailableError: the exchange does not answer; what was fetched until then is stored.
        SourceRefusedError: it refuses.
    """
    stored = 0
    async for bars in counted_bars(source, symbol, start, end):
        if bars:
            known = await history.bars(symbol, ONE_MINUTE.name, bars[0].open_time, bars[-1].close_time, len(bars))
            by_time = {bar.open_time: bar for bar in known}
            events = []
            for bar in bars:
                before = by_time.get(bar.open_time)
                if before is None:
                    events.append(BarEvent(BarEventKind.CLOSE, bar, bar.close_time, next_position()))
                elif not before.complete:
                    better = replace(bar, revision=before.revision + 1)
                    events.append(BarEvent(BarEventKind.REVISION, better, bar.close_time, next_position()))
            if events:
                await history.store(events)
            stored += len(events)
        progress(len(bars))
    return stored


async def backfill_new(
    symbols: Collection[str],
    hours: float,
    source: TradeSource,
    history: Keeper,
    next_position: Callable[[], int],
) -> None:
    """Give symbols that have no bar yet some to begin with; where the exchange does not answer, go without."""
    log = structlog.get_logger(__name__)
    try:
        end = ONE_MINUTE.floor(await source.server_time())
        start = end - round(hours * 60) * MINUTE
        for symbol in symbols:
            stored = await backfill(source, history, symbol, start, end, next_position)
            log.info("backfilled", symbol=symbol, bars=stored)
    except (SourceUnavailableError, SourceRefusedError) as error:
        log.warning("cannot backfill", reason=str(error))
