"""The journal: one DuckDB file of this process alone, to which closed bars are appended and synced.

One table without index, key or update: what DuckDB has been seen to lose under a hard kill needs one of those.
Nothing is ever checkpointed while the daemon runs, since a checkpoint on a full disk makes the database unusable;
instead a fresh journal takes over once rows are sealed.
"""

from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from candled.history.columns import ROW_SCHEMA
from candled.history.errors import DataDirectoryError
from candled.history.files import Files
from candled.history.reader import NO_EXTENSIONS

NEXT: Final = ".next"
OLD: Final = ".old"
WAL: Final = ".wal"

_TYPES: Final = {"large_string": "VARCHAR", "string": "VARCHAR", "int64": "BIGINT", "bool": "BOOLEAN"}
_HELD = ("Could not set lock", "Conflicting lock")
_NOT_DAMAGE = ("No space left", "Permission denied", "Read-only file system", "Too many open files")


class JournalDamagedError(Exception):
    """The journal does not open or does not read."""


class Journal:
    """The open journal. Blocking: one thread at a time may use it."""

    def __init__(self, path: Path, files: Files) -> None:
        self._path = path
        self._files = files
        self._connection = _open(path)

    def append(self, rows: pa.Table) -> None:
        """Add rows, all or none: durable when this returns.

        Raises:
            duckdb.Error: the disk does not take them; none is in.
        """
        # DuckDB finds the table by this method's own name for it: to register it would cost as much as the insert.
        self._connection.execute("INSERT INTO bars FROM rows")

    def rows(self, least_open_time: int | None = None) -> pa.Table:
        """Every row in the order of appending, from that open time on (microseconds) if one is given.

        Raises:
            JournalDamagedError: it cannot be read.
        """
        where = "" if least_open_time is None else f"WHERE epoch_us(open_time) >= {least_open_time}"
        try:
            return self._connection.sql(f"FROM bars {where}").to_arrow_table().cast(ROW_SCHEMA)
        except (duckdb.Error, pa.ArrowException) as error:
            raise JournalDamagedError(str(error)) from error

    def count(self) -> int:
        """How many rows it has."""
        [(count,)] = self._connection.execute("SELECT count(*) FROM bars").fetchall()
        return int(count)

    def bytes(self) -> int:
        """Its size on disk."""
        return sum(path.stat().st_size for path in journal_files(self._path))

    def reopen(self) -> None:
        """Close and open it again: what a connection needs that an error has made unusable."""
        self.close()
        self._connection = _open(self._path)

    def replace(self, rows: pa.Table) -> None:
        """Go on with a fresh journal that holds only ``rows``. Cut off anywhere, the old or the new one is found.

        Raises:
            OSError, duckdb.Error: the disk does not take it; the old one is still in use.
        """
        fresh = _beside(self._path, NEXT)
        self._files.remove([fresh, _beside(fresh, WAL)])
        try:
            connection = _open(fresh)
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
            self._connection = _open(self._path)

    def close(self) -> None:
        """Close it; never raises for what is committed already."""
        self._connection.close()


def open_journal(path: Path, files: Files) -> Journal:
    """Open the journal, or a new one, and read it through.

    Raises:
        JournalDamagedError: it does not open, or not all of it can be read.
        DataDirectoryError: another program has it open, or the disk refuses.
    """
    finish_replacement(path, files)
    journal = Journal(path, files)
    try:
        journal.rows()
    except JournalDamagedError:
        journal.close()
        raise
    return journal


def journal_files(path: Path) -> list[Path]:
    """The files of the journal at ``path`` that are there: the database and its log."""
    return [file for file in (path, _beside(path, WAL)) if file.exists()]


def finish_replacement(path: Path, files: Files) -> None:
    """Finish or undo a replacement that was cut off: the first rename decides which.

    The old log must be out of the way before the fresh file takes the name, or it would be replayed into it.
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


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        connection = duckdb.connect(
            str(path), config={**NO_EXTENSIONS, "threads": "1", "memory_limit": "256MB", "temp_directory": ""}
        )
        connection.execute(
            "SET TimeZone = 'UTC'; SET wal_autocheckpoint = '1TB'; PRAGMA disable_checkpoint_on_shutdown"
        )
        connection.execute(f"CREATE TABLE IF NOT EXISTS bars ({_columns()})")
    except duckdb.Error as error:
        text = str(error)
        if any(held in text for held in _HELD):
            raise DataDirectoryError(
                f"{path} is open in another program: close it there; {_first_line(text)}"
            ) from error
        if any(reason in text for reason in _NOT_DAMAGE):
            raise DataDirectoryError(f"cannot use {path}: {_first_line(text)}") from error
        raise JournalDamagedError(_first_line(text)) from error
    return connection


def _columns() -> str:
    return ", ".join(f"{field.name} {_sql_type(field.type)}" for field in ROW_SCHEMA)


def _sql_type(column: pa.DataType) -> str:
    if pa.types.is_decimal(column):
        return f"DECIMAL({column.precision}, {column.scale})"
    if pa.types.is_timestamp(column):
        return "TIMESTAMPTZ"
    return _TYPES[str(column)]


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"
