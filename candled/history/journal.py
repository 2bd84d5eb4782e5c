"""The journal: a DuckDB file private to this process, to which closed bars are appended and synced.

State: one table without index, key or update, because the losses seen in DuckDB under a hard kill
need one of those. Rows are in the order of appending.

Invariants:

* ``append`` returns only after the commit and its fsync; one that raises has stored nothing. A kill may
  come between commit and acknowledgement, so storing a row again must change nothing.
* Nothing is checkpointed while the daemon runs, since a checkpoint on a full disk makes the database unusable. A
  fresh journal replaces it once rows are sealed. The two renames are ordered so that a kill leaves the old or
  the fresh one, never a mixture: ``finish_replacement``.
* A journal that does not open or read is set aside, never deleted, and a fresh one starts with the rows that no
  other file has.

``JournalFile`` is the blocking file; the daemon uses it through ``JournalWriter``, one writer at a time.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import trio

from candled.domain.numbers import DECIMALS
from candled.history.columns import cast_rows, row_schema
from candled.history.database import NO_EXTENSIONS
from candled.history.directory import Directory, set_aside
from candled.history.durable_io import Files
from candled.history.errors import DataDirectoryError
from candled.history.unpublished import UnpublishedRows
from candled.telemetry.histogram import Histogram

NEXT: Final = ".next"
OLD: Final = ".old"
WAL: Final = ".wal"

_TYPES: Final = {"large_string": "VARCHAR", "string": "VARCHAR", "int64": "BIGINT", "bool": "BOOLEAN"}
_NO_LOCK = "Could not set lock"
_HELD = "Conflicting lock"
_NOT_DAMAGE = ("No space left", "Permission denied", "Read-only file system", "Too many open files")


class JournalDamagedError(Exception):
    """The journal does not open or does not read."""


class JournalFile:
    """The open journal. Blocking: one thread at a time may use it."""

    def __init__(self, path: Path, files: Files, quote_decimals: int = DECIMALS) -> None:
        self._path = path
        self._files = files
        self._quote_decimals = quote_decimals
        self._connection = _open(path, quote_decimals)

    def append(self, rows: pa.Table) -> None:
        """Add rows, all or none: durable when this returns.

        Raises:
            duckdb.Error: a write failed; no row is stored.
        """
        # DuckDB finds the table by its name in this scope: to register it would cost as much as the insert.
        self._connection.execute("INSERT INTO bars FROM rows")

    def rows(self, since: int | None = None) -> pa.Table:
        """Return every row in the order of appending.

        Args:
            since: only rows with this open time or a later one, microseconds.

        Raises:
            JournalDamagedError: it cannot be read.
        """
        where = "" if since is None else f"WHERE epoch_us(open_time) >= {since}"
        try:
            return cast_rows(self._connection.sql(f"FROM bars {where}").to_arrow_table())
        except (duckdb.Error, pa.ArrowException) as error:
            raise JournalDamagedError(str(error)) from error

    def count(self) -> int:
        """Return the number of rows."""
        [(count,)] = self._connection.execute("SELECT count(*) FROM bars").fetchall()
        return int(count)

    def bytes(self) -> int:
        """Return its size on disk, bytes."""
        return sum(path.stat().st_size for path in journal_files(self._path))

    def reopen(self) -> None:
        """Reopen the connection, which an error may have made unusable."""
        self.close()
        self._connection = _open(self._path, self._quote_decimals)

    def replace(self, rows: pa.Table) -> None:
        """Replace the journal by a fresh one that holds only ``rows``.

        After a kill at any point the next start finds the old journal or the fresh one.

        Raises:
            OSError, duckdb.Error: a write failed; the old journal is still in use.
        """
        fresh = _beside(self._path, NEXT)
        self._files.remove([fresh, _beside(fresh, WAL)])
        try:
            connection = _open(fresh, self._quote_decimals)
            try:
                connection.register("kept", rows)
                connection.execute("INSERT INTO bars SELECT * FROM kept")
                connection.unregister("kept")
                connection.execute("CHECKPOINT")
            finally:
                connection.close()
            self._files.sync(fresh)
        except (OSError, duckdb.Error):
            self._files.remove([fresh, _beside(fresh, WAL)])
            raise
        self.close()
        try:
            self._files.rename(self._path, _beside(self._path, OLD))
            finish_replacement(self._path, self._files)
        finally:
            self._connection = _open(self._path, self._quote_decimals)

    def close(self) -> None:
        """Close it; never raises because of committed data."""
        self._connection.close()


class JournalWriter:
    """The open journal as the daemon uses it: one writer at a time, repaired after errors."""

    def __init__(
        self, directory: Directory, files: Files, unpublished: UnpublishedRows, quote_decimals: int = DECIMALS
    ) -> None:
        """Open the journal of a data directory.

        Args:
            directory: The data directory, held by this process.
            files: File operations.
            unpublished: Receives every appended row.
            quote_decimals: Decimals of quote volumes, for a new journal.
        """
        self._directory = directory
        self._files = files
        self._unpublished = unpublished
        self._quote_decimals = quote_decimals
        self._lock = trio.Lock()
        self.commits = Histogram()
        """Seconds that each commit took."""
        try:
            self._journal = open_journal(directory.journal, files, quote_decimals)
        except JournalDamagedError as error:
            self._journal = self._start_fresh(error)
        self.row_count = self._journal.count()

    @property
    def bytes(self) -> int:
        """Its size on disk, bytes."""
        return self._journal.bytes()

    def close(self) -> None:
        """Close it; never raises because of committed data."""
        self._journal.close()

    def rows(self) -> pa.Table:
        """Return every row in the order of appending; only before the first ``append``."""
        return self._journal.rows()

    async def read(self) -> pa.Table:
        """Return every row in the order of appending.

        Raises:
            JournalDamagedError: it cannot be read.
        """
        async with self._lock:
            return await trio.to_thread.run_sync(self._journal.rows)

    async def append(self, rows: pa.Table) -> None:
        """Add rows, all or none: durable and in the unpublished rows when this returns.

        Raises:
            duckdb.Error: a write failed; no row is stored.
        """
        async with self._lock:
            started = trio.current_time()
            try:
                await trio.to_thread.run_sync(self._journal.append, rows)
            except duckdb.Error:
                await trio.to_thread.run_sync(self._reopen, self._unpublished.tables())
                raise
            self.commits.observe(trio.current_time() - started)
            self.row_count += rows.num_rows
            self._unpublished.append(rows)

    async def drop_sealed(self, boundary: int) -> None:
        """Replace the journal by one without the rows that are sealed.

        Args:
            boundary: Rows older than this open time, microseconds, are sealed, except those in no file yet.

        Raises:
            OSError, duckdb.Error: a write failed; the old journal stays in use.
        """
        async with self._lock:
            unpublished = self._unpublished.tables()

            def replace() -> int:
                late = [
                    rows.filter(pc.less(rows.column("open_time").cast(pa.int64()), boundary))
                    for rows in unpublished
                ]
                kept = pa.concat_tables([self._journal.rows(boundary), *late])
                self._journal.replace(kept)
                return len(kept)

            self.row_count = await trio.to_thread.run_sync(replace)

    def _reopen(self, unpublished: Iterable[pa.Table]) -> None:
        """Reopen the connection after an error may have made it unusable; the journal has what was committed."""
        try:
            self._journal.reopen()
        except JournalDamagedError as error:
            self._journal = self._start_fresh(error)
            for rows in unpublished:
                self._journal.append(rows)
            self.row_count = self._journal.count()

    def _start_fresh(self, error: JournalDamagedError) -> JournalFile:
        reason = f"the journal is damaged ({error})"
        set_aside(self._directory, journal_files(self._directory.journal), reason, self._files)
        try:
            return open_journal(self._directory.journal, self._files, self._quote_decimals)
        except JournalDamagedError as again:
            raise DataDirectoryError(
                f"Cannot make {self._directory.journal}: {_first_line(str(again))}."
            ) from again


def open_journal(path: Path, files: Files, quote_decimals: int = DECIMALS) -> JournalFile:
    """Open or create the journal, and read it completely; ``quote_decimals``: for a new one.

    Raises:
        JournalDamagedError: it does not open, or is not completely readable.
        DataDirectoryError: another program has it open, or the disk refuses.
    """
    finish_replacement(path, files)
    journal = JournalFile(path, files, quote_decimals)
    try:
        journal.rows()
    except JournalDamagedError:
        journal.close()
        raise
    return journal


def journal_files(path: Path) -> list[Path]:
    """Return the existing files of the journal at ``path``: the database and its log."""
    return [file for file in (path, _beside(path, WAL)) if file.exists()]


def finish_replacement(path: Path, files: Files) -> None:
    """Finish or undo an interrupted replacement: the first rename decides which.

    The old log must be gone before the fresh file takes the name, or DuckDB would replay it into the fresh file.
    """
    fresh, old = _beside(path, NEXT), _beside(path, OLD)
    if old.exists() and not path.exists() and fresh.exists():
        if _beside(path, WAL).exists():
            files.rename(_beside(path, WAL), _beside(old, WAL))
        files.rename(fresh, path)
        files.sync_folder(path.parent)
    leftovers = [fresh, _beside(fresh, WAL), old, _beside(old, WAL)]
    files.remove(leftover for leftover in leftovers if path.exists() and leftover.exists())


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _open(path: Path, quote_decimals: int) -> duckdb.DuckDBPyConnection:
    try:
        connection = duckdb.connect(
            str(path), config={**NO_EXTENSIONS, "threads": "1", "memory_limit": "256MB", "temp_directory": ""}
        )
        connection.execute(
            "SET TimeZone = 'UTC'; SET wal_autocheckpoint = '1TB'; PRAGMA disable_checkpoint_on_shutdown"
        )
        connection.execute(f"CREATE TABLE IF NOT EXISTS bars ({_columns(quote_decimals)})")
    except duckdb.Error as error:
        text = str(error)
        if _NO_LOCK in text and _HELD not in text:
            raise DataDirectoryError(
                f"File {path} is on a volume that gives no file locks: use one that has them; {_first_line(text)}."
            ) from error
        if _HELD in text:
            raise DataDirectoryError(
                f"File {path} is open in another program: close it there; {_first_line(text)}."
            ) from error
        if any(reason in text for reason in _NOT_DAMAGE):
            raise DataDirectoryError(f"Cannot use {path}: {_first_line(text)}.") from error
        raise JournalDamagedError(_first_line(text)) from error
    return connection


def _columns(quote_decimals: int) -> str:
    return ", ".join(f"{field.name} {_sql_type(field.type)}" for field in row_schema(quote_decimals))


def _sql_type(column: pa.DataType) -> str:
    if pa.types.is_decimal(column):
        return f"DECIMAL({column.precision}, {column.scale})"
    if pa.types.is_timestamp(column):
        return "TIMESTAMPTZ"
    return _TYPES[str(column)]


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].rstrip(".") if text.strip() else "no reason given"
