"""What time it is at the exchange, without asking a wall clock."""

from collections import deque
from typing import Final

from candled.domain.interval import MICROSECONDS

_BASELINE: Final = 1.0
"""Least local seconds between two readings of the exchange's clock that a rate is taken from."""
_READINGS: Final = 5
"""Readings that the rate is taken from."""
FAR_AHEAD: Final = 3600 * MICROSECONDS
"""A time further ahead of the exchange's own clock than this is a mistake, not news."""
_NEAR_ONE: Final = 0.5
"""A rate this close to 1 is 1: an uneven network, not an accelerated exchange."""


class ExchangeTime:
    """Estimates the exchange's present time from the event times of its messages and from its own clock.

    Messages set the time: the newest event time of any symbol. Readings of the exchange's clock correct it and
    give the rate at which it advances with the local monotonic clock in between, so that an accelerated exchange
    works. The estimate never goes back.
    """

    def __init__(self) -> None:
        self._rate = 1.0
        self._newest: tuple[int, float] | None = None
        self._readings: deque[tuple[int, float]] = deque(maxlen=_READINGS)
        """Of the exchange's clock, oldest first."""
        self._shown = 0
        self._is_measured = False

    @property
    def known(self) -> bool:
        """Whether there was any message or reading."""
        return self._newest is not None

    @property
    def rate(self) -> float:
        """Exchange seconds per local second."""
        return self._rate

    def observe(self, event_time: int, local: float) -> None:
        """A message of this event time (microseconds since the epoch) came at a local monotonic time (seconds)."""
        if self.is_absurd(event_time, local):
            return
        if self._newest is None or event_time >= self._extrapolate(local):
            self._newest = (event_time, local)

    def synchronise(self, server_time: int, local: float) -> None:
        """The exchange's clock showed this at a local monotonic time: it outweighs what was extrapolated.

        An answer that was long on its way makes its reading late, and a late reading makes the rate since then
        seem too high. So of the rates since the last few readings the lowest counts: rather late than early.
        """
        rates = [
            (server_time - time) / MICROSECONDS / (local - then)
            for time, then in self._readings
            if local - then >= _BASELINE
        ]
        if rates:
            rate = min(rates)
            self._is_measured = True
            self._rate = 1.0 if abs(rate - 1.0) < _NEAR_ONE else max(rate, 0.0)
        self._readings.append((server_time, local))
        self._newest = (server_time, local)

    def is_absurd(self, time: int, local: float) -> bool:
        """Whether a time is so far ahead that it must be a mistake; False until the clock's rate is known."""
        return self._is_measured and time > self._extrapolate(local) + FAR_AHEAD

    def now(self, local: float) -> int:
        """The exchange's time at a local monotonic time, microseconds since the epoch; 0 while unknown."""
        if self._newest is None:
            return 0
        self._shown = max(self._shown, self._extrapolate(local))
        return self._shown

    def seconds_until(self, time: int, local: float) -> float:
        """Local seconds until the exchange's clock shows ``time``, as far as is known; infinite if it stands."""
        ahead = time - self.now(local)
        if ahead <= 0:
            return 0.0
        return ahead / MICROSECONDS / self._rate if self._rate > 0 else float("inf")

    def _extrapolate(self, local: float) -> int:
        assert self._newest is not None
        time, then = self._newest
        return time + int((local - then) * self._rate * MICROSECONDS)
