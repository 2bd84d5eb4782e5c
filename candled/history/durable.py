"""The history on disk: stores closed bars through the journal, and answers queries over every stored bar.

The order of events for a closed bar:

1. ``store`` commits it to the journal (durable), then it is an unpublished row and in the hot index, and every
   query sees it; ``stored_position`` rises.
2. ``publish`` writes the unpublished rows into a recent Parquet file, for readers outside this process.
3. The compactor folds recent files into sealed segments a day later, joins segments, and deletes superseded files
   one grace period later; sealed rows then leave the journal.

Invariants: a row is durable before it is visible; it is visible at every moment from then on; a file is never
changed in place. A kill may interrupt every step; failed steps are retried.
"""

import random
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
import structlog
import trio

from candled.domain.bar import Bar
from candled.domain.event import POSITION_BITS, BarEvent, BarEventKind
from candled.domain.interval import ONE_MINUTE
from candled.domain.status import Gap, GapState
from candled.history.columns import rows_from_events
from candled.history.damage import DamageControl
from candled.history.directory import Directory, bind_to_exchange
from candled.history.durable_io import Files
from candled.history.errors import not_writable
from candled.history.hot_index import HotIndex
from candled.history.journal import JournalWriter
from candled.history.lost import LostMinutes
from candled.history.query.queries import BarQueries
from candled.history.retries import DISK_ERRORS, Retries, first_line
from candled.history.segments.layout import Layout
from candled.history.segments.maintenance import Compactor
from candled.history.segments.names import Recent, Segment
from candled.history.segments.store import DamagedFilesError, Store
from candled.history.settings import HistorySettings
from candled.history.statistics import HistoryStatistics
from candled.history.unfillable import Unfillable, read_unfillable, write_unfillable
from candled.history.unpublished import UnpublishedRows

_log = structlog.get_logger(__name__)

_BULK_ROWS: Final = 100_000
_UNFILLABLE_MAX: Final = 10_000
"""Maximum number of ranges recorded; the newest ones stay."""
_CHECK_SECONDS: Final = 86_400.0
"""Seconds between two checks of all files."""
_LAST_WRITES: Final = 5.0
"""Seconds that a stopping history takes to store queued events."""


class DurableHistory:
    """A history on disk: a ``BarReader`` and a ``BarWriter``, see ``candled.domain.storage``."""

    def __init__(
        self,
        *,
        directory: Directory,
        files: Files,
        settings: HistorySettings,
        store: Store,
        layout: Layout,
        hot_index: HotIndex,
        unpublished: UnpublishedRows,
        journal_writer: JournalWriter,
        damage: DamageControl,
        queries: BarQueries,
        rng: random.Random,
    ) -> None:
        self.epoch = directory.epoch
        self._directory = directory
        self._files = files
        self._settings = settings
        self._store = store
        self._layout = layout
        self._hot_index = hot_index
        self._unpublished = unpublished
        self._journal_writer = journal_writer
        self._damage = damage
        self._queries = queries
        self._compactor = Compactor(layout, store, hot_index, journal_writer)
        self._retries = Retries(settings.retry_delay_max, rng)
        self._stored_position = directory.epoch << POSITION_BITS
        self._published = trio.Event()
        self._changed = trio.Event()
        self._is_bound = trio.Event()
        self._note_bound()
        self._rows_stored = self._publications = 0
        self._unfillable: dict[Unfillable, None] = dict.fromkeys(read_unfillable(directory.path))

    @property
    def history_id(self) -> str:
        """See ``StoredPosition``."""
        return self._directory.history_id

    @property
    def stored_position(self) -> int:
        """See ``StoredPosition``."""
        return self._stored_position

    @property
    def exchange(self) -> str:
        """Identity of the exchange whose bars are stored; empty if none is recorded yet."""
        return self._directory.exchange

    async def wait_bound(self) -> None:
        """Wait until it is recorded which exchange's bars are stored."""
        await self._is_bound.wait()

    @property
    def live_files(self) -> list[Segment | Recent]:
        """Every file that no other one supersedes."""
        return self._layout.files

    def path(self, file: Segment | Recent) -> Path:
        """Return the path of a file."""
        return self._store.path(file)

    def next_change(self) -> trio.Event:
        """Return what is set once the live files are others."""
        return self._changed

    async def remove_damaged(self, file: Segment | Recent) -> None:
        """Set aside a file that was found to be damaged; its minutes are fetched again."""
        await self._damage.remove([file])

    def bind(self, exchange: str) -> None:
        """Check that the directory holds this exchange's bars; record the exchange if none is recorded.

        Raises:
            DataDirectoryError: another exchange's bars are kept here, or the directory cannot be written to.
        """
        try:
            self._directory = bind_to_exchange(self._directory, exchange, self._files)
        except OSError as error:
            raise not_writable(self._directory.path, error) from error
        self._note_bound()

    def _note_bound(self) -> None:
        if self._directory.exchange:
            self._is_bound.set()

    async def store(self, events: Sequence[BarEvent]) -> None:
        """See ``BarWriter``. Writes are retried until the disk accepts them.

        Raises:
            ValueError: a bar is not closed, or does not fit the columns.
        """
        minutes = [event for event in events if event.bar.interval == ONE_MINUTE.name]
        for event in minutes:
            if not event.bar.closed or event.kind is BarEventKind.UPDATE:
                raise ValueError(f"only closed bars are stored, not {event}")
        if minutes:
            await self._store_minutes(minutes)
        self._stored_position = max([self._stored_position, *(event.position for event in events)])

    async def _store_minutes(self, minutes: Sequence[BarEvent]) -> None:
        rows = rows_from_events(minutes)
        await self._unpublished.wait_until(
            lambda: self._unpublished.row_count <= self._settings.unpublished_rows_max
        )
        await self._retries.until_done("store bars", lambda: self._journal_writer.append(rows))
        self._hot_index.record(event.bar for event in minutes)
        self._rows_stored += len(minutes)

    @property
    def unfillable(self) -> tuple[Unfillable, ...]:
        """Which trades the exchange does not have, or sources contradict each other about; oldest record first."""
        return tuple(self._unfillable)

    async def disputed(self, symbol: str) -> list[Gap]:
        """See ``BarSource``."""
        await trio.lowlevel.checkpoint()
        return [
            Gap(each.first_id, each.last_id, GapState.UNFILLABLE, each.reason, is_disputed=True)
            for each in self._unfillable
            if each.is_disputed and each.symbol == symbol
        ]

    async def record_unfillable(self, ranges: Collection[Unfillable]) -> None:
        """Record for good which trades the exchange does not have, and why; earlier records stay.

        Writes are retried until the disk accepts them.
        """
        if all(each in self._unfillable for each in ranges):
            return
        self._unfillable |= dict.fromkeys(ranges)
        kept = list(self._unfillable)[-_UNFILLABLE_MAX:]
        self._unfillable = dict.fromkeys(kept)

        async def write() -> None:
            await trio.to_thread.run_sync(write_unfillable, self._directory.path, kept, self._files)

        await self._retries.until_done("record what is unfillable", write)

    async def add(self, bars: Sequence[Bar]) -> None:
        """Store many 1-minute bars at once without the journal: published and durable when this returns.

        For imports; their positions are this opening's, so no daemon may number bars of the same opening.

        Raises:
            OSError, duckdb.Error, pyarrow.ArrowException: a write failed; some bars may be stored.
        """
        for start in range(0, len(bars), _BULK_ROWS):
            part = bars[start : start + _BULK_ROWS]
            first = self._stored_position + 1
            rows = rows_from_events(
                [
                    BarEvent(BarEventKind.CLOSE, bar, bar.close_time, first + index)
                    for index, bar in enumerate(part)
                ]
            )
            async with self._unpublished.publication() as waiting:
                await self._publish(pa.concat_tables([waiting, rows]))
            self._stored_position = first + len(part) - 1
            self._hot_index.record(part)

    async def publish(self) -> None:
        """Write stored and unpublished rows into a recent file, without retries.

        Raises:
            OSError, duckdb.Error, pyarrow.ArrowException: a write failed.
        """
        async with self._unpublished.publication() as rows:
            if rows.num_rows:
                await self._publish(rows)
                self._publications += 1

    async def _publish(self, rows: pa.Table) -> None:
        recent = await trio.to_thread.run_sync(self._store.publish, self._layout.publication(), rows)
        self._layout.add(trio.current_time(), recent)
        self._published.set()
        self._published = trio.Event()
        self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def keep(self) -> bool:
        """Carry out one maintenance step; return False if there is nothing to do now.

        Raises:
            OSError, duckdb.Error, pyarrow.ArrowException: a write failed.
        """
        try:
            changed = await self._compactor.step()
        except DamagedFilesError as error:
            await self._damage.remove(error.files)
            changed = True
        if changed:
            self._note_change()
        return changed

    @property
    def lost(self) -> frozenset[LostMinutes]:
        """Minutes whose file was damaged and set aside, to be fetched again."""
        return self._damage.lost

    async def wait_lost(self) -> None:
        """Wait until there are minutes to be fetched again."""
        await self._damage.wait_lost()

    async def recovered(self, minutes: LostMinutes) -> None:
        """Note that lost minutes were fetched again, as far as the exchange has them."""
        await self._retries.until_done("record recovered bars", lambda: self._damage.recovered(minutes))

    async def serve(
        self,
        receive_channel: "trio.MemoryReceiveChannel[list[BarEvent]]",
        *,
        stored: Callable[[int], None] | None = None,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Store events from the channel until it is closed, and maintain the files meanwhile.

        When cancelled, it stores events that are in the channel before it ends.

        Args:
            receive_channel: Closed bars.
            stored: Called with the position up to which everything is durable, each time it rises.
            task_status: Started once events are read from the channel.
        """
        async with receive_channel, trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_publishing)
            nursery.start_soon(self._keep_files)
            nursery.start_soon(self._check_files)
            task_status.started()
            try:
                async for batch in receive_channel:
                    await self.store(batch + _waiting(receive_channel))
                    if stored is not None:
                        stored(self._stored_position)
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _LAST_WRITES):
                    await self.store(_waiting(receive_channel))
                    await self._publish_last()
                nursery.cancel_scope.cancel()

    async def _keep_publishing(self) -> None:
        while True:
            await self._unpublished.wait_until(lambda: self._unpublished.row_count > 0)
            await trio.sleep(self._settings.publish_delay)
            await self._retries.until_done("publish bars", self.publish)

    async def _keep_files(self) -> None:
        while True:
            published = self._published
            while await self._retries.until_done("keep its files in order", self.keep):
                pass
            await self._compactor.measure()
            with trio.move_on_at(self._layout.wake_time()):
                await published.wait()

    async def _check_files(self) -> None:
        """Verify every file periodically, so that damage is found before the bars are needed."""
        while True:
            for file in self._layout.files:
                started = trio.current_time()
                damaged = await trio.to_thread.run_sync(partial(self._store.find_damaged, [file], again=True))
                await self._damage.remove(damaged)
                # Pause for as long as the read took: at most half of one core and of the disk.
                await trio.sleep(trio.current_time() - started)
            await trio.sleep(_CHECK_SECONDS)

    async def _publish_last(self) -> None:
        try:
            await self.publish()
        except DISK_ERRORS as error:  # the journal has these bars; the next start publishes them
            _log.warning("bars not published", reason=first_line(error))

    async def newest_bars(self) -> dict[str, Bar]:
        """See ``BarReader``."""
        await trio.lowlevel.checkpoint()
        return dict(self._hot_index.newest)

    async def symbols(self) -> list[str]:
        """See ``BarReader``."""
        await trio.lowlevel.checkpoint()
        return sorted(self._hot_index.newest)

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``BarReader``. Raises ``ValueError`` for an unknown interval."""
        return await self._queries.bars(symbol, interval, start, end, limit)

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """See ``BarReader``. Raises ``ValueError`` for an unknown interval."""
        return await self._queries.changed_since(position, symbols, intervals, limit)

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """See ``BarReader``."""
        return await self._queries.incomplete_bars(symbol, since, limit)

    def not_ready_reason(self) -> str | None:
        """Return a sentence why storing fails now; None if it works."""
        return self._retries.problem

    def statistics(self) -> HistoryStatistics:
        """Return the figures of this moment."""
        return HistoryStatistics(
            rows_stored=self._rows_stored,
            commits=self._journal_writer.commits,
            rows_unpublished=self._unpublished.row_count,
            journal_rows=self._journal_writer.row_count,
            journal_bytes=self._journal_writer.bytes,
            recent_files=len(self._layout.recents),
            sealed_files=len(self._layout.segments),
            superseded_files=len(self._layout.superseded),
            recent_bytes=self._compactor.recent_bytes,
            sealed_bytes=self._compactor.sealed_bytes,
            superseded_bytes=self._compactor.superseded_bytes,
            publications=self._publications,
            write_errors=self._retries.errors,
            last_error=self._retries.last_error,
        )


def _waiting(receive_channel: "trio.MemoryReceiveChannel[list[BarEvent]]") -> list[BarEvent]:
    """Drain the channel without waiting for more."""
    events: list[BarEvent] = []
    while True:
        try:
            events += receive_channel.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return events
