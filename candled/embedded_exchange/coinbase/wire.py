"""Coinbase's JSON forms as text. Streams write numbers without trailing zeros, REST with eight decimals."""

from decimal import Decimal
from typing import Final

from candled.embedded_exchange.klines import Kline
from candled.embedded_exchange.market import Fill
from candled.embedded_exchange.units import decimal_text, time_text

_MAKER_SIDE: Final = ("sell", "buy")
"""By whether the buyer was the maker."""
_ORDER: Final = "00000000-0000-0000-0000-000000000000"
"""Nobody's: orders are not simulated."""


def match_event(symbol: str, fill: Fill, kind: str = "match") -> str:
    """Return a message of the channel ``matches``."""
    return (
        f'{{"type":"{kind}","trade_id":{fill.first_id},"maker_order_id":"{_ORDER}","taker_order_id":"{_ORDER}",'
        f'"side":"{_MAKER_SIDE[fill.buyer_is_maker]}","size":"{_short(decimal_text(fill.quantity))}",'
        f'"price":"{_short(decimal_text(fill.price))}","product_id":"{symbol}",'
        f'"sequence":{_sequence(fill.first_id)},"time":"{time_text(fill.time)}"}}'
    )


def heartbeat_event(symbol: str, last_id: int, time: int) -> str:
    """Return a message of the channel ``heartbeat``."""
    return (
        f'{{"type":"heartbeat","last_trade_id":{last_id},"product_id":"{symbol}",'
        f'"sequence":{_sequence(last_id)},"time":"{time_text(time)}"}}'
    )


def trade_row(fill: Fill) -> str:
    """Return an element of ``/products/<id>/trades``."""
    return (
        f'{{"trade_id":{fill.first_id},"side":"{_MAKER_SIDE[fill.buyer_is_maker]}",'
        f'"size":"{decimal_text(fill.quantity)}","price":"{decimal_text(fill.price)}",'
        f'"time":"{time_text(fill.time)}"}}'
    )


def candle_row(kline: Kline) -> str:
    """Return an element of ``/products/<id>/candles``: numbers of JSON, not texts."""
    numbers = (kline.low, kline.high, kline.open, kline.close, kline.volume)
    return f"[{kline.start // 1_000_000},{','.join(map(_number, numbers))}]"


def _number(value: Decimal) -> str:
    return _short(f"{value:f}")


def _short(text: str) -> str:
    """A decimal without its trailing zeros."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _sequence(trade_id: int) -> int:
    """Trades are a part of what a product's sequence counts."""
    return trade_id * 40 + 7
