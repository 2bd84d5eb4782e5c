"""Lines over the candles: averages as the web chart has them, of the bars in memory. Plain, and without floats.

Numbers are integers in units of 10^-8, rounded half up; a value is None while there are too few bars for one.
"""

from collections.abc import Sequence
from datetime import UTC, date
from decimal import Decimal
from enum import Enum
from typing import Final

from candled.client import Bar

SMA_BARS: Final = 20
EMA_BARS: Final = 50
_UNIT: Final = 10**8
_GUARD: Final = 10**8
"""Eight more digits, so that an average of averages does not drift."""


class Indicator(Enum):
    """What is drawn over the candles, by its name on the screen; the web chart begins with the same periods."""

    NONE = ""
    SMA = f"SMA {SMA_BARS}"
    """Mean of the newest closes."""
    EMA = f"EMA {EMA_BARS}"
    """Exponential moving average of closes, which begins as the mean of the first ones."""
    VWAP = "VWAP"
    """Average price weighted by volume, since 0:00 UTC."""

    @property
    def next(self) -> "Indicator":
        """The one after it; after the last, none."""
        members = list(Indicator)
        return members[(members.index(self) + 1) % len(members)]


def values(indicator: Indicator, bars: Sequence[Bar]) -> list[Decimal | None]:
    """Return the value at each bar.

    Args:
        indicator: Which.
        bars: Of one symbol and interval, oldest first.
    """
    match indicator:
        case Indicator.NONE:
            return [None] * len(bars)
        case Indicator.SMA:
            found = _means([_units(bar.close) for bar in bars], SMA_BARS)
        case Indicator.EMA:
            found = _exponential([_units(bar.close) for bar in bars], EMA_BARS)
        case Indicator.VWAP:
            found = _weighted(bars)
    return [None if value is None else Decimal(value).scaleb(-8) for value in found]


def _means(numbers: Sequence[int], period: int) -> list[int | None]:
    return [
        _divide(sum(numbers[end - period : end]), period) if end >= period else None
        for end in range(1, len(numbers) + 1)
    ]


def _exponential(numbers: Sequence[int], period: int) -> list[int | None]:
    found = _means(numbers[:period], period)
    average = _divide(sum(numbers[:period]) * _GUARD, period)
    for number in numbers[period:]:
        average += _divide(2 * (number * _GUARD - average), period + 1)
        found.append(_divide(average, _GUARD))
    return found


def _weighted(bars: Sequence[Bar]) -> list[int | None]:
    """A day whose beginning is not among the bars has no value: it would be that of another one."""
    found: list[int | None] = []
    day: date | None = None
    quote = volume = 0
    for bar in bars:
        opened = bar.open_time.astimezone(UTC)
        if opened.date() != day:
            if day is None and (opened.hour, opened.minute, opened.second) != (0, 0, 0):
                found.append(None)
                continue
            day, quote, volume = opened.date(), 0, 0
        quote, volume = quote + _units(bar.quote_volume), volume + _units(bar.volume)
        found.append(_divide(quote * _UNIT, volume) if volume else None)
    return found


def _units(value: Decimal) -> int:
    return int(value.scaleb(8))


def _divide(number: int, by: int) -> int:
    """Return the nearest integer, halves away from zero."""
    return (2 * number + by) // (2 * by) if number >= 0 else -((-2 * number + by) // (2 * by))
