"""What time it is at the exchange at least, without asking a wall clock."""

from collections import deque
from typing import Final

from candled.domain.interval import MICROSECONDS

_BASELINE: Final = 1.0
"""Least local seconds between two readings of the exchange's clock that a rate is taken from."""
_PAIRS_MIN: Final = 3
"""Pairs of readings before a rate other than 1 is believed."""
_PAIRS: Final = 10
"""Newest pairs of readings that the rate is taken from."""
_GRAIN: Final = 1_000
"""Microseconds by which a reading may be too low: the exchange tells its time in milliseconds."""
FAR_AHEAD: Final = 3600 * MICROSECONDS
"""A time further ahead of the exchange's own clock than this is a mistake, not news."""
_STANDS: Final = 0.5
"""A clock that advanced less than this in a local second stands, or nearly."""
_FAST: Final = 1.5
"""From this rate on a clock is an accelerated one; below it is a real one, which needs no measuring."""


class ExchangeTime:
    """A lower bound of the exchange's present time, from the times of its messages and from its own clock.

    Messages set the time: the newest event time of any symbol, which was past when it came. So were the
    readings of the exchange's clock, which correct it. In between the time advances with the local monotonic
    clock, at a rate that is a lower bound too: two readings were taken at most so far apart as from asking for
    the first to receiving the second. Where the exchange's clock jumps (this machine slept) the pair of
    readings around the jump says too much, so of the newest pairs the lowest counts, and none until there are a
    few.

    So the time shown is never later than the exchange's own as long as that clock advances evenly, in real time
    or faster, but for jumps ahead; as long as one of the pairs is free of jumps; and as long as it tells the
    truth. A clock that told a time too late by d makes what is shown too late by d at most, until the truth
    catches up: what is shown never goes back. A clock that slows down (a replay at its end) is noticed with its
    next reading.
    """

    def __init__(self) -> None:
        self._rate = 1.0
        self._newest: tuple[int, float] | None = None
        self._read: tuple[int, float] | None = None
        """The last reading of the exchange's clock, and when it was asked for."""
        self._rates: deque[float] = deque(maxlen=_PAIRS)
        """Of the pairs of readings, oldest first."""
        self._shown = 0

    @property
    def known(self) -> bool:
        """Whether there was any message or reading."""
        return self._newest is not None

    @property
    def rate(self) -> float:
        """Exchange seconds per local second, at least."""
        return self._rate

    def observe(self, event_time: int, local: float) -> None:
        """A message of this event time (microseconds since the epoch) came at a local monotonic time (seconds)."""
        if self.is_absurd(event_time, local):
            return
        if self._newest is None or event_time >= self._extrapolate(local):
            if self._newest is not None and event_time > self._newest[0]:
                self._rate = max(self._rate, 1.0)  # a clock that stood does so no more
            self._newest = (event_time, local)

    def synchronise(self, server_time: int, asked: float, received: float) -> None:
        """The exchange's clock showed this between two local times: it outweighs what was extrapolated."""
        if self._read is None:
            self._read = (server_time, asked)
        elif received - self._read[1] >= _BASELINE:
            advanced = server_time - self._read[0] - _GRAIN
            self._rates.append(max(0.0, advanced / MICROSECONDS / (received - self._read[1])))
            self._read = (server_time, asked)
            self._rate = self._believed_rate()
        self._newest = (server_time, received)

    def _believed_rate(self) -> float:
        if self._rates[-1] < _STANDS:
            return self._rates[-1]
        lowest = min(self._rates)
        return lowest if lowest >= _FAST and len(self._rates) >= _PAIRS_MIN else 1.0

    def is_absurd(self, time: int, local: float) -> bool:
        """Whether a time is so far ahead that it must be a mistake; False until the clock's rate is known."""
        return len(self._rates) >= _PAIRS_MIN and time > self._extrapolate(local) + FAR_AHEAD

    def now(self, local: float) -> int:
        """The exchange's time at a local monotonic time, microseconds since the epoch; 0 while unknown."""
        if self._newest is None:
            return 0
        self._shown = max(self._shown, self._extrapolate(local))
        return self._shown

    def seconds_until(self, time: int, local: float) -> float:
        """Local seconds until ``now`` shows ``time``, as far as is known; infinite if it stands."""
        ahead = time - self.now(local)
        if ahead <= 0:
            return 0.0
        return ahead / MICROSECONDS / self._rate if self._rate > 0 else float("inf")

    def _extrapolate(self, local: float) -> int:
        assert self._newest is not None
        time, then = self._newest
        return time + int((local - then) * self._rate * MICROSECONDS)
