"""How long a trade takes for each stage of its way: to us, to the streams, to the disk. Plain: no clock."""

from collections import deque
from typing import Final

from candled.domain.durations import Durations

_UNSTORED_MAX: Final = 20_000
"""Closed batches that are waited for; more are not measured."""


class Lags:
    """Measured once for each batch of trades and each batch of closed bars, so that it costs nothing per trade."""

    def __init__(self) -> None:
        self.received = Durations()
        """From the exchange's time of a batch's newest event to its arrival, by the estimate of that time."""
        self.published = Durations()
        """From the arrival of a batch to the moment its bars were given to every stream."""
        self.stored = Durations()
        """From the moment closed bars were given to the streams to the moment they are durable."""
        self._unstored: deque[tuple[int, float]] = deque(maxlen=_UNSTORED_MAX)

    def told(self, position: int, now: float) -> None:
        """Closed bars up to ``position`` in the journal's order were given to the streams; monotonic seconds."""
        self._unstored.append((position, now))

    def kept(self, position: int, now: float) -> None:
        """Everything up to ``position`` is durable."""
        while self._unstored and self._unstored[0][0] <= position:
            self.stored.observe(now - self._unstored.popleft()[1])
