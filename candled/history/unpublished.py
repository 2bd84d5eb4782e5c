"""Rows that the journal has and no Parquet file has yet.

One object owns them. The rules of access:

* The journal's writer appends right after the commit, without a checkpoint between: a row is in the list as soon
  as it is durable.
* A publication holds the lock from reading the rows until they are in a file that the layout knows, and only then
  removes them: a row is in the list, in a file, or for a moment in both, never in neither.
* All others take a snapshot. One taken before the list of files, without a checkpoint between, misses no row; a
  row in both is the same revision twice, which every query deduplicates.

All of it happens in Trio's thread; the tables are immutable, and threads get snapshots.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pyarrow as pa
import trio

from candled.domain.numbers import DECIMALS
from candled.history.columns import row_schema


class UnpublishedRows:
    """Rows that no file has yet, in the order of storing."""

    def __init__(self, quote_decimals: int = DECIMALS) -> None:
        """Begin with no rows; ``quote_decimals``: of their quote volumes."""
        self._no_rows = row_schema(quote_decimals).empty_table()
        self._tables: list[pa.Table] = []
        self._publication_lock = trio.Lock()
        self._changed = trio.Event()

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return sum(rows.num_rows for rows in self._tables)

    def append(self, rows: pa.Table) -> None:
        """Add rows that have just become durable in the journal."""
        if rows.num_rows:
            self._tables.append(rows)
            self._notify()

    def tables(self) -> list[pa.Table]:
        """Return a snapshot: the tables as they were appended."""
        return list(self._tables)

    def rows(self) -> pa.Table:
        """Return a snapshot: every row."""
        return pa.concat_tables([self._no_rows, *self._tables])

    @asynccontextmanager
    async def publication(self) -> AsyncIterator[pa.Table]:
        """Yield every row for writing to a file; leaving without an error removes them. One at a time."""
        async with self._publication_lock:
            tables = self.tables()
            yield pa.concat_tables([self._no_rows, *tables])
            del self._tables[: len(tables)]
            self._notify()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition``, a function of these rows, is true."""
        while not condition():
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
