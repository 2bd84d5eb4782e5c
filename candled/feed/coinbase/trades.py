"""A trade as Coinbase writes it, in messages and in rows, and what can be read of one that is refused.

``side`` is the maker's: the taker bought where it is ``sell``. Times are ISO 8601 with up to nanoseconds.
Source: "Match" of "WebSocket Channels", "Get product trades".
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from candled.domain.limits import EXACT_PRODUCT_MAX, TRADE_ID_MAX, trade_fits
from candled.domain.numbers import parse_units
from candled.domain.refusal import Refusal, Refused
from candled.domain.trade import Trade
from candled.feed.gate import excerpt, is_integer, price_and_quantity_refusal

MAKER_BUYS: Final = {"buy": True, "sell": False}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)
"""The exchange's one form, of the many of ISO 8601 that Python reads: ``has_colons`` counts on its two colons."""


def parse_time(text: str) -> int:
    """Read a time of the exchange as microseconds since the epoch; finer decimals are cut off.

    Raises:
        ValueError: it is none, or not in UTC.
    """
    if _TIME.fullmatch(text) is None:
        raise ValueError(f"not a time in UTC: {text[:60]!r}")
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


def has_colons(text: str, number: int) -> bool:
    """Return whether a message or a row has this number of colons, none of them written as an escape.

    Where each of its fields is there, and its time has two, no field is then there twice.
    """
    return text.count(":") == number and "\\" not in text


def format_time(time: int) -> str:
    """Write a time as the exchange takes it."""
    return (_EPOCH + time * _MICROSECOND).isoformat().replace("+00:00", "Z")


def make_trade(symbol: str, trade_id: int, price: str, size: str, time: str, side: str) -> Trade | None:
    """Make a trade of its fields; None if it does not lie within the domain's limits.

    Raises:
        ValueError: a field cannot be read.
        KeyError: the side is none.
    """
    trade = Trade(
        symbol, trade_id, trade_id, parse_units(price), parse_units(size), parse_time(time), MAKER_BUYS[side]
    )
    fits = trade_fits(trade_id, trade_id, trade.price, trade.quantity, trade.time)
    return trade if fits and trade.price * trade.quantity <= EXACT_PRODUCT_MAX else None


def refused(data: Mapping[str, Any], text: str | bytes, symbol: str) -> Refused:
    """Say why a trade was refused.

    Args:
        data: Its fields.
        text: The message or the row.
        symbol: Whose it is.
    """
    trade_id = data.get("trade_id")
    reason = _reason(data)
    if is_integer(trade_id) and 0 <= trade_id <= TRADE_ID_MAX:
        return Refused(reason, excerpt(text), symbol, trade_id, trade_id)
    return Refused(reason, excerpt(text), symbol)


def _reason(data: Mapping[str, Any]) -> Refusal:
    if not is_integer(data.get("trade_id")) or data.get("side") not in ("buy", "sell"):
        return Refusal.FORM
    reason = price_and_quantity_refusal(data.get("price"), data.get("size"), EXACT_PRODUCT_MAX)
    if reason is not None:
        return reason
    time = data.get("time")
    if not isinstance(time, str):
        return Refusal.FORM
    try:
        trade = make_trade("", 0, "0", "0", time, "buy")
    except ValueError:
        return Refusal.TIME
    return Refusal.TIME if trade is None else Refusal.TRADE_ID
