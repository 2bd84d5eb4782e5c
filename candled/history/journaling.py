"""The journal as the daemon uses it: one writer at a time, mended after errors, left behind once it is sealed."""

from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import structlog
import trio

from candled.domain.durations import Durations
from candled.history.directory import Directory
from candled.history.errors import DataDirectoryError
from candled.history.files import Files
from candled.history.journal import Journal, JournalDamagedError, journal_files, open_journal
from candled.history.known import Known

_log = structlog.get_logger(__name__)


class Journaling:
    """An open journal that outlives its own damage: what cannot be read is set aside, and a fresh one goes on."""

    def __init__(self, directory: Directory, files: Files) -> None:
        self._directory = directory
        self._files = files
        self._lock = trio.Lock()
        self.commits = Durations()
        """What each commit took."""
        try:
            self._journal = open_journal(directory.journal, files)
        except JournalDamagedError as error:
            self._journal = self._begin_again(error)
        self.row_count = self._journal.count()

    @property
    def bytes(self) -> int:
        """Its size on disk."""
        return self._journal.bytes()

    def rows(self) -> pa.Table:
        """Every row in it, in the order of appending."""
        return self._journal.rows()

    def close(self) -> None:
        """Close it; never raises for what is committed already."""
        self._journal.close()

    async def append(self, rows: pa.Table, known: Known) -> None:
        """Add rows, all or none: durable when this returns, and then they are among those that ``known`` has.

        Raises:
            duckdb.Error: the disk does not take them; none is in.
        """
        async with self._lock:
            started = trio.current_time()
            try:
                await trio.to_thread.run_sync(self._journal.append, rows)
            except duckdb.Error:
                await trio.to_thread.run_sync(self._mend, list(known.unpublished))
                raise
            self.commits.observe(trio.current_time() - started)
            self.row_count += rows.num_rows
            known.unpublished.append(rows)

    async def shorten(self, boundary: int, known: Known) -> None:
        """Leave sealed rows behind: a fresh journal takes over with those that are not older than ``boundary``.

        Raises:
            OSError, duckdb.Error: the disk does not take it; the old one goes on.
        """
        async with self._lock:
            unpublished = list(known.unpublished)

            def replace() -> int:
                late = [
                    rows.filter(pc.less(rows.column("open_time").cast(pa.int64()), boundary))
                    for rows in unpublished
                ]
                kept = pa.concat_tables([self._journal.rows(boundary), *late])
                self._journal.replace(kept)
                return len(kept)

            self.row_count = await trio.to_thread.run_sync(replace)

    def _mend(self, unpublished: Iterable[pa.Table]) -> None:
        """After an error the connection may be unusable; opened again, the journal holds what was committed."""
        try:
            self._journal.reopen()
        except JournalDamagedError as error:
            self._journal = self._begin_again(error)
            for rows in unpublished:
                self._journal.append(rows)
            self.row_count = self._journal.count()

    def _begin_again(self, error: JournalDamagedError) -> Journal:
        set_aside(
            self._directory,
            journal_files(self._directory.journal),
            f"the journal is damaged ({error})",
            self._files,
        )
        try:
            return open_journal(self._directory.journal, self._files)
        except JournalDamagedError as again:
            raise DataDirectoryError(f"cannot make {self._directory.journal}: {again}") from again


def set_aside(directory: Directory, paths: Iterable[Path], reason: str, files: Files) -> None:
    """Move files that cannot be used out of the way, and say so."""
    for path in paths:
        target = directory.set_aside(path, files)
        _log.warning("file_set_aside", file=str(path), now_at=str(target), reason=reason)
