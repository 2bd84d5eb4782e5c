"""Limits that an exchange sets on its clients, kept by counting. Plain: time comes in as an argument."""

from collections import deque
from typing import Final

_ROUNDING: Final = 1e-6
"""Seconds: rounding that floats may leave of an elapsed wait; without it the same wait would be returned again."""


class RollingLimit:
    """At most an amount within any window of seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self._seconds = seconds
        self._taken: deque[tuple[float, int]] = deque()
        self._used = 0
        self._blocked_until = float("-inf")

    def used(self, now: float) -> int:
        """How much of the limit is taken at this moment."""
        while self._taken and self._taken[0][0] + self._seconds - now < _ROUNDING:
            self._used -= self._taken.popleft()[1]
        return self._used

    def wait(self, amount: int, now: float) -> float:
        """Seconds until this much may be taken, 0 for now. More than the limit counts as all of it."""
        amount = min(amount, self.most)
        blocked = max(0.0, self._blocked_until - now)
        excess = self.used(now) + amount - self.most
        if excess <= 0:
            return blocked
        for time, taken in self._taken:
            excess -= taken
            if excess <= 0:
                return max(blocked, time + self._seconds - now)
        return max(blocked, self._seconds)

    def take(self, amount: int, now: float) -> None:
        """Count this much as taken now."""
        self._taken.append((now, amount))
        self._used += amount

    def correct(self, used: int, now: float) -> None:
        """The other side counts this much as used: its word goes where it is higher."""
        if used > self.used(now):
            self.take(used - self._used, now)

    def block(self, seconds: float, now: float) -> None:
        """Block all requests for a time, as the exchange asked."""
        self._blocked_until = max(self._blocked_until, now + seconds)

    def blocked_for(self, now: float) -> float:
        """Seconds that a block still lasts; 0 when there is none."""
        return max(0.0, self._blocked_until - now)
