"""The history on disk: closed bars go in through the journal, and every stored bar comes out."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import structlog
import trio

from candled.domain.bar import Bar
from candled.domain.event import POSITION_BITS, BarEvent, BarEventKind
from candled.domain.interval import ONE_MINUTE
from candled.history import reader
from candled.history.answers import Answers
from candled.history.columns import ROW_SCHEMA, bars_from_rows, positions_from_rows, rows_from_events
from candled.history.directory import (
    Directory,
    bind_to_exchange,
    hold_directory,
    raise_epoch,
    remove_temporary,
)
from candled.history.errors import not_writable
from candled.history.files import Files
from candled.history.interface import HistoryStatistics
from candled.history.journaling import Journaling, set_aside
from candled.history.keeping import Keeping
from candled.history.known import Known
from candled.history.layout import SEQUENCES_PER_EPOCH, Layout
from candled.history.names import Recent, Segment
from candled.history.retries import DISK_ERRORS, Retries, first_line
from candled.history.settings import HistorySettings
from candled.history.store import Store
from candled.history.unfillable import Unfillable, read_unfillable, write_unfillable

_log = structlog.get_logger(__name__)

_READERS: Final = 2
_BULK_ROWS: Final = 100_000
_UNFILLABLE_MAX: Final = 10_000
"""Ranges recorded, the newest."""
_LAST_WRITES: Final = 5.0
"""Seconds that an ending history takes to store what waits."""


@asynccontextmanager
async def open_history(
    data_dir: Path, *, exchange: str, settings: HistorySettings | None = None, files: Files | None = None
) -> AsyncIterator["DurableHistory"]:
    """Open the data directory, and repair what an earlier process left unfinished or the disk has damaged.

    Args:
        data_dir: The data directory, made if it is not there.
        exchange: Identity of the exchange whose bars it holds; empty: whichever it is, see ``bind_to_exchange``.
        settings: How bars are kept.
        files: How the directory is changed; tests give one that fails.

    Raises:
        DataDirectoryError: the directory cannot be used as it is.
    """
    now = trio.current_time()
    with ExitStack() as stack:
        yield await trio.to_thread.run_sync(
            lambda: _open(
                stack, Path(data_dir).absolute(), exchange, settings or HistorySettings(), files or Files(), now
            )
        )


def _open(
    stack: ExitStack, path: Path, exchange: str, settings: HistorySettings, files: Files, now: float
) -> "DurableHistory":
    """The way of a start: hold the directory, find its files, read the journal, and see what only that one has."""
    try:
        directory = stack.enter_context(hold_directory(path, exchange=exchange, files=files))
        remove_temporary(path, files)
        database = stack.enter_context(reader.open_memory_database(threads=str(_READERS), memory_limit="512MB"))
        store = Store(directory, files, database)
        stack.callback(store.close)
        segments, recents, damaged = store.find()
        set_aside(directory, damaged, "it is damaged", files)
        journaling = Journaling(directory, files)
        stack.callback(journaling.close)
        journal = journaling.rows()
        if not directory.found_identity:
            directory = raise_epoch(directory, _epoch_after(journal, segments, recents), files)
    except OSError as error:
        raise not_writable(path, error) from error
    layout = Layout(
        epoch=directory.epoch,
        grace=settings.grace,
        seal_delay=settings.seal_delay_microseconds,
        compact_files=settings.compact_files,
        retention=settings.retention_microseconds,
        refold_delay=settings.refold_delay,
    )
    layout.add(now, *segments, *recents)
    known = _known(store, layout, journal)
    return DurableHistory(
        directory,
        files,
        settings,
        store,
        layout,
        known,
        journaling,
        Answers(database, store, layout, known, readers=_READERS),
    )


def _known(store: Store, layout: Layout, journal: pa.Table) -> Known:
    recents, segments = layout.recents, layout.segments
    # Rows out of DuckDB allow nulls everywhere: with another schema they could not be joined with new rows.
    unpublished = store.unpublished(journal, recents, segments).cast(ROW_SCHEMA)
    newest = bars_from_rows(store.newest(recents, segments, unpublished), ONE_MINUTE.name)
    return Known(
        newest={bar.symbol: bar for bar in newest},
        first=store.first(recents, segments, unpublished),
        unpublished=[unpublished] if unpublished.num_rows else [],
    )


class DurableHistory:
    """A history on disk. See ``History`` for what its methods promise."""

    def __init__(
        self,
        directory: Directory,
        files: Files,
        settings: HistorySettings,
        store: Store,
        layout: Layout,
        known: Known,
        journaling: Journaling,
        answers: Answers,
    ) -> None:
        self.epoch = directory.epoch
        self._directory = directory
        self._files = files
        self._settings = settings
        self._store = store
        self._layout = layout
        self._known = known
        self._journaling = journaling
        self._answers = answers
        self._keeping = Keeping(layout, store, known, journaling)
        self._retries = Retries(settings.retry_delay_max)
        self._stored_position = directory.epoch << POSITION_BITS
        self._publish_lock = trio.Lock()
        self._stored = trio.Event()
        self._published = trio.Event()
        self._rows_stored = self._publications = 0
        self._unfillable: dict[Unfillable, None] = dict.fromkeys(read_unfillable(directory.path))

    @property
    def stored_position(self) -> int:
        """See ``History``."""
        return self._stored_position

    def bind(self, exchange: str) -> None:
        """Go on only if this exchange's bars are kept here; the first one that is named is recorded.

        Raises:
            DataDirectoryError: another exchange's bars are kept here, or the directory cannot be written to.
        """
        try:
            self._directory = bind_to_exchange(self._directory, exchange, self._files)
        except OSError as error:
            raise not_writable(self._directory.path, error) from error

    async def store(self, events: Sequence[BarEvent]) -> None:
        """See ``History``. While the disk refuses, it is tried again until it takes them.

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
        while self._known.rows_unpublished > self._settings.unpublished_rows_max:
            await self._published.wait()
        await self._retries.until_done("store bars", lambda: self._journaling.append(rows, self._known))
        self._known.note(event.bar for event in minutes)
        self._rows_stored += len(minutes)
        self._stored.set()

    async def record_unfillable(self, ranges: Collection[Unfillable]) -> None:
        """Keep for good which trades the exchange does not have, and why; those recorded before stay.

        While the disk refuses, it is tried again until it takes them.
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
        """Store many 1-minute bars at once, past the journal: published and durable when this returns.

        For imports; their positions are this opening's, so no daemon may number bars of the same opening.

        Raises:
            OSError, duckdb.Error, pyarrow.ArrowException: the disk does not take them; a part may be in.
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
            async with self._publish_lock:
                await self._publish(rows)
            self._stored_position = first + len(part) - 1
            self._known.note(part)

    async def publish(self) -> None:
        """Put what is stored and unpublished into a recent file; tries once.

        Raises:
            OSError, duckdb.Error, pyarrow.ArrowException: the disk does not take it.
        """
        async with self._publish_lock:
            tables = list(self._known.unpublished)
            if not tables:
                return
            await self._publish(pa.concat_tables(tables))
            del self._known.unpublished[: len(tables)]
            self._publications += 1
            self._published.set()
            self._published = trio.Event()

    async def _publish(self, rows: pa.Table) -> None:
        recent = await trio.to_thread.run_sync(self._store.publish, self._layout.publication(), rows)
        self._layout.add(trio.current_time(), recent)

    async def keep(self) -> bool:
        """Carry out one step of keeping the files in order; False if there is nothing to do now.

        Raises:
            OSError, duckdb.Error, pyarrow.ArrowException: the disk does not take it, or a file is damaged.
        """
        return await self._keeping.step()

    async def serve(
        self,
        receive_channel: "trio.MemoryReceiveChannel[list[BarEvent]]",
        *,
        stored: Callable[[int], None] | None = None,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See ``History``. When cancelled, what is in the channel already is stored before this ends."""
        async with receive_channel, trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_publishing)
            nursery.start_soon(self._keep_files)
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
            if not self._known.unpublished:
                self._stored = trio.Event()
                await self._stored.wait()
            await trio.sleep(self._settings.publish_delay)
            await self._retries.until_done("publish bars", self.publish)

    async def _keep_files(self) -> None:
        while True:
            published = self._published
            while await self._retries.until_done("keep its files in order", self.keep):
                pass
            await self._keeping.measure()
            with trio.move_on_at(self._layout.wake_time()):
                await published.wait()

    async def _publish_last(self) -> None:
        try:
            await self.publish()
        except DISK_ERRORS as error:  # the journal has these bars: the next start publishes them
            _log.warning("bars_not_published", reason=first_line(error))

    async def newest_bars(self) -> dict[str, Bar]:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        return dict(self._known.newest)

    async def symbols(self) -> list[str]:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        return sorted(self._known.newest)

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``History``. Raises ``ValueError`` where there is no such interval."""
        return await self._answers.bars(symbol, interval, start, end, limit)

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """See ``History``. Raises ``ValueError`` where there is no such interval."""
        return await self._answers.changed_since(position, symbols, intervals, limit)

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """See ``History``."""
        return await self._answers.incomplete_bars(symbol, since, limit)

    def not_ready_reason(self) -> str | None:
        """See ``History``."""
        return self._retries.problem

    def statistics(self) -> HistoryStatistics:
        """See ``History``."""
        return HistoryStatistics(
            rows_stored=self._rows_stored,
            commits=self._journaling.commits,
            rows_unpublished=self._known.rows_unpublished,
            journal_rows=self._journaling.row_count,
            journal_bytes=self._journaling.bytes,
            recent_files=len(self._layout.recents),
            sealed_files=len(self._layout.segments),
            superseded_files=len(self._layout.superseded),
            recent_bytes=self._keeping.recent_bytes,
            sealed_bytes=self._keeping.sealed_bytes,
            superseded_bytes=self._keeping.superseded_bytes,
            publications=self._publications,
            write_errors=self._retries.errors,
            last_error=self._retries.last_error,
        )


def _waiting(receive_channel: "trio.MemoryReceiveChannel[list[BarEvent]]") -> list[BarEvent]:
    """Everything that is in the channel, without waiting for more."""
    events: list[BarEvent] = []
    while True:
        try:
            events += receive_channel.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return events


def _epoch_after(journal: pa.Table, segments: Iterable[Segment], recents: Iterable[Recent]) -> int:
    """An epoch that a directory without its identity file cannot have had yet."""
    positions = positions_from_rows(journal)
    sequences = [*(segment.sequence for segment in segments), *(recent.last for recent in recents)]
    return 1 + max(max(positions, default=0) >> POSITION_BITS, max(sequences, default=0) // SEQUENCES_PER_EPOCH)
