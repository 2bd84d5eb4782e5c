"""Bars and events for the history's tests."""

from collections.abc import Iterable

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MINUTE

START = 1_767_225_600_000_000
"""2026-01-01 00:00 UTC."""


def minute(
    number: int,
    symbol: str = "BTCUSDT",
    *,
    trades: int = 3,
    revision: int = 0,
    complete: bool = True,
    salt: int = 0,
) -> Bar:
    """The ``number``-th minute after START, with numbers that depend on all of the arguments."""
    price = 9_600_012_000_000 + (number * 7919 + salt * 104_729) % 1_000_003
    first_id = 1_000_000 + number * 10
    open_time = START + number * MINUTE
    return Bar(
        symbol=symbol,
        interval="1m",
        open_time=open_time,
        close_time=open_time + MINUTE,
        open=price,
        high=price + (500 if trades else 0),
        low=price - (300 if trades else 0),
        close=price + (7 if trades else 0),
        volume=trades * 123_456_789_012_345_678_901,
        quote_volume=trades * 987_654_321_098_765_432_109_876,
        trade_count=trades,
        taker_buy_volume=trades * 61_728_394_506,
        taker_buy_quote_volume=trades * 493_827_160_549,
        first_trade_id=first_id if trades else NO_TRADE,
        last_trade_id=first_id + trades - 1 if trades else NO_TRADE,
        previous_trade_id=first_id - 1,
        closed=True,
        complete=complete,
        revision=revision,
    )


def events(bars: Iterable[Bar], first_position: int) -> list[BarEvent]:
    """What the engine says when these bars close or change."""
    return [
        BarEvent(
            kind=BarEventKind.REVISION if bar.revision else BarEventKind.CLOSE,
            bar=bar,
            exchange_time=bar.close_time,
            position=first_position + index,
        )
        for index, bar in enumerate(bars)
    ]
