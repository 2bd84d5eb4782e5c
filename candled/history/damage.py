"""Set damaged Parquet files aside while the history is open, and record which minutes must be fetched again.

A damaged file is noticed before it is read: by a query, by the compactor, or by the check that runs in the
background. Then, in this order:

1. The rows of a recent file that the journal still has become unpublished rows again: queries always see them.
2. Its minutes are recorded in ``lost.json``, so that a kill does not forget them.
3. The layout forgets the file, and it moves to ``set-aside``.

Until they are fetched, its minutes are a hole: longer bars over them are not complete.
"""

from collections.abc import Collection, Iterable
from functools import partial

import structlog
import trio

from candled.history.columns import cast_rows
from candled.history.directory import Directory, set_aside
from candled.history.durable_io import Files
from candled.history.hot_index import HotIndex
from candled.history.journal import JournalDamagedError, JournalWriter
from candled.history.lost import LostMinutes, read_lost, write_lost
from candled.history.segments.layout import Layout
from candled.history.segments.names import Recent, Segment
from candled.history.segments.store import DamagedFilesError, Store
from candled.history.unpublished import UnpublishedRows

DAMAGED = "its content does not match the checksum in its name"
_log = structlog.get_logger(__name__)


class DamageControl:
    """Removes damaged files from an open history. One task at a time; others wait."""

    def __init__(
        self,
        directory: Directory,
        files: Files,
        store: Store,
        layout: Layout,
        hot_index: HotIndex,
        unpublished: UnpublishedRows,
        journal_writer: JournalWriter,
    ) -> None:
        self.lost: frozenset[LostMinutes] = frozenset(read_lost(directory.path))
        """Minutes to be fetched again."""
        self._directory = directory
        self._files = files
        self._store = store
        self._layout = layout
        self._hot_index = hot_index
        self._unpublished = unpublished
        self._journal_writer = journal_writer
        self._lock = trio.Lock()
        self._changed = trio.Event()

    def remove_at_start(self, damaged: Collection[Segment | Recent]) -> None:
        """Set aside damaged files found at the start. Blocking; call it before anything reads the files.

        Raises:
            OSError: the disk does not take it.
        """
        lost = self.lost | lost_minutes(damaged, self._layout, self._hot_index)
        if lost != self.lost:
            write_lost(self._directory.path, sorted(lost), self._files)
            self.lost = lost
        set_aside(self._directory, [self._store.path(file) for file in damaged], DAMAGED, self._files)

    async def remove(self, damaged: Iterable[Segment | Recent]) -> None:
        """Set damaged files aside; those that another task has removed meanwhile are left out.

        If the disk refuses, they are no longer read, and the next start sets them aside.
        """
        async with self._lock:
            counted = set(self._layout.files)
            files = [file for file in damaged if file in counted]
            if not files:
                return
            if any(isinstance(file, Recent) for file in files):
                await self._restore_from_journal(files)
            lost = self.lost | lost_minutes(files, self._layout, self._hot_index)
            self._layout.forget(*files)
            paths = [self._store.path(file) for file in files]
            try:
                await self._record(lost)
                await trio.to_thread.run_sync(partial(set_aside, self._directory, paths, DAMAGED, self._files))
            except OSError as error:
                _log.error("cannot set damaged files aside", files=list(map(str, paths)), reason=str(error))

    async def recovered(self, minutes: LostMinutes) -> None:
        """Remove minutes from the record after fetching them again, as far as the exchange has them.

        Raises:
            OSError: the disk does not take it.
        """
        await self._record(self.lost - {minutes})

    async def wait_lost(self) -> None:
        """Wait until there are minutes to be fetched again."""
        while not self.lost:
            await self._changed.wait()

    async def _record(self, lost: frozenset[LostMinutes]) -> None:
        if lost != self.lost:
            await trio.to_thread.run_sync(write_lost, self._directory.path, sorted(lost), self._files)
            self.lost = lost
            self._changed.set()
            self._changed = trio.Event()

    async def _restore_from_journal(self, damaged: Collection[Segment | Recent]) -> None:
        """Return rows that only the journal has to the unpublished ones."""
        try:
            journal = await self._journal_writer.read()
        except JournalDamagedError as error:
            _log.error("cannot restore bars from the journal", reason=str(error))
            return
        recents = [recent for recent in self._layout.recents if recent not in damaged]
        segments = [segment for segment in self._layout.segments if segment not in damaged]
        while True:
            try:
                rows = await trio.to_thread.run_sync(self._store.unpublished, journal, recents, segments)
                break
            except DamagedFilesError as error:  # these rows are looked up in the journal too, in their turn
                recents = [recent for recent in recents if recent not in error.files]
                segments = [segment for segment in segments if segment not in error.files]
        self._unpublished.append(cast_rows(rows))


def lost_minutes(
    damaged: Iterable[Segment | Recent], layout: Layout, hot_index: HotIndex
) -> frozenset[LostMinutes]:
    """Return the minutes that damaged files may have; for a recent file, every symbol's since its oldest."""
    lost: set[LostMinutes] = set()
    for file in damaged:
        if isinstance(file, Segment):
            if file.start != 0:  # the marker of expired bars has no rows
                lost.add(LostMinutes(file.symbol, file.start, file.end))
            continue
        for symbol, newest in hot_index.newest.items():
            sealed = [segment.end for segment in layout.segments_of(symbol)]
            start = file.oldest if file.oldest is not None else max([hot_index.first[symbol], *sealed])
            if start < newest.close_time:
                lost.add(LostMinutes(symbol, start, newest.close_time))
    return frozenset(lost)
