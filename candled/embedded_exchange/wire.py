"""The original's JSON forms as text, formatted by hand because they are written for every trade."""

from collections.abc import Sequence
from typing import Final

from candled.embedded_exchange.klines import Kline
from candled.embedded_exchange.market import NO_ID, Fill
from candled.embedded_exchange.units import decimal_text

MILLISECOND: Final = 1000
"""Microseconds in the default unit of times."""

MICROSECOND: Final = 1

_BOOLEAN: Final = ("false", "true")


def trade_event(symbol: str, fill: Fill, event_time: int, unit: int) -> str:
    """Return a message of ``<symbol>@trade``."""
    return (
        f'{{"e":"trade","E":{event_time // unit},"s":"{symbol}","t":{fill.first_id},'
        f'"p":"{decimal_text(fill.price)}","q":"{decimal_text(fill.quantity)}",'
        f'"T":{fill.time // unit},"m":{_BOOLEAN[fill.buyer_is_maker]},"M":true}}'
    )


def aggregate_event(symbol: str, fills: Sequence[Fill], event_time: int, unit: int) -> str:
    """Return a message of ``<symbol>@aggTrade``."""
    first, last = _ids(fills)
    fill = fills[0]
    return (
        f'{{"e":"aggTrade","E":{event_time // unit},"s":"{symbol}","a":{fill.aggregate_id},'
        f'"p":"{decimal_text(fill.price)}","q":"{decimal_text(sum(fill.quantity for fill in fills))}",'
        f'"f":{first},"l":{last},"T":{fill.time // unit},"m":{_BOOLEAN[fill.buyer_is_maker]},"M":true}}'
    )


def kline_event(symbol: str, interval: str, kline: Kline, event_time: int, unit: int, *, closed: bool) -> str:
    """Return a message of ``<symbol>@kline_<interval>``."""
    return (
        f'{{"e":"kline","E":{event_time // unit},"s":"{symbol}","k":{{"t":{kline.start // unit},'
        f'"T":{last_instant(kline.end, unit)},"s":"{symbol}","i":"{interval}","f":{kline.first_id},'
        f'"L":{kline.last_id},"o":"{kline.open:f}","c":"{kline.close:f}","h":"{kline.high:f}","l":"{kline.low:f}",'
        f'"v":"{kline.volume:f}","n":{kline.count},"x":{_BOOLEAN[closed]},"q":"{kline.quote_volume:f}",'
        f'"V":"{kline.taker_buy_volume:f}","Q":"{kline.taker_buy_quote_volume:f}","B":"0"}}}}'
    )


def shutdown_event(event_time: int, unit: int) -> str:
    """Return the message that asks clients to reconnect before the server goes down."""
    return f'{{"e":"serverShutdown","E":{event_time // unit}}}'


def combined(stream: str, payload: str) -> str:
    """Wrap a message as the combined streams do."""
    return f'{{"stream":"{stream}","data":{payload}}}'


def trade_row(fill: Fill, unit: int) -> str:
    """Return an element of REST ``trades`` and ``historicalTrades``."""
    quote = fill.price * fill.quantity // 10**8
    return (
        f'{{"id":{fill.first_id},"price":"{decimal_text(fill.price)}","qty":"{decimal_text(fill.quantity)}",'
        f'"quoteQty":"{decimal_text(quote)}","time":{fill.time // unit},'
        f'"isBuyerMaker":{_BOOLEAN[fill.buyer_is_maker]},"isBestMatch":true}}'
    )


def aggregate_row(fills: Sequence[Fill], unit: int) -> str:
    """Return an element of REST ``aggTrades``."""
    first, last = _ids(fills)
    fill = fills[0]
    return (
        f'{{"a":{fill.aggregate_id},"p":"{decimal_text(fill.price)}",'
        f'"q":"{decimal_text(sum(fill.quantity for fill in fills))}","f":{first},"l":{last},'
        f'"T":{fill.time // unit},"m":{_BOOLEAN[fill.buyer_is_maker]},"M":true}}'
    )


def kline_row(kline: Kline, unit: int) -> str:
    """Return an element of REST ``klines``."""
    return (
        f'[{kline.start // unit},"{kline.open:f}","{kline.high:f}","{kline.low:f}","{kline.close:f}",'
        f'"{kline.volume:f}",{last_instant(kline.end, unit)},"{kline.quote_volume:f}",{kline.count},'
        f'"{kline.taker_buy_volume:f}","{kline.taker_buy_quote_volume:f}","0"]'
    )


def last_instant(end: int, unit: int) -> int:
    """Return the close time as the original writes it: the last unit before the exclusive end."""
    return end // unit - 1


def _ids(fills: Sequence[Fill]) -> tuple[int, int]:
    if fills[0].is_placeholder:
        return NO_ID, NO_ID
    return fills[0].first_id, fills[-1].last_id
