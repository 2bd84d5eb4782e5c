"""Fills the history's past from the exchange: klines where counting proves them, trades where it does not."""

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

import attrs
import structlog
from msgspec.structs import replace

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.engine.minute import Minute
from candled.feed.interface import SourceRefusedError, SourceUnavailableError, TradeSource
from candled.feed.klines import CHUNK_MINUTES, counted_bars, first_id_at

_TRADES_PAGE: Final = 1000
_TRADED_MINUTES: Final = 15
"""Minutes whose trades are fetched at once; klines that prove nothing are halved down to so many."""


class Keeper(Protocol):
    """Where bars are kept."""

    async def bars(self, symbol: str, interval: str, start: int, end: int, limit: int) -> list[Bar]:
        """Stored bars with ``start <= open_time < end``, oldest first."""

    async def store(self, events: Sequence[BarEvent]) -> None:
        """Keep closed bars for good."""


@attrs.define
class Backfill:
    """The filling of one symbol's past."""

    source: TradeSource
    """Where klines and trades come from."""
    history: Keeper
    """Where bars are kept."""
    symbol: str
    next_position: Callable[[], int]
    """Numbers the stored bars."""
    progress: Callable[[int], None] = lambda _minutes: None
    """Told how many minutes are done, after each stretch of them."""
    stored: int = 0
    """Bars stored: those that were not there, or are better now."""
    unproven: int = 0
    """Bars met that are not complete, because the exchange does not have all of their trades."""

    async def run(self, start: int, end: int, *, by_trades: bool = False) -> None:
        """Fetch the closed minutes of a time and store those that are not stored, or not complete.

        Args:
            start: first open time, a whole minute.
            end: open time past the last one; only minutes that a later trade proves are fetched.
            by_trades: make every bar of its trades, instead of those alone that klines do not prove.

        Raises:
            SourceUnavailableError: the exchange does not answer; what was fetched until then is stored.
            SourceRefusedError: it refuses.
        """
        newest = await self.source.newest(self.symbol)
        end = min(end, ONE_MINUTE.floor(newest.time)) if newest is not None else start
        while start < end:
            if not by_trades:
                async for bars in counted_bars(self.source, self.symbol, start, end):
                    covered = min(end, start + CHUNK_MINUTES * MINUTE)
                    await self._take(bars, start, covered)
                    start = covered
            if start < end:
                unproven_end = min(end, start + (_TRADED_MINUTES if by_trades else CHUNK_MINUTES) * MINUTE)
                await self._take_unproven(start, unproven_end)
                start = unproven_end

    async def _take_unproven(self, start: int, end: int) -> None:
        """Narrow down what klines do not prove, and make those minutes of their trades."""
        minutes = (end - start) // MINUTE
        if minutes <= _TRADED_MINUTES:
            await self._take(await traded_bars(self.source, self.symbol, start, end), start, end)
            return
        middle = start + minutes // 2 * MINUTE
        for first, past in ((start, middle), (middle, end)):
            proven = [bars async for bars in counted_bars(self.source, self.symbol, first, past)]
            if proven:
                await self._take(proven[0], first, past)
            else:
                await self._take_unproven(first, past)

    async def _take(self, bars: Sequence[Bar], start: int, end: int) -> None:
        known = await self.history.bars(self.symbol, ONE_MINUTE.name, start, end, (end - start) // MINUTE)
        by_time = {bar.open_time: bar for bar in known}
        events = []
        for bar in bars:
            before = by_time.get(bar.open_time)
            self.unproven += not bar.complete and (before is None or not before.complete)
            if before is None:
                events.append(BarEvent(BarEventKind.CLOSE, bar, bar.close_time, self.next_position()))
            elif not before.complete and (bar.complete or bar.trade_count > before.trade_count):
                better = replace(bar, revision=before.revision + 1)
                events.append(BarEvent(BarEventKind.REVISION, better, bar.close_time, self.next_position()))
        if events:
            await self.history.store(events)
        self.stored += len(events)
        self.progress((end - start) // MINUTE)


async def traded_bars(source: TradeSource, symbol: str, start: int, end: int) -> list[Bar]:
    """Bars of the minutes from ``start`` to ``end``, made of their raw trades; both are whole minutes.

    Which minutes there are, and that one was empty, klines say. A bar is complete if no trade id is missing from
    the bar before it to the trade after it. One that is not has the numbers of its kline.
    """
    klines = await source.klines(symbol, start, (end - start) // MINUTE)
    first, past = await first_id_at(source, symbol, start), await first_id_at(source, symbol, end)
    if first is None or past is None:
        return []
    minutes: dict[int, Minute] = {}
    seen = IdRanges()
    seen.add(past, past)
    at = first
    while at < past and (page := await source.trades(symbol, at, _TRADES_PAGE)):
        for trade in page:
            if trade.first_id < past:
                seen.add(trade.first_id, trade.last_id)
                open_time = ONE_MINUTE.floor(trade.time)
                if not trade.is_placeholder:
                    minutes.setdefault(open_time, Minute(symbol, open_time)).add(trade)
        at = page[-1].last_id + 1
    bars = []
    previous = first - 1
    for kline in klines:
        if kline.open_time >= end:
            break
        minute = minutes.get(kline.open_time)
        if minute is None:
            complete = kline.is_empty and seen.covers(previous + 1, previous + 1)
            bars.append(replace(kline, previous_trade_id=previous, complete=complete))
        elif seen.covers(previous + 1, minute.last_id + 1):
            bars.append(
                minute.closed_bar(previous_id=previous, previous_close=kline.close, complete=True, revision=0)
            )
        else:
            ids = {"first_trade_id": minute.first_id, "last_trade_id": minute.last_id}
            bars.append(replace(kline, previous_trade_id=previous, **ids))
        previous = previous if minute is None else minute.last_id
    return bars


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
            backfill = Backfill(source, history, symbol, next_position)
            await backfill.run(start, end)
            log.info("backfilled", symbol=symbol, bars=backfill.stored, unproven=backfill.unproven)
    except (SourceUnavailableError, SourceRefusedError) as error:
        log.warning("cannot backfill", reason=str(error))
