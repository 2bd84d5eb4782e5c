"""Limit how much of the history one request reads at once."""

from candled.domain.interval import DAY, MINUTE, Interval
from candled.domain.limits import READ_MINUTES_MAX


def bars_per_read(interval: Interval, limit: int) -> int:
    """Return how many of ``limit`` bars to read at once, at least one, within ``READ_MINUTES_MAX``."""
    minutes = (interval.length or 31 * DAY) // MINUTE
    return max(1, min(limit, READ_MINUTES_MAX // minutes))
