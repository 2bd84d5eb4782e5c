"""How far bars are published: the basis of resume tokens and of the times to resume from. Plain."""

from collections.abc import Iterable

from candled.domain.event import BarEvent
from candled.domain.interval import INTERVALS


class Progress:
    """Newest times and positions that the hub has published."""

    __slots__ = ("_closed_until", "exchange_time", "position", "resume_floor")

    def __init__(self) -> None:
        self.exchange_time = 0
        """Of the newest event."""
        self.position = 0
        """Of the newest closed bar."""
        self.resume_floor = 0
        """Resuming never starts above it; 0: nothing is still to be emitted."""
        self._closed_until: dict[tuple[str, str], int] = {}

    def note_closed(self, event: BarEvent) -> None:
        """Record a closed bar that is about to be published."""
        bar = event.bar
        key = (bar.symbol, bar.interval)
        self._closed_until[key] = max(self._closed_until.get(key, 0), bar.close_time)
        self.resume_floor = event.resume_floor
        self.position = max(self.position, event.position)

    def forget(self, symbol: str) -> None:
        """Drop the state of a symbol that is no longer served."""
        for interval in INTERVALS:
            self._closed_until.pop((symbol, interval), None)

    def resume_time(
        self, symbols: Iterable[str], intervals: frozenset[str], oldest_waiting: int | None
    ) -> int | None:
        """Return the start time from which a stream that ends now misses nothing; None if nothing was closed.

        Args:
            symbols: those of the stream.
            intervals: those of the stream.
            oldest_waiting: earliest open time of the closed bars that it has not sent.
        """
        times = [
            self._closed_until[symbol, interval]
            for symbol in symbols
            for interval in intervals
            if (symbol, interval) in self._closed_until
        ]
        if oldest_waiting is not None:
            times.append(oldest_waiting)
        # Bars of every interval that were open then, each by its own alignment.
        return min((INTERVALS[name].floor(min(times)) for name in intervals), default=None) if times else None
