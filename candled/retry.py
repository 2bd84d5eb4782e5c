"""Delays between retries."""

import random
from typing import Final

FIRST: Final = 0.25
"""Seconds before the second try."""
DELAY_MAX: Final = 30.0
"""Maximum seconds between tries."""


class Backoff:
    """Doubling delays, capped, with jitter so that clients do not reconnect at the same moment."""

    def __init__(self, rng: random.Random, *, first: float = FIRST, delay_max: float = DELAY_MAX) -> None:
        self._rng = rng
        self._first = first
        self._delay_max = delay_max
        self.tries = 0

    def next(self) -> float:
        """Return the seconds to wait now: between half and all of the doubled delay."""
        delay = min(self._delay_max, self._first * 2.0 ** min(self.tries, 30))
        self.tries += 1
        return delay * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Restart from the shortest delay, after a success."""
        self.tries = 0
