"""In-memory index of each symbol's newest minute and first day, so that no query reads a file for them."""

from collections.abc import Iterable

import attrs

from candled.domain.bar import Bar


@attrs.define
class HotIndex:
    """First and newest minute of each symbol."""

    newest: dict[str, Bar]
    """Each symbol's newest minute."""
    first: dict[str, int]
    """A time at or before each symbol's oldest minute, not earlier than that one's day."""

    @property
    def newest_open_time(self) -> int | None:
        """Open time of the newest minute of any symbol."""
        return max((bar.open_time for bar in self.newest.values()), default=None)

    def record(self, bars: Iterable[Bar]) -> None:
        """Add minutes that were stored."""
        for bar in bars:
            newest = self.newest.get(bar.symbol)
            if newest is None or (bar.open_time, bar.revision) >= (newest.open_time, newest.revision):
                self.newest[bar.symbol] = bar
            self.first[bar.symbol] = min(self.first.get(bar.symbol, bar.open_time), bar.open_time)
