"""Exact decimals as scaled integers.

A price or a quantity is an ``int`` that counts units of 10^-8: ``"96000.12000000"`` is ``9600012000000``. Every
number that Binance spot sends has at most eight decimals, Python's integers have no upper bound, and so sums
and products are exact. No float is used anywhere.
"""

import re
from decimal import Decimal
from typing import Final

DECIMALS: Final = 8
"""Decimals kept of every price, quantity and quote volume."""

ONE: Final = 10**DECIMALS
"""The number 1 in units."""

PRODUCT_DECIMALS: Final = 2 * DECIMALS
"""Decimals of a product of two numbers in units: what an exact quote volume has."""

_PLAIN = re.compile(r"([0-9]{1,30})(?:\.([0-9]+))?", re.ASCII)


class TooManyDecimalsError(ValueError):
    """A number that units of 10^-8 cannot state exactly."""


def parse_units(text: str) -> int:
    """Read a non-negative decimal in plain notation as units of 10^-8.

    Raises:
        TooManyDecimalsError: more than eight significant decimals.
        ValueError: not a plain decimal, or more than 30 digits before the point.
    """
    digits = text[:-9] + text[-8:]
    if text[-9:-8] == "." and 8 < len(digits) < 39 and digits.isdigit() and digits.isascii():
        return int(digits)
    return _parse_other(text)


def _parse_other(text: str) -> int:
    match = _PLAIN.fullmatch(text)
    if match is None:
        raise ValueError(f"not a plain decimal number: {text[:60]!r}")
    whole, fraction = match[1], (match[2] or "").rstrip("0")
    if len(fraction) > DECIMALS:
        raise TooManyDecimalsError(f"more than {DECIMALS} decimals: {text[:60]!r}")
    return int(whole + fraction.ljust(DECIMALS, "0"))


def format_units(units: int) -> str:
    """Write units as the exchange does: plain notation, always eight decimals."""
    digits = str(units).zfill(DECIMALS + 1)
    return f"{digits[:-DECIMALS]}.{digits[-DECIMALS:]}"


def format_decimals(value: int, decimals: int) -> str:
    """Write a number in units of 10^-decimals: plain notation, always with all ``decimals`` digits."""
    if decimals == DECIMALS:
        return format_units(value)
    digits = str(value).zfill(decimals + 1)
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def quote_divisor(decimals: int) -> int:
    """Return the divisor that truncates price x quantity, both in units, to ``decimals`` decimals."""
    return int(10 ** (PRODUCT_DECIMALS - decimals))


def to_decimal(units: int) -> Decimal:
    """Convert units to a ``Decimal`` with eight decimals, independent of the decimal context."""
    return Decimal(format_units(units))


def quote_units(price: int, quantity: int) -> int:
    """Multiply price and quantity, truncated to eight decimals as the exchange does for each fill.

    Source: ``quoteQty`` of recorded Binance trades; truncation fits every row, rounding only half of them.
    """
    return price * quantity // ONE
