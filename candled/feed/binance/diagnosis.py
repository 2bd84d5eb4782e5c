"""Why a message or a row of Binance was refused, and what can be read of it all the same.

The decoders are fast and only say that something is wrong. What they refuse comes here, where any bytes are read:
nothing in this module raises for what the exchange sent.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from candled.domain.bar import NO_TRADE
from candled.domain.limits import EVENT_LEAD_MAX, TRADE_ID_MAX
from candled.domain.refusal import Refusal, Refused
from candled.feed.gate import (
    excerpt,
    is_exchange_time,
    is_integer,
    price_and_quantity_refusal,
    read_json,
    unreadable,
)

MICROSECONDS_FROM: Final = 10**14
"""Times below are milliseconds (until the year 5138), others microseconds (since 1973)."""


@attrs.frozen(slots=True)
class Keys:
    """The exchange's names of a trade's fields."""

    first_id: str
    last_id: str
    price: str
    quantity: str
    time: str
    maker: str


TRADE_EVENT: Final = Keys("t", "t", "p", "q", "T", "m")
AGGREGATE_EVENT: Final = Keys("f", "l", "p", "q", "T", "m")
TRADE_ROW: Final = Keys("id", "id", "price", "qty", "time", "isBuyerMaker")
AGGREGATE_ROW: Final = AGGREGATE_EVENT

_EVENTS: Final = {"trade": TRADE_EVENT, "aggTrade": AGGREGATE_EVENT}


def microseconds(time: int) -> int:
    """Return a time of the exchange, in milliseconds or microseconds, as microseconds."""
    return time * 1000 if time < MICROSECONDS_FROM else time


def diagnose_frame(frame: str | bytes) -> Refused:
    """Say why a frame of a combined stream was refused."""
    message = read_json(frame)
    data = message.get("data") if isinstance(message, dict) else None
    if isinstance(message, Exception) or not isinstance(data, dict):
        return Refused(unreadable(message), excerpt(frame))
    event, symbol = data.get("e"), data.get("s")
    keys = _EVENTS.get(event) if isinstance(event, str) else None
    if keys is None or not isinstance(symbol, str):
        return Refused(Refusal.FORM, excerpt(frame))
    time = data.get("E")
    if not is_integer(time):
        return _refused(Refusal.FORM, frame, data, keys, symbol)
    if not is_exchange_time(microseconds(time)):
        return _refused(Refusal.TIME, frame, data, keys, symbol)
    reason = _of_trade(data, keys)
    if reason is Refusal.TRADE_ID and microseconds(data[keys.time]) > microseconds(time) + EVENT_LEAD_MAX:
        reason = Refusal.EVENT_TIME
    return _refused(reason, frame, data, keys, symbol)


def diagnose_trade(row: bytes, keys: Keys, symbol: str) -> Refused:
    """Say why a row of trades or aggregates was refused."""
    data = read_json(row)
    if not isinstance(data, dict):
        return Refused(unreadable(data), excerpt(row), symbol)
    return _refused(_of_trade(data, keys), row, data, keys, symbol)


def _refused(reason: Refusal, text: str | bytes, data: Mapping[str, Any], keys: Keys, symbol: str) -> Refused:
    first, last = data.get(keys.first_id), data.get(keys.last_id)
    if is_integer(first) and is_integer(last) and 0 <= first <= last <= TRADE_ID_MAX:
        return Refused(reason, excerpt(text), symbol, first, last)
    return Refused(reason, excerpt(text), symbol)


def _of_trade(data: Mapping[str, Any], keys: Keys) -> Refusal:
    first, last, time = data.get(keys.first_id), data.get(keys.last_id), data.get(keys.time)
    if not (is_integer(first) and is_integer(last) and is_integer(time)):
        return Refusal.FORM
    if not isinstance(data.get(keys.maker), bool):
        return Refusal.FORM
    reason = price_and_quantity_refusal(data.get(keys.price), data.get(keys.quantity))
    if reason is not None:
        return reason
    return Refusal.TIME if not is_exchange_time(microseconds(time)) else Refusal.TRADE_ID


NO_IDS: Final = (NO_TRADE, NO_TRADE)
"""What the exchange sends as ids of an aggregate of no trades."""
