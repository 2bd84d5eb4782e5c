"""When an ingester publishes its updates: no leader, the first of rank publishes, others follow. Plain.

An ingester of rank 0 publishes at once. One of rank r holds an update for r x the delay, and drops it when one of
a lower rank published as much of the symbol. After a delay without any of those it publishes at once, until one is
as new as its own.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from candled.domain.bar import Bar
from candled.domain.event import BarEvent

HELD_MAX: Final = 5_000
"""Updates held of one symbol; the oldest are dropped, the next ones say more."""

Extent = tuple[int, int]
"""How much an update says: open time and number of trades."""


def extent_of(bar: Bar) -> Extent:
    """Return how much a forming bar says."""
    return bar.open_time, bar.trade_count


class Hedge:
    """Updates of one symbol at one ingester.

    Args:
        delay: seconds that an update waits for a lower rank; 0: it is published at once.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._observed: Extent = (0, -1)
        self._published: Extent = (0, -1)
        self._held: deque[tuple[float, BarEvent]] = deque(maxlen=HELD_MAX)
        self._is_alone = delay == 0
        """Nobody of a lower rank publishes as much."""

    @property
    def is_holding(self) -> bool:
        """Whether updates are held, so that ``take_due`` may have some soon."""
        return bool(self._held)

    def observe(self, bar: Bar) -> None:
        """Take an update that an ingester of a lower rank published."""
        self._observed = max(self._observed, extent_of(bar))
        while self._held and extent_of(self._held[0][1].bar) <= self._observed:
            self._held.popleft()
        if self._delay and self._observed >= self._published:
            self._is_alone = False

    def offer(self, event: BarEvent, now: float) -> Sequence[BarEvent]:
        """Take an update of the own engine; return those to publish now.

        Args:
            event: the update.
            now: monotonic seconds.
        """
        if extent_of(event.bar) <= self._observed:
            return ()
        self._held.append((now + self._delay, event))
        return self.take_due(now)

    def take_due(self, now: float) -> Sequence[BarEvent]:
        """Return the held updates to publish now, monotonic seconds."""
        if not self._held or not (self._is_alone or self._held[0][0] <= now):
            return ()
        self._is_alone = True
        due = [event for _, event in self._held]
        self._held.clear()
        self._published = extent_of(due[-1].bar)
        return due
