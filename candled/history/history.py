"""The history as the daemon has it: closed bars go in through the journal, and every stored bar comes out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

import attrs
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import structlog
import trio

from candled.domain.bar import Bar
from candled.domain.durations import Durations
from candled.domain.event import POSITION_BITS, BarEvent, BarEventKind
from candled.domain.interval import MINUTE, ONE_MINUTE, parse_interval
from candled.history import query, reader
from candled.history.columns import ROW_COLUMNS, ROW_SCHEMA, bars_from_rows, positions_from_rows, rows_from_events
from candled.history.directory import (
    Directory,
    bind_to_exchange,
    hold_directory,
    raise_epoch,
    remove_temporary,
)
from candled.history.errors import DataDirectoryError
from candled.history.files import Files
from candled.history.journal import Journal, JournalDamagedError, journal_files, open_journal
from candled.history.layout import SEQUENCES_PER_EPOCH, Delete, Expire, Fold, Layout, MergeRecents, Rewrite, Step
from candled.history.names import Recent, Segment
from candled.history.settings import HistorySettings
from candled.history.store import Store
from candled.history.threads import run_query

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)

_DISK_ERRORS = (OSError, duckdb.Error, pa.ArrowException, DataDirectoryError)
"""What a disk that is full, read-only or broken raises, by way of those who write to it."""
_READERS: Final = 2
_FIRST_WINDOW: Final = 1000
_BULK_ROWS: Final = 100_000
_FIRST_RETRY: Final = 0.1
_LAST_WRITES: Final = 5.0
"""Seconds that an ending history takes to store what waits."""


_ROWS: Final = ", ".join(ROW_COLUMNS)


@attrs.frozen(slots=True, kw_only=True)
class HistoryStatistics:
    """The history at one moment."""

    rows_stored: int = 0
    """Bars and revisions stored since the opening."""
    commits: Durations = attrs.Factory(Durations)
    """What each commit to the journal took."""
    rows_unpublished: int = 0
    """Stored in the journal and not in a recent file yet."""
    journal_rows: int = 0
    journal_bytes: int = 0
    recent_files: int = 0
    sealed_files: int = 0
    superseded_files: int = 0
    recent_bytes: int = 0
    """Sizes as they were when the files were last put in order."""
    sealed_bytes: int = 0
    superseded_bytes: int = 0
    publications: int = 0
    write_errors: int = 0
    last_error: str | None = None
    """Why the disk refused the last write that failed; kept after recovery."""


class History(Protocol):
    """What the daemon needs of a history."""

    epoch: int
    """Number of this opening of the data directory, one higher each time."""

    @property
    def stored_position(self) -> int:
        """Every event up to this position is stored, and every query sees it."""

    async def store(self, events: Sequence[BarEvent]) -> None:
        """Store closed bars: durable when this returns. Events that are stored already do no harm."""

    async def serve(
        self,
        receive_channel: "trio.MemoryReceiveChannel[list[BarEvent]]",
        *,
        stored: Callable[[int], None] | None = None,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Store what comes through the channel until it is closed, and keep the files in order meanwhile.

        ``stored`` is told the position up to which everything is durable, each time that it has risen.
        """

    async def newest_bars(self) -> dict[str, Bar]:
        """The newest stored 1-minute bar of each symbol."""

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """Closed bars with ``start <= open_time < end``, newest revision, oldest first."""

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """Every bar whose newest revision has a higher position, by position."""

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """Stored 1-minute bars from ``since`` on that are not complete, oldest first."""

    async def symbols(self) -> list[str]:
        """Every symbol that has a stored bar."""

    def statistics(self) -> HistoryStatistics:
        """How the history fares."""

    def not_ready_reason(self) -> str | None:
        """Why it cannot store now, in a sentence; None if it can."""


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
    try:
        directory = stack.enter_context(hold_directory(path, exchange=exchange, files=files))
        remove_temporary(path, files)
        database = stack.enter_context(reader.open_memory_database(threads=str(_READERS), memory_limit="512MB"))
        store = Store(directory, files, database)
        stack.callback(store.close)
        history = DurableHistory(directory, store, database, settings, files, now)
        stack.callback(history.close)
    except OSError as error:
        raise DataDirectoryError(f"cannot write to {path} ({error.strerror}): make it writable") from error
    return history


class DurableHistory:
    """A history on disk. See ``History`` for what its methods promise."""

    def __init__(
        self,
        directory: Directory,
        store: Store,
        database: duckdb.DuckDBPyConnection,
        settings: HistorySettings,
        files: Files,
        now: float,
    ) -> None:
        self._directory = directory
        self._store = store
        self._settings = settings
        self._files = files
        segments, recents, damaged = store.find()
        for file in damaged:
            self._set_aside([file], "it is damaged")
        self._journal = self._open_journal()
        journal = self._journal.rows()
        if not directory.found_identity:
            self._directory = raise_epoch(directory, _epoch_after(journal, segments, recents), files)
        self.epoch = self._directory.epoch
        self._layout = Layout(
            epoch=self._directory.epoch,
            grace=settings.grace,
            seal_delay=settings.seal_delay_microseconds,
            compact_files=settings.compact_files,
            retention=settings.retention_microseconds,
            refold_delay=settings.refold_delay,
        )
        self._layout.add(now, *segments, *recents)
        # Rows out of DuckDB allow nulls everywhere: with another schema they could not be joined with new rows.
        unpublished = store.unpublished(journal, self._layout.recents, self._layout.segments).cast(ROW_SCHEMA)
        self._unpublished: list[pa.Table] = [unpublished] if unpublished.num_rows else []
        newest = store.newest(self._layout.recents, self._layout.segments, unpublished)
        self._newest = {bar.symbol: bar for bar in bars_from_rows(newest, ONE_MINUTE.name)}
        self._first = store.first(self._layout.recents, self._layout.segments, unpublished)
        self._stored_position = self._directory.epoch << POSITION_BITS
        self._journal_rows = journal.num_rows
        self._database = database
        self._reader_limit = trio.CapacityLimiter(_READERS)
        self._journal_lock = trio.Lock()
        self._keep_lock = trio.Lock()
        self._publish_lock = trio.Lock()
        self._stored = trio.Event()
        self._published = trio.Event()
        self._problems: dict[str, str] = {}
        self._last_error: str | None = None
        self._rows_stored = self._publications = self._write_errors = 0
        self._commits = Durations()
        self._file_bytes = (0, 0, 0)

    @property
    def stored_position(self) -> int:
        """See ``History``."""
        return self._stored_position

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

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
        while self._rows_unpublished() > self._settings.unpublished_rows_max:
            await self._published.wait()

        async def append() -> None:
            async with self._journal_lock:
                await self._append(rows)

        await self._retry("store bars", append)
        self._unpublished.append(rows)
        self._rows_stored += len(minutes)
        self._journal_rows += len(minutes)
        for event in minutes:
            self._note_newest(event.bar)
        self._stored.set()

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

    def bind(self, exchange: str) -> None:
        """Go on only if this exchange's bars are kept here; the first one that is named is recorded.

        Raises:
            DataDirectoryError: another exchange's bars are kept here, or the directory cannot be written to.
        """
        try:
            self._directory = bind_to_exchange(self._directory, exchange, self._files)
        except OSError as error:
            path = self._directory.path
            raise DataDirectoryError(f"cannot write to {path} ({error.strerror}): make it writable") from error

    async def newest_bars(self) -> dict[str, Bar]:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        return dict(self._newest)

    async def symbols(self) -> list[str]:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        return sorted(self._newest)

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``History``. Times in microseconds.

        Raises:
            ValueError: no such interval.
        """
        rule = parse_interval(interval)
        newest = self._newest.get(symbol)
        if newest is None or limit <= 0:
            return []
        known_until = newest.close_time
        low = rule.floor(self._first[symbol])
        if start is not None and start > low:
            low = start if rule.floor(start) == start else rule.end(rule.floor(start))
        high = known_until if end is None else min(end, known_until)
        # Windows that double, since bars may be missing: files outside a window are not opened.
        window = max(limit, _FIRST_WINDOW) * (rule.length or 31 * 1440 * MINUTE)
        found: list[Bar] = []
        while low < high and len(found) < limit:
            top = min(high, rule.end(rule.floor(low + window)))
            found += await self._window(symbol, interval, low, top, limit - len(found), known_until)
            low, window = top, window * 2
        return found

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """See ``History``. The position of a longer bar is the highest of its minutes' positions.

        Of one whose last minute is not there: at least that of the next minute.

        Raises:
            ValueError: no such interval.
        """
        rules = [parse_interval(interval) for interval in intervals]
        chosen = f"symbol IN ({', '.join(query.text(symbol) for symbol in symbols)})" if symbols else "true"
        segments = self._layout.segments
        minutes, fresh = self._minutes_sql(segments)
        changed = f"{chosen} AND position > {position}"
        found: list[tuple[int, Bar]] = []
        if ONE_MINUTE in rules:
            rows = await self._rows(f"FROM ({minutes}) WHERE {changed} ORDER BY position LIMIT {limit}", fresh)
            found += zip(positions_from_rows(rows), bars_from_rows(rows, ONE_MINUTE.name), strict=True)
        longer = [rule for rule in rules if rule is not ONE_MINUTE]
        if longer:
            first = await self._number(query.first_reached(minutes, changed), fresh)
            if first is not None:
                low = min(rule.floor(first) for rule in longer)
                within = [segment for segment in segments if segment.end > low]
                for rule in longer:
                    found += await self._longer_changed(position, chosen, low, within, rule.name, limit)
        found.sort(key=lambda item: item[0])
        return found[:limit]

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """See ``History``."""
        segments = [segment for segment in self._layout.segments_of(symbol) if segment.end > since]
        minutes, fresh = self._minutes_sql(segments)
        rows = await self._rows(
            f"FROM ({minutes}) WHERE symbol = {query.text(symbol)} AND open_time >= make_timestamptz({since}) "
            f"AND NOT complete ORDER BY open_time LIMIT {limit}",
            fresh,
        )
        return bars_from_rows(rows, ONE_MINUTE.name)

    def statistics(self) -> HistoryStatistics:
        """See ``History``."""
        return HistoryStatistics(
            rows_stored=self._rows_stored,
            commits=self._commits,
            rows_unpublished=self._rows_unpublished(),
            journal_rows=self._journal_rows,
            journal_bytes=self._journal.bytes(),
            recent_files=len(self._layout.recents),
            sealed_files=len(self._layout.segments),
            superseded_files=len(self._layout.superseded),
            recent_bytes=self._file_bytes[0],
            sealed_bytes=self._file_bytes[1],
            superseded_bytes=self._file_bytes[2],
            publications=self._publications,
            write_errors=self._write_errors,
            last_error=self._last_error,
        )

    def not_ready_reason(self) -> str | None:
        """See ``History``."""
        return next(iter(self._problems.values()), None)

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
                recent = await trio.to_thread.run_sync(self._store.publish, self._layout.publication(), rows)
                self._layout.add(trio.current_time(), recent)
            self._stored_position = first + len(part) - 1
            for bar in part:
                self._note_newest(bar)

    async def publish(self) -> None:
        """Put what is stored and unpublished into a recent file; tries once.

        Raises:
            OSError, duckdb.Error, pyarrow.ArrowException: the disk does not take it.
        """
        async with self._publish_lock:
            tables = list(self._unpublished)
            if not tables:
                return
            rows = pa.concat_tables(tables)
            recent = await trio.to_thread.run_sync(self._store.publish, self._layout.publication(), rows)
            self._layout.add(trio.current_time(), recent)
            del self._unpublished[: len(tables)]
            self._publications += 1
            self._published.set()
            self._published = trio.Event()

    async def keep(self) -> bool:
        """Carry out one step of keeping the files in order; False if there is nothing to do now.

        Raises:
            OSError, duckdb.Error, pyarrow.ArrowException: the disk does not take it, or a file is damaged.
        """
        async with self._keep_lock:
            step = self._layout.next_step(trio.current_time(), self._newest_open_time())
            if step is None:
                return False
            await self._carry_out(step)
        return True

    async def _carry_out(self, step: Step) -> None:
        layout, store = self._layout, self._store
        match step:
            case Delete():
                await trio.to_thread.run_sync(store.delete, step.segments, step.recents)
            case MergeRecents():
                layout.add(trio.current_time(), await trio.to_thread.run_sync(store.merge, step))
                if step.drop_before is not None:
                    await self._shorten_journal(step.drop_before)
            case Fold():
                await self._fold(step)
            case Rewrite():
                await trio.to_thread.run_sync(store.rewrite, step)
                layout.add(trio.current_time(), step.output)
            case Expire():
                await trio.to_thread.run_sync(store.expire, step)
                layout.add(trio.current_time(), step.output)
        layout.done(step, trio.current_time())

    async def _fold(self, step: Fold) -> None:
        layout, store = self._layout, self._store
        days_by_symbol = await trio.to_thread.run_sync(
            store.days_to_fold, step.boundary, step.recents, layout.segments
        )
        for symbol, days in days_by_symbol.items():
            for target, inputs in layout.targets(symbol, days, step.boundary):
                await trio.to_thread.run_sync(store.fold, target, inputs, step.recents)
                layout.add(trio.current_time(), target)

    async def _shorten_journal(self, boundary: int) -> None:
        """Leave sealed rows behind: a fresh journal takes over with those that are not."""
        async with self._journal_lock:
            unpublished = list(self._unpublished)

            def replace() -> int:
                late = [
                    rows.filter(pc.less(rows.column("open_time").cast(pa.int64()), boundary))
                    for rows in unpublished
                ]
                kept = pa.concat_tables([self._journal.rows(boundary), *late])
                self._journal.replace(kept)
                return len(kept)

            self._journal_rows = await trio.to_thread.run_sync(replace)

    async def _keep_publishing(self) -> None:
        while True:
            if not self._unpublished:
                self._stored = trio.Event()
                await self._stored.wait()
            await trio.sleep(self._settings.publish_delay)
            await self._retry("publish bars", self.publish)

    async def _keep_files(self) -> None:
        while True:
            published = self._published
            while await self._retry("keep its files in order", self.keep):
                pass
            await self._measure_files()
            with trio.move_on_at(self._layout.wake_time()):
                await published.wait()

    async def _measure_files(self) -> None:
        kinds = (self._layout.recents, self._layout.segments, self._layout.superseded)
        recent, sealed, superseded = await trio.to_thread.run_sync(
            lambda: [self._store.bytes(files) for files in kinds]
        )
        self._file_bytes = (recent, sealed, superseded)

    async def _publish_last(self) -> None:
        try:
            await self.publish()
        except _DISK_ERRORS as error:  # the journal has these bars: the next start publishes them
            _log.warning("bars_not_published", reason=_sentence(error))

    async def _append(self, rows: pa.Table) -> None:
        started = trio.current_time()
        try:
            await trio.to_thread.run_sync(self._journal.append, rows)
        except duckdb.Error:
            await trio.to_thread.run_sync(self._mend_journal)
            raise
        self._commits.observe(trio.current_time() - started)

    def _mend_journal(self) -> None:
        """After an error the connection may be unusable; opened again, the journal holds what was committed."""
        try:
            self._journal.reopen()
        except JournalDamagedError as error:
            self._set_aside_journal(error)
            self._journal = open_journal(self._directory.journal, self._files)
            for rows in self._unpublished:
                self._journal.append(rows)

    async def _retry(self, what: str, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do ``work`` until the disk takes it, with growing pauses; meanwhile ``not_ready_reason`` says why."""
        delay = _FIRST_RETRY
        while True:
            try:
                result = await work()
            except _DISK_ERRORS as error:
                self._write_errors += 1
                self._last_error = _sentence(error)
                self._problems[what] = f"the history cannot {what}: {self._last_error}"
                _log.error("history_write_failed", what=what, reason=self._last_error, retry_seconds=delay)
            else:
                self._problems.pop(what, None)
                return result
            await trio.sleep(delay)
            delay = min(delay * 2, self._settings.retry_delay_max)

    def _open_journal(self) -> Journal:
        try:
            return open_journal(self._directory.journal, self._files)
        except JournalDamagedError as error:
            self._set_aside_journal(error)
            try:
                return open_journal(self._directory.journal, self._files)
            except JournalDamagedError as again:
                raise DataDirectoryError(f"cannot make {self._directory.journal}: {again}") from again

    def _set_aside_journal(self, error: JournalDamagedError) -> None:
        self._set_aside(journal_files(self._directory.journal), f"the journal is damaged ({error})")

    def _set_aside(self, paths: Iterable[Path], reason: str) -> None:
        for path in paths:
            target = self._directory.set_aside(path, self._files)
            _log.warning("file_set_aside", file=str(path), now_at=str(target), reason=reason)

    def _note_newest(self, bar: Bar) -> None:
        known = self._newest.get(bar.symbol)
        if known is None or (bar.open_time, bar.revision) >= (known.open_time, known.revision):
            self._newest[bar.symbol] = bar
        self._first[bar.symbol] = min(self._first.get(bar.symbol, bar.open_time), bar.open_time)

    def _newest_open_time(self) -> int | None:
        return max((bar.open_time for bar in self._newest.values()), default=None)

    def _rows_unpublished(self) -> int:
        return sum(rows.num_rows for rows in self._unpublished)

    async def _window(
        self, symbol: str, interval: str, low: int, high: int, limit: int, known_until: int
    ) -> list[Bar]:
        overlapping = [s for s in self._layout.segments_of(symbol) if s.start < high and low < s.end]
        minutes, fresh = self._minutes_sql(overlapping)
        rows = (
            f"FROM ({minutes}) WHERE symbol = {query.text(symbol)} "
            f"AND open_time >= make_timestamptz({low}) AND open_time < make_timestamptz({high})"
        )
        if interval != ONE_MINUTE.name:
            newest = f"SELECT {query.text(symbol)} AS symbol, make_timestamptz({known_until}) AS known_until"
            rows = query.longer_bars(rows, newest, [parse_interval(interval)])
        table = await self._rows(f"SELECT {_ROWS} FROM ({rows}) ORDER BY open_time LIMIT {limit}", fresh)
        return bars_from_rows(table, interval)

    async def _longer_changed(
        self, position: int, chosen: str, low: int, segments: Sequence[Segment], interval: str, limit: int
    ) -> list[tuple[int, Bar]]:
        minutes, fresh = self._minutes_sql(segments)
        known = ", ".join(
            f"({query.text(bar.symbol)}, make_timestamptz({bar.close_time}))" for bar in self._newest.values()
        )
        rows = query.longer_bars(
            query.closing_positions(f"FROM ({minutes}) WHERE {chosen} AND open_time >= make_timestamptz({low})"),
            f"FROM (VALUES {known}) newest(symbol, known_until)",
            [parse_interval(interval)],
        )
        table = await self._rows(
            f"SELECT {_ROWS} FROM ({rows}) WHERE position > {position} ORDER BY position LIMIT {limit}",
            fresh,
        )
        return list(zip(positions_from_rows(table), bars_from_rows(table, interval), strict=True))

    def _minutes_sql(self, segments: Sequence[Segment]) -> tuple[str, pa.Table]:
        """Query for the newest revision of each minute in these segments, recent files and what is not published.

        What is not published goes with it as the table ``fresh``. It is taken before the list of recent files,
        with no pause between, so that no row is in neither.
        """
        fresh = pa.concat_tables([ROW_SCHEMA.empty_table(), *self._unpublished])
        recent = f"{self._store.recent_sql(self._layout.recents)} UNION ALL FROM fresh"
        if not segments:  # as nearly always when something recent is asked for: half of the planning is saved
            return query.newest_rows(recent), fresh
        return query.minutes(self._store.sealed_sql(segments), recent), fresh

    async def _rows(self, sql: str, fresh: pa.Table) -> pa.Table:
        with self._database.cursor() as cursor:

            def fetch() -> pa.Table:
                cursor.register("fresh", fresh)
                return cursor.sql(sql).to_arrow_table()

            return await run_query(fetch, cursor, limiter=self._reader_limit)

    async def _number(self, sql: str, fresh: pa.Table) -> int | None:
        value: int | None = (await self._rows(sql, fresh)).column(0)[0].as_py()
        return value


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


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
