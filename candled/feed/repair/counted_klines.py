"""Closed minutes from the exchange's klines, proven by counting trade ids from end to end."""

from collections.abc import AsyncIterator
from typing import Final

import attrs

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.proof import assign_ids_by_count, counts_meet
from candled.feed.adapter import TradeSource
from candled.feed.errors import UnreadableAnswerError

CHUNK_MINUTES: Final = 999
"""Minutes fetched at once: one page, with room for the one after it."""
ROWS_AFTER: Final = 50
"""Rows asked for beyond those wanted: they weigh nothing, and an answer without a readable row says nothing."""


@attrs.frozen
class FirstTrade:
    """The first trade at or after a time."""

    id: int
    is_certain: bool
    """Whether it is the first: otherwise rows before it could not be read, and it is the first that could."""


async def first_trade_at(source: TradeSource, symbol: str, time: int) -> FirstTrade | None:
    """Find the first trade at or after ``time``; None when there is none yet."""
    try:
        page, is_certain = await source.aggregates_since(symbol, time, 1), True
    except UnreadableAnswerError:
        page, is_certain = await source.aggregates_since(symbol, time, 1 + ROWS_AFTER), False
    return None if page.first_id is None else FirstTrade(page.first_id, is_certain)


async def last_id_before(source: TradeSource, symbol: str, time: int, later_id: int, page_rows: int) -> int | None:
    """Find the last trade before ``time`` by pages of raw trades, which lack what the exchange does not have.

    Args:
        source: The exchange's REST side.
        symbol: Of the trades.
        time: Microseconds.
        later_id: An id at or after that time, to look back from.
        page_rows: Trades of one page.

    Returns:
        Its id, or that of the last readable one; ``NO_TRADE`` if there is none; None where no row that was read
        is earlier and one that could not be read may be.
    """
    at = later_id
    while at > 0:
        at = max(0, at - page_rows)
        page = await source.trades(symbol, at, page_rows)
        earlier = [row.last_id for row in page.trades if row.time < time]
        if earlier:
            return max(earlier)
        if page.refused:
            return None
    return NO_TRADE


async def counted_bars(source: TradeSource, symbol: str, start: int, end: int) -> AsyncIterator[list[Bar]]:
    """Bars of the minutes from ``start`` to ``end`` (both whole minutes), in chunks, oldest first.

    Klines carry no trade ids. Counting from the first trade's id on gives them, and where that meets the id of the
    first trade after the chunk, no trade is missing: each bar is complete. It ends early where it does not meet,
    or where no later trade shows it yet.
    """
    newest = await source.newest(symbol)
    if newest is None:
        return
    end = min(end, ONE_MINUTE.floor(newest.time))  # a later trade proves a bar
    first = await first_trade_at(source, symbol, start)
    while start < end and first is not None and first.is_certain:
        chunk_end = min(end, start + CHUNK_MINUTES * MINUTE)
        page = await source.klines(symbol, start, (chunk_end - start) // MINUTE)
        klines = [kline for kline in page.bars if kline.open_time < chunk_end]
        past = await first_trade_at(source, symbol, chunk_end)
        if past is None or not past.is_certain or not counts_meet(klines, first.id, past.id):
            return
        yield assign_ids_by_count(klines, first.id, complete=True)
        start, first = chunk_end, past
