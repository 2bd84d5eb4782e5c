"""How long to wait before trying again."""

import random
from typing import Final

FIRST: Final = 0.25
"""Seconds before the second try."""
MOST: Final = 30.0
"""Seconds, at the most, between tries."""


class Backoff:
    """Doubling delays, capped, with jitter so that clients do not come back all at once."""

    def __init__(self, rng: random.Random, *, first: float = FIRST, most: float = MOST) -> None:
        self._rng = rng
        self._first = first
        self._most = most
        self.tries = 0

    def next(self) -> float:
        """Seconds to wait now: between half and the whole of the doubled delay."""
        delay = min(self._most, self._first * 2.0 ** min(self.tries, 30))
        self.tries += 1
        return delay * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: start from the shortest delay next time."""
        self.tries = 0
