"""Decimals of eight places as whole numbers of 10^-8, times as microseconds since the epoch, and back to text."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def decimal_text(units: int) -> str:
    """Format units of 10^-8 as the original does: plain, always eight decimals."""
    digits = f"{units:09d}"
    return f"{digits[:-8]}.{digits[-8:]}"


def to_units(text: str) -> int:
    """Read a recorded decimal exactly, as units of 10^-8.

    Raises:
        ValueError: not a decimal, negative, or finer than eight decimals.
    """
    whole, _, fraction = text.partition(".")
    digits = whole + fraction[:8].ljust(8, "0")
    if not (whole and digits.isascii() and digits.isdigit()) or fraction[8:].strip("0"):
        raise ValueError(f"{text[:60]!r} is not a plain decimal with at most eight places")
    return int(digits)


def time_text(time: int) -> str:
    """Format microseconds since the epoch."""
    return (_EPOCH + time * _MICROSECOND).isoformat(timespec="microseconds").replace("+00:00", "Z")


def read_time(text: str) -> int:
    """Read a time as microseconds since the epoch.

    Raises:
        ValueError: it is none in UTC.
    """
    moment = datetime.fromisoformat(text)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
