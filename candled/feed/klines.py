"""Closed minutes from the exchange's klines, proven by counting trade ids from end to end."""

from collections.abc import AsyncIterator
from typing import Final

from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.feed.interface import TradeSource

CHUNK_MINUTES: Final = 999
"""Minutes fetched at once: one page, with room for the one after it."""


async def first_id_at(source: TradeSource, symbol: str, time: int) -> int | None:
    """Id of the first trade at or after ``time``; None when there is none yet."""
    trades, _ = await source.aggregates_since(symbol, time, 1)
    return trades[0].first_id if trades else None


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
    next_id = await first_id_at(source, symbol, start)
    while start < end and next_id is not None:
        chunk_end = min(end, start + CHUNK_MINUTES * MINUTE)
        klines = await source.klines(symbol, start, (chunk_end - start) // MINUTE)
        klines = [kline for kline in klines if kline.open_time < chunk_end]
        chunk_end_id = await first_id_at(source, symbol, chunk_end)
        if chunk_end_id is None or next_id + sum(kline.trade_count for kline in klines) != chunk_end_id:
            return
        yield _with_ids(klines, next_id)
        start, next_id = chunk_end, chunk_end_id


def _with_ids(klines: list[Bar], next_id: int) -> list[Bar]:
    bars = []
    for kline in klines:
        count = kline.trade_count
        bars.append(
            replace(
                kline,
                first_trade_id=next_id if count else NO_TRADE,
                last_trade_id=next_id + count - 1 if count else NO_TRADE,
                previous_trade_id=next_id - 1,
                complete=True,
            )
        )
        next_id += count
    return bars
