"""Fill the history's past from the exchange: from klines where counting proves them, else from trades.

Where its klines carry no counts, all of it comes from trades: see ``from_trades``.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

import attrs
import structlog
from msgspec.structs import replace

from candled.backfill.from_trades import bars_of_trades
from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.proof import prove_traded
from candled.domain.storage import BarReader, BarWriter
from candled.engine.minute import Minute
from candled.feed.adapter import TradeSource
from candled.feed.errors import (
    KeyWantedError,
    SourceRefusedError,
    SourceUnavailableError,
    UnreadableAnswerError,
)
from candled.feed.repair.counted_klines import CHUNK_MINUTES, counted_bars, first_trade_at, last_id_before

_TRADES_PAGE: Final = 1000
_TRADED_MINUTES: Final = 15
"""Minutes whose trades are fetched at once; runs of unproven klines are halved down to this length."""


@attrs.define
class Backfill:
    """Backfill of one symbol."""

    source: TradeSource
    """Where klines and trades come from."""
    reader: BarReader
    """Reader of the bars that are stored already."""
    writer: BarWriter
    """Writer for new and improved bars."""
    symbol: str
    next_position: Callable[[], int]
    """Returns the next position."""
    progress: Callable[[int], None] = lambda _minutes: None
    """Called with the number of minutes done, after each batch."""
    stored: int = 0
    """Number of bars stored: new or improved ones."""
    unproven: int = 0
    """Number of bars that stay incomplete because the exchange does not have all of their trades."""
    awaiting: int = 0
    """Number of the last minutes that are over and not fetched: only a later trade proves what is in them."""

    async def run(self, start: int, end: int, *, by_trades: bool = False) -> None:
        """Fetch the closed minutes of a time range, and store those that are not stored or not complete.

        Args:
            start: first open time, a whole minute.
            end: open time past the last one; only minutes that a later trade proves are fetched.
            by_trades: build every bar from trades, not only those that klines do not prove.

        Raises:
            SourceUnavailableError: the exchange does not answer; bars fetched before are stored.
            SourceRefusedError: it refuses.
        """
        newest = await self.source.newest(self.symbol)
        proven_end = start if newest is None else max(start, ONE_MINUTE.floor(newest.time))
        if proven_end < end:
            over = min(end, ONE_MINUTE.floor(await self.source.server_time()))
            self.awaiting = max(0, over - proven_end) // MINUTE
            end = proven_end
        if not self.source.capabilities.klines_carry_trade_count:
            async for traded, covered in bars_of_trades(self.source, self.symbol, start, end):
                await self._take(traded, start, covered)
                start = covered
            return
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
        """Bisect what klines do not prove, and build those minutes from their trades."""
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
        known = await self.reader.bars(self.symbol, ONE_MINUTE.name, start, end, (end - start) // MINUTE)
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
            await self.writer.store(events)
        self.stored += len(events)
        self.progress((end - start) // MINUTE)


async def traded_bars(source: TradeSource, symbol: str, start: int, end: int) -> list[Bar]:
    """Build the bars of the minutes from ``start`` to ``end`` from raw trades; both are whole minutes.

    Klines decide which minutes exist and which were empty. A bar is complete if no trade id is missing from
    the bar before it to the trade after it. One that is not has the numbers of its kline.
    """
    klines = (await source.klines(symbol, start, (end - start) // MINUTE)).bars
    begin, finish = await first_trade_at(source, symbol, start), await first_trade_at(source, symbol, end)
    if begin is None or finish is None:
        return []
    # The exchange names the first trade of a time: the one right before it belongs to an earlier minute.
    first, past, is_known = begin.id, finish.id, begin.is_certain
    if not is_known:
        before = await last_id_before(source, symbol, start, begin.id, _TRADES_PAGE)
        first, is_known = (first, False) if before is None else (before + 1, True)
    minutes: dict[int, Minute] = {}
    seen = IdRanges()
    seen.add(past, past)
    if is_known:
        seen.add(max(0, first - 1), max(0, first - 1))
    at = first
    while at < past:
        try:
            page = await source.trades(symbol, at, _TRADES_PAGE)
        except KeyWantedError:  # the source has logged it; the minutes have the numbers of their klines, unproven
            break
        if page.last_id is None:
            break
        for trade in page.trades:
            if trade.first_id < past:
                seen.add(trade.first_id, trade.last_id)
                open_time = ONE_MINUTE.floor(trade.time)
                if not trade.is_placeholder:
                    minutes.setdefault(open_time, Minute(symbol, open_time)).add(trade)
        at = page.last_id + 1
    by_time = {kline.open_time: kline for kline in klines if kline.open_time < end}
    found = {time: _bar_of_trades(minute, by_time.get(time)) for time, minute in minutes.items()}
    in_order = [bar for _, bar in sorted((by_time | found).items())]
    return [
        bar if bar.complete or bar.is_empty else _with_numbers_of(by_time[bar.open_time], bar)
        for bar in prove_traded(in_order, seen, first - 1, past)
        if bar.open_time in by_time
    ]


def _bar_of_trades(minute: Minute, kline: Bar | None) -> Bar:
    close = minute.close if kline is None else kline.close
    return minute.closed_bar(previous_id=NO_TRADE, previous_close=close, proven=False, revision=0)


def _with_numbers_of(kline: Bar, bar: Bar) -> Bar:
    """Return the unproven bar with the numbers of its kline and the ids known of it."""
    return replace(
        kline,
        first_trade_id=bar.first_trade_id,
        last_trade_id=bar.last_trade_id,
        previous_trade_id=bar.previous_trade_id,
    )


async def backfill_new(
    symbols: Collection[str],
    hours: float,
    source: TradeSource,
    reader: BarReader,
    writer: BarWriter,
    next_position: Callable[[], int],
    progress: Callable[[str, int], None] = lambda _symbol, _minutes: None,
) -> None:
    """Backfill symbols that have no bar yet; log and continue where the exchange does not answer.

    Args:
        symbols: which.
        hours: how far back from the exchange's present time.
        source: the exchange's REST side.
        reader: which bars are stored already.
        writer: where bars are stored.
        next_position: numbers the stored bars.
        progress: called with a symbol and how many of its minutes were done since the last call.
    """
    log = structlog.get_logger(__name__)
    try:
        end = ONE_MINUTE.floor(await source.server_time())
        start = end - round(hours * 60) * MINUTE
        for symbol in symbols:
            backfill = Backfill(source, reader, writer, symbol, next_position, partial(progress, symbol))
            try:
                await backfill.run(start, end)
            except (SourceRefusedError, UnreadableAnswerError) as error:  # of this symbol alone
                log.warning("cannot backfill", symbol=symbol, reason=str(error))
            else:
                log.info(
                    "backfilled",
                    symbol=symbol,
                    bars=backfill.stored,
                    unproven=backfill.unproven,
                    awaiting=backfill.awaiting,
                )
    except (SourceUnavailableError, SourceRefusedError) as error:
        log.warning("cannot backfill", reason=str(error))
