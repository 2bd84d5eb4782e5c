"""What every exchange's gate needs: JSON read strictly, numbers in units, and rows in order, each once.

Nothing in this module raises for what an exchange sent, unless it says so.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeGuard, TypeVar

import msgspec

from candled.domain.bar import Bar
from candled.domain.exactness import decimals_of
from candled.domain.limits import (
    EXCHANGE_TIME_MAX,
    EXCHANGE_TIME_MIN,
    MINUTE_TRADES_MAX,
    PRICE_MAX,
    PRODUCT_MAX,
    QUANTITY_MAX,
    QUOTE_VOLUME_MAX,
    VOLUME_MAX,
)
from candled.domain.numbers import DECIMALS, TooManyDecimalsError, parse_units
from candled.domain.refusal import Refusal, Refused
from candled.domain.trade import Trade
from candled.feed.transport.reasons import TEXT_MAX, printable

ABSENT: Final = msgspec.Raw()
"""A field that a message lacks, where only its presence matters."""
_DIGITS_MAX: Final = 20
"""Longer integers are no 64-bit numbers; Python refuses to read those of some thousand digits at all."""
_rows_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])
_T = TypeVar("_T")


class _DoubledKeyError(ValueError):
    """A key stands twice in one object: which of its values counts is anybody's guess."""


def is_exchange_time(time: int) -> bool:
    """Return whether a time in microseconds lies within an exchange's life."""
    return EXCHANGE_TIME_MIN <= time < EXCHANGE_TIME_MAX


def excerpt(message: str | bytes) -> str:
    """Return the beginning of a message as it may be logged."""
    head = message[:TEXT_MAX]
    return printable(head if isinstance(head, str) else head.decode("utf-8", "replace"))


def has_doubled_keys(text: str | bytes) -> bool:
    """Return whether any object in a JSON text has a key twice."""
    return isinstance(read_json(text), _DoubledKeyError)


def read_json(text: str | bytes, parse_float: Callable[[str], object] = float) -> Any:
    """Return a JSON text as Python values, or the exception that says why it cannot be read.

    Args:
        text: It.
        parse_float: Makes a value of a number with a point or an exponent.
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_int=_integer, parse_float=parse_float)
    except (ValueError, RecursionError) as error:
        return error


def unreadable(read: object) -> Refusal:
    """Return why ``read_json`` gave something else than the object that was expected."""
    if isinstance(read, _DoubledKeyError):
        return Refusal.DOUBLED_KEY
    return Refusal.NOT_JSON if isinstance(read, Exception) else Refusal.FORM


def number(value: object) -> int | Refusal:
    """Return a number of the exchange in units of 10^-8, or why it is none."""
    if not isinstance(value, str):
        return Refusal.FORM
    try:
        return parse_units(value)
    except TooManyDecimalsError:
        return Refusal.DECIMALS
    except ValueError:
        return Refusal.NUMBER


def decimals_of_step(step: object) -> int:
    """Return the decimals of a price or a quantity by its step; eight, the most, where that says nothing."""
    units = number(step)
    if isinstance(units, Refusal) or units == 0:
        return DECIMALS
    return decimals_of(units)


def is_integer(value: object) -> TypeGuard[int]:
    """Return whether a JSON value is an integer."""
    return type(value) is int  # a JSON boolean is none


def price_and_quantity_refusal(price: object, quantity: object, product_max: int = PRODUCT_MAX) -> Refusal | None:
    """Return why price and quantity of a trade, as the exchange writes them, are refused; None if they are not."""
    units = [number(price), number(quantity)]
    for value, limit, reason in zip(
        units, (PRICE_MAX, QUANTITY_MAX), (Refusal.PRICE, Refusal.QUANTITY), strict=True
    ):
        if isinstance(value, Refusal):
            return value
        if value > limit:
            return reason
    assert not isinstance(units[0], Refusal)
    assert not isinstance(units[1], Refusal)
    return Refusal.PRODUCT if units[0] * units[1] > product_max else None


def decoded(decode: Callable[[bytes], _T], body: bytes) -> _T:
    """Decode a body.

    Raises:
        ValueError: it is not what the decoder expects.
    """
    try:
        return decode(body)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def rows_of(body: bytes, most: int) -> list[msgspec.Raw]:
    """Split an answer that is a list into its rows.

    Raises:
        ValueError: it is no list, or has more than ``most`` rows.
    """
    rows = decoded(_rows_decoder.decode, body)
    if len(rows) > most:
        raise ValueError(f"{len(rows)} rows, where {most} are the most")
    return rows


def once_each(trades: list[Trade]) -> tuple[list[Trade], list[Refused]]:
    """Put trades in order; where two of them that differ share an id, both are refused."""
    trades.sort(key=lambda trade: (trade.first_id, trade.last_id))
    if all(one.last_id < other.first_id for one, other in pairwise(trades)):
        return trades, []
    kept: list[Trade] = []
    refused: list[Refused] = []
    for trade in trades:
        if kept and kept[-1] == trade:
            continue
        if (kept and kept[-1].last_id >= trade.first_id) or (refused and refused[-1].last_id >= trade.first_id):
            if kept and kept[-1].last_id >= trade.first_id:
                refused.append(_contradiction(kept.pop()))
            refused.append(_contradiction(trade))
        else:
            kept.append(trade)
    return kept, refused


def _contradiction(trade: Trade) -> Refused:
    return Refused(Refusal.TWO_TRUTHS, excerpt(repr(trade)), trade.symbol, trade.first_id, trade.last_id)


def check_readable(rows: Sequence[object], trades: Sequence[Trade], refused: Sequence[Refused]) -> None:
    """See that an answer with rows has one whose id can be read.

    Raises:
        ValueError: it has none.
    """
    if rows and not trades and not any(row.has_ids for row in refused):
        raise ValueError(f"none of {len(rows)} rows can be read: {refused[0].reason if refused else 'no ids'}")


def kline_rows(
    bars: Sequence[Bar | Refused], rows: Sequence[bytes], symbol: str, first_open_time: int
) -> tuple[list[Bar], tuple[Refused, ...]]:
    """Sort the rows of a page of klines: in order, each minute once, none before the first that was asked for.

    Args:
        bars: Each row, read or refused.
        rows: Their texts.
        symbol: Whose.
        first_open_time: What was asked for.

    Raises:
        ValueError: none of the rows has a time that can be read.
    """
    taken: dict[int, Bar] = {}
    refused: list[Refused] = []
    for bar, row in zip(bars, rows, strict=True):
        if isinstance(bar, Refused):
            refused.append(bar)
        elif bar.open_time < first_open_time:
            refused.append(Refused(Refusal.ORDER, excerpt(row), symbol, open_time=bar.open_time))
        elif taken.setdefault(bar.open_time, bar) != bar:
            refused.append(Refused(Refusal.TWO_TRUTHS, excerpt(row), symbol, open_time=bar.open_time))
    for each in refused:
        if each.open_time is not None:
            taken.pop(each.open_time, None)
    if rows and all(each.open_time is None for each in refused) and len(refused) == len(rows):
        raise ValueError(f"none of {len(rows)} rows can be read: {refused[0].reason}")
    return [taken[open_time] for open_time in sorted(taken)], tuple(refused)


def implausible(bar: Bar) -> Refusal | None:
    """Return why a kline cannot be one of a minute of trades; None if it can."""
    if bar.high > PRICE_MAX:
        return Refusal.PRICE
    if bar.volume > VOLUME_MAX:
        return Refusal.QUANTITY
    if bar.quote_volume > QUOTE_VOLUME_MAX:
        return Refusal.PRODUCT
    is_ordered = bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high
    is_part = bar.taker_buy_volume <= bar.volume and bar.taker_buy_quote_volume <= bar.quote_volume
    counts = 0 <= bar.trade_count <= MINUTE_TRADES_MAX
    is_empty = bar.trade_count == 0 and (bar.volume or bar.quote_volume)
    return None if is_ordered and is_part and counts and not is_empty else Refusal.KLINE


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _DIGITS_MAX else text


def _once(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DoubledKeyError
    return found
