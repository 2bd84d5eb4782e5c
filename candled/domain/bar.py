"""A bar (candle) and the exact merge of bars into a longer one."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from candled.domain.interval import MINUTE, ONE_MINUTE, Interval
from candled.domain.numbers import DECIMALS

NO_TRADE: Final = -1
"""Trade id of a bar without trades, as in the exchange's own kline messages."""


class Bar(msgspec.Struct, frozen=True, gc=False):
    """One bar of one symbol as known at one moment. Numbers are units of 10^-8, times microseconds.

    A msgspec struct rather than an attrs class: one is built for every tick.
    """

    symbol: str
    interval: str
    open_time: int
    close_time: int
    """Exclusive end: the open time of the next bar."""
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    """In units of 10^-``quote_decimals``, as is ``taker_buy_quote_volume``."""
    trade_count: int
    taker_buy_volume: int
    taker_buy_quote_volume: int
    first_trade_id: int
    """``NO_TRADE`` in an empty bar."""
    last_trade_id: int
    """``NO_TRADE`` in an empty bar."""
    previous_trade_id: int
    """Highest trade id known before this bar (``NO_TRADE`` if none is): with the bar's own ids it proves
    continuity from bar to bar, and it is where an empty bar carries its predecessor's last id."""
    closed: bool = False
    complete: bool = False
    revision: int = 0
    quote_decimals: int = DECIMALS
    """Decimals of the quote volumes: those that the exchange rounds each fill to, or as many as a product has."""

    @property
    def is_empty(self) -> bool:
        """Whether no trade took place in it."""
        return self.trade_count == 0

    @property
    def known_trade_id(self) -> int:
        """Highest trade id known at this bar's end: its own last one, or the one it carries."""
        return self.previous_trade_id if self.last_trade_id == NO_TRADE else self.last_trade_id


def empty_kline(symbol: str, open_time: int) -> Bar:
    """Return what a kline of a minute without trades says, for an exchange that publishes none: no prices."""
    zeros, ids = (0,) * 9, (NO_TRADE,) * 3
    return Bar(symbol, ONE_MINUTE.name, open_time, open_time + MINUTE, *zeros, *ids, closed=True)


def merge_bars(bars: Sequence[Bar], interval: Interval) -> Bar:
    """Merge consecutive bars, oldest first and of one symbol, into the longer bar that contains them.

    Exact and associative: merging minutes, or merging merges of them, gives the same bar. A bar without trades
    adds nothing unless all are empty. The result is closed when its last minute is there and closed, complete
    when all its minutes are there and complete; its revision is the sum of theirs.

    Raises:
        ValueError: no bars, not in order, or not all inside one bar of ``interval``.
    """
    if not bars:
        raise ValueError("nothing to merge")
    first, last = bars[0], bars[-1]
    open_time = interval.floor(first.open_time)
    close_time = interval.end(open_time)
    if last.close_time > close_time:
        raise ValueError(f"bars from {first.open_time} to {last.close_time} do not fit one {interval} bar")
    if any(a.close_time > b.open_time for a, b in pairwise(bars)):
        raise ValueError("bars to merge must be in order and must not overlap")
    traded = [bar for bar in bars if not bar.is_empty]
    covered = sum(bar.close_time - bar.open_time for bar in bars)
    priced = traded or [first]
    return Bar(
        symbol=first.symbol,
        interval=interval.name,
        open_time=open_time,
        close_time=close_time,
        open=priced[0].open,
        high=max(bar.high for bar in priced),
        low=min(bar.low for bar in priced),
        close=priced[-1].close,
        volume=sum(bar.volume for bar in traded),
        quote_volume=sum(bar.quote_volume for bar in traded),
        trade_count=sum(bar.trade_count for bar in traded),
        taker_buy_volume=sum(bar.taker_buy_volume for bar in traded),
        taker_buy_quote_volume=sum(bar.taker_buy_quote_volume for bar in traded),
        first_trade_id=traded[0].first_trade_id if traded else NO_TRADE,
        last_trade_id=traded[-1].last_trade_id if traded else NO_TRADE,
        previous_trade_id=first.previous_trade_id,
        closed=last.closed and last.close_time == close_time,
        complete=covered == close_time - open_time and all(bar.complete for bar in bars),
        revision=sum(bar.revision for bar in bars),
        quote_decimals=first.quote_decimals,
    )
