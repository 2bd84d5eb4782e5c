"""The only list of closed bars that are published and not stored yet.

A closed bar is published at once and is on disk up to a second later, or much later if writes fail. Until then the
history lacks it, so every reader adds this list: a stream that resumes, the chart, and the aggregator when it
rebuilds a longer bar. Plain: no clock, no Trio.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from candled.domain.bar import Bar
from candled.domain.event import BarEvent
from candled.domain.storage import StoredPosition

BARS_MAX: Final = 100_000
"""Bars in the tail: half an hour of every interval of 2,000 symbols."""


class HistoryBehindError(Exception):
    """More closed bars wait to be stored than the tail keeps: a read would have a hole."""


@attrs.frozen(slots=True)
class _Batch:
    """Events that were published together."""

    events: Sequence[BarEvent]
    position: int
    """The highest of the events."""
    published_at: float
    """Monotonic seconds."""


class UnstoredTail:
    """Closed bars of all intervals in the order of publishing, up to a limit.

    The invariant: every event that was appended and whose position is above ``stored_position`` is here. If the
    limit was exceeded, reading raises until the history has caught up with what was dropped.

    Args:
        stored: the history.
        observe: takes the seconds from publishing to storing of each batch.
        bars_max: maximum number of bars; beyond it the oldest batches are dropped.
    """

    def __init__(
        self,
        stored: StoredPosition,
        *,
        observe: Callable[[float], None] = lambda _seconds: None,
        bars_max: int = BARS_MAX,
    ) -> None:
        self._stored = stored
        self._observe = observe
        self._bars_max = bars_max
        self._batches: deque[_Batch] = deque()
        self._count = 0
        self._dropped_position = 0

    def __len__(self) -> int:
        """Return number of bars."""
        return self._count

    def __repr__(self) -> str:
        return f"UnstoredTail(bars={self._count}, stored_position={self._stored.stored_position})"

    def append(self, events: Sequence[BarEvent], now: float) -> None:
        """Add closed bars that are being published.

        Args:
            events: at least one, in the order of publishing.
            now: monotonic seconds.
        """
        self.prune(now)
        self._batches.append(_Batch(events, max(event.position for event in events), now))
        self._count += len(events)
        while self._count > self._bars_max:
            self._dropped_position = max(self._dropped_position, self._popleft().position)

    def prune(self, now: float) -> None:
        """Drop what is stored by now; call it whenever the history has stored something.

        Args:
            now: monotonic seconds.
        """
        stored, batches = self._stored.stored_position, self._batches
        while batches and batches[0].position <= stored:
            self._observe(now - self._popleft().published_at)

    def events(self) -> list[BarEvent]:
        """Return every event that may not be stored yet, in the order of publishing.

        Raises:
            HistoryBehindError: some were dropped and are not stored yet.
        """
        stored = self._stored.stored_position
        if self._dropped_position > stored:
            raise HistoryBehindError
        return [event for batch in self._batches for event in batch.events if event.position > stored]

    def bars(self, symbol: str, interval: str, start: int, end: int) -> dict[int, Bar]:
        """Return the newest unstored revision of each bar with ``start <= open_time < end``, by open time.

        Args:
            symbol: of the bars.
            interval: of the bars.
            start: microseconds since the epoch.
            end: exclusive, microseconds since the epoch.

        Raises:
            HistoryBehindError: some were dropped and are not stored yet.
        """
        bars: dict[int, Bar] = {}
        for event in self.events():
            bar = event.bar
            if bar.symbol == symbol and bar.interval == interval and start <= bar.open_time < end:
                known = bars.get(bar.open_time)
                if known is None or known.revision <= bar.revision:
                    bars[bar.open_time] = bar
        return bars

    def _popleft(self) -> _Batch:
        batch = self._batches.popleft()
        self._count -= len(batch.events)
        return batch
