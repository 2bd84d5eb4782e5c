"""Histogram counted by size: what a histogram of ``/metrics`` shows."""

from bisect import bisect_left
from itertools import accumulate
from typing import Final

BOUNDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds of the buckets in seconds: from a tenth of a millisecond to what an operator is woken for."""


class Histogram:
    """Counts durations by the lowest of ``BOUNDS`` that they do not exceed; half a microsecond for each."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self.sum = 0.0
        """Sum of all durations in seconds."""
        self._counts = [0] * (len(BOUNDS) + 1)

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self._counts)

    def cumulative(self) -> list[int]:
        """Return how many durations are at most each of ``BOUNDS``, and last how many there are."""
        return list(accumulate(self._counts))
