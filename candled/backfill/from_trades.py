"""Closed minutes made of trades alone, for an exchange whose klines do not count them.

Nothing but the ids says which minutes exist. Trades are read by id from the last one before the first minute to
the first one after the last: a minute in which nothing was traded is empty if the ids around it follow each other,
and left out if any is missing, as its trades may be among those.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.proof import prove_traded
from candled.domain.trade import Trade
from candled.engine.minute import Minute
from candled.feed.adapter import TradeSource
from candled.feed.repair.counted_klines import first_trade_at, last_id_before

_PORTION_MINUTES: Final = 60
"""Minimum minutes of a batch, except the last one."""
_EMPTY_PAGES_MAX: Final = 3
"""Pages in a row without a trade after which no more are asked for: the newest id as stated cannot be true."""
_LATE: Final = MINUTE
"""By which a trade may be earlier than one of a lower id."""


async def bars_of_trades(
    source: TradeSource, symbol: str, start: int, end: int
) -> AsyncIterator[tuple[list[Bar], int]]:
    """Build the bars of a range of minutes.

    Args:
        source: The exchange.
        symbol: Whose.
        start: First open time, a whole minute.
        end: Open time past the last one. A trade after it must have happened.

    Yields:
        Bars, oldest first, and the open time up to which they are all that there are.

    Raises:
        SourceUnavailableError: the exchange does not answer.
        SourceRefusedError: it refuses.
    """
    first = await first_trade_at(source, symbol, start)
    newest = await source.newest(symbol)
    if first is None or newest is None:
        return
    page_rows, id_before = source.capabilities.page, max(NO_TRADE, first.id - 1)
    if not first.is_certain:
        found = await last_id_before(source, symbol, start, first.id, page_rows)
        id_before = NO_TRADE if found is None else found
    walk = _Walk(symbol, start, id_before, source.capabilities.quote_decimals)
    at, empty_pages = walk.id_before if walk.id_before != NO_TRADE else first.id, 0
    while at <= newest.last_id and walk.reached < end + _LATE and empty_pages < _EMPTY_PAGES_MAX:
        page = await source.trades(symbol, at, page_rows)
        empty_pages, at = (empty_pages + 1, at + page_rows) if page.last_id is None else (0, page.last_id + 1)
        for trade in page.trades:
            walk.add(trade)
        settled = min(end, ONE_MINUTE.floor(walk.reached - _LATE))
        if settled - walk.start >= _PORTION_MINUTES * MINUTE:
            yield walk.take(settled), settled
    if walk.start < end:
        yield walk.take(end), end


class _Walk:
    """Aggregates trades in order of id, and returns finished minutes in batches."""

    def __init__(self, symbol: str, start: int, id_before: int, quote_decimals: int) -> None:
        self.start = start
        """Open time of the first minute that was not returned yet."""
        self.reached = start
        """The newest time of a trade."""
        self.id_before = id_before
        """Highest id known before the first of those minutes; ``NO_TRADE`` if none is."""
        self._new_minute = partial(Minute, symbol, quote_decimals=quote_decimals)
        self._close_before: int | None = None
        self._minutes: dict[int, Minute] = {}
        self._seen = IdRanges()

    def add(self, trade: Trade) -> None:
        """Count a trade, if its minute was not returned yet."""
        self._seen.add(trade.first_id, trade.last_id)
        self.reached = max(self.reached, trade.time)
        if trade.is_placeholder:
            return
        if trade.time < self.start:
            if trade.last_id == self.id_before:
                self._close_before = trade.price
            return
        open_time = ONE_MINUTE.floor(trade.time)
        self._minutes.setdefault(open_time, self._new_minute(open_time)).add(trade)

    def take(self, end: int) -> list[Bar]:
        """Return the bars of the minutes before ``end``."""
        bars = []
        for open_time in range(self.start, end, MINUTE):
            minute = self._minutes.pop(open_time, None) or self._new_minute(open_time)
            if minute.trade_count == 0 and self._close_before is None:
                continue  # before the first trade of all
            bar = minute.closed_bar(
                previous_id=NO_TRADE, previous_close=self._close_before, proven=False, revision=0
            )
            self._close_before = bar.close
            bars.append(bar)
        after = min((minute.first_id for minute in self._minutes.values()), default=None)
        proven = prove_traded(bars, self._seen, self.id_before, after)
        self.id_before = max([self.id_before, *(bar.last_trade_id for bar in bars)])
        self.start = end
        return [bar for bar in proven if bar.complete or not bar.is_empty]
