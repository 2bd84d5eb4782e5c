"""Requests of each address, kept by a bucket that fills as it is emptied. Plain: the clock is passed in."""

from collections.abc import Callable
from typing import Final

_MOST_ADDRESSES: Final = 10_000


class RequestRates:
    """Limit the requests of each address: a rate per second, and the size of a burst."""

    def __init__(self, per_second: float, burst: int, monotonic: Callable[[], float]) -> None:
        """Admit ``per_second`` requests of an address, and ``burst`` at once; ``monotonic`` returns seconds."""
        self._per_second = per_second
        self._burst = burst
        self._monotonic = monotonic
        self._buckets: dict[str, tuple[float, float]] = {}
        """What is left for each address, and when that was."""

    def admits(self, address: str) -> bool:
        """Count a request of an address; return whether it is answered."""
        now = self._monotonic()
        left, then = self._buckets.pop(address, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._per_second)
        admitted = left >= 1
        self._buckets[address] = (left - admitted, now)
        if len(self._buckets) > _MOST_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return admitted
