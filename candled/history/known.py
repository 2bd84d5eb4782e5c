"""What the open history knows without asking a file."""

from collections.abc import Iterable

import attrs
import pyarrow as pa

from candled.domain.bar import Bar


@attrs.define
class Known:
    """Where each symbol's bars begin and end, and the rows that only the journal has."""

    newest: dict[str, Bar]
    """Each symbol's newest minute."""
    first: dict[str, int]
    """A time at or before each symbol's oldest minute, not earlier than that one's day."""
    unpublished: list[pa.Table]
    """Stored rows that are in no file yet, in the order of storing."""

    @property
    def rows_unpublished(self) -> int:
        """How many rows are in no file yet."""
        return sum(rows.num_rows for rows in self.unpublished)

    @property
    def newest_open_time(self) -> int | None:
        """Open time of the newest minute of any symbol."""
        return max((bar.open_time for bar in self.newest.values()), default=None)

    def note(self, bars: Iterable[Bar]) -> None:
        """These minutes are stored."""
        for bar in bars:
            known = self.newest.get(bar.symbol)
            if known is None or (bar.open_time, bar.revision) >= (known.open_time, known.revision):
                self.newest[bar.symbol] = bar
            self.first[bar.symbol] = min(self.first.get(bar.symbol, bar.open_time), bar.open_time)
