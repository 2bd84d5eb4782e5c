"""Bar intervals and how the exchange aligns them (UTC; weeks from Monday)."""

from datetime import UTC, datetime
from typing import Final

import attrs

MICROSECONDS: Final = 1_000_000
"""Microseconds in a second: times inside candled are integer microseconds since the epoch."""

MINUTE: Final = 60 * MICROSECONDS
DAY: Final = 1440 * MINUTE
_MONDAY: Final = 4 * DAY  # 1970-01-05, the first Monday since the epoch
_MONTH: Final = "1M"
_CALENDAR: Final = 146_097 * DAY
"""After 400 years the Gregorian calendar repeats, to the day."""


@attrs.frozen(slots=True)
class Interval:
    """A bar interval: its name in the API and the rule that gives a time its bar."""

    name: str
    length: int | None
    """Microseconds; None for the calendar month."""
    offset: int = 0

    def floor(self, time: int) -> int:
        """Open time of the bar that holds ``time``."""
        if self.length is not None:
            return time - (time - self.offset) % self.length
        begin, moment = _calendar(time)
        return begin + _microseconds(datetime(moment.year, moment.month, 1, tzinfo=UTC))

    def end(self, open_time: int) -> int:
        """Return the exclusive end of the bar that opens at ``open_time``."""
        if self.length is not None:
            return open_time + self.length
        begin, moment = _calendar(open_time)
        year, month = divmod(moment.year * 12 + moment.month, 12)
        return begin + _microseconds(datetime(year, month + 1, 1, tzinfo=UTC))

    def minutes(self, open_time: int) -> int:
        """Return how many 1-minute bars make up the bar that opens at ``open_time``."""
        return (self.end(open_time) - open_time) // MINUTE

    def __str__(self) -> str:
        return self.name


ONE_MINUTE: Final = Interval("1m", MINUTE)

INTERVALS: Final = {
    interval.name: interval
    for interval in (
        ONE_MINUTE,
        *(Interval(f"{count}m", count * MINUTE) for count in (3, 5, 15, 30)),
        *(Interval(f"{count}h", count * 60 * MINUTE) for count in (1, 2, 4, 6, 8, 12)),
        Interval("1d", DAY),
        Interval("1w", 7 * DAY, _MONDAY),
        Interval(_MONTH, None),
    )
}
"""Every interval that candled serves, by name, shortest first."""


def parse_interval(name: str) -> Interval:
    """Look an interval up by name.

    Raises:
        ValueError: no such interval; the text lists those there are.
    """
    try:
        return INTERVALS[name]
    except KeyError:
        raise ValueError(f"unknown interval {name!r}: choose one of {' '.join(INTERVALS)}") from None


def _calendar(time: int) -> tuple[int, datetime]:
    """Return the start of the 400 years that hold ``time``, and the same moment in those from 1970 on.

    ``datetime`` ends with the year 9999; so no time, however far, is outside of its range.
    """
    begin = time - time % _CALENDAR
    return begin, datetime.fromtimestamp((time - begin) // MICROSECONDS, UTC)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * MICROSECONDS
