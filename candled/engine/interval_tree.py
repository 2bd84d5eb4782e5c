"""Which intervals are made of which: each longer bar is merged from bars of one shorter interval, its parts.

15m is merged from three 5m, 1d from two 12h. So a close costs a handful of merges, and only the parts of periods
that are open, and of those that ended lately, have to stay in memory.
"""

from typing import Final

from candled.domain.interval import INTERVALS, MINUTE, Interval

_PART_NAMES: Final = {
    "3m": "1m",
    "5m": "1m",
    "15m": "5m",
    "30m": "15m",
    "1h": "30m",
    "2h": "1h",
    "4h": "2h",
    "6h": "2h",
    "8h": "4h",
    "12h": "4h",
    "1d": "12h",
    "1w": "1d",
    "1M": "1d",
}
PARTS: Final = {INTERVALS[name]: INTERVALS[part] for name, part in _PART_NAMES.items()}
"""The interval of its parts, for each longer interval."""
LONGER: Final = tuple(PARTS)
"""Longer intervals, each after its parts."""
USERS: Final = {
    part: tuple(longer for longer, p in PARTS.items() if p is part)
    for part in INTERVALS.values()
    if part in PARTS.values()
}
"""The intervals that are made of it, for each interval that is a part."""

_SLACK: Final = 30 * MINUTE
"""How long after the end of a period its parts stay: most repairs are done by then."""


def kept_from(part: Interval, now: int) -> int:
    """Return the open time of the oldest bars that are kept as parts.

    Args:
        part: Their interval.
        now: Close time of the newest closed minute, microseconds since the epoch.
    """
    return min(user.floor(now - MINUTE - _SLACK) for user in USERS[part])
