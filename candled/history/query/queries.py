"""The daemon's queries over sealed, recent and unpublished bars."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import attrs
import duckdb
import pyarrow as pa
import trio

from candled.domain.bar import Bar
from candled.domain.interval import DAY, MINUTE, ONE_MINUTE, Interval, parse_interval
from candled.domain.limits import READ_MINUTES_MAX
from candled.history import sql
from candled.history.column_names import ROW_COLUMNS
from candled.history.columns import bars_from_rows, positions_from_rows
from candled.history.damage import DamageControl
from candled.history.hot_index import HotIndex
from candled.history.segments.layout import Layout
from candled.history.segments.names import Recent, Segment
from candled.history.segments.store import DamagedFilesError, Store
from candled.history.unpublished import UnpublishedRows

_FIRST_WINDOW: Final = 1_000 * MINUTE
_LAST_WINDOW: Final = READ_MINUTES_MAX * MINUTE

_T = TypeVar("_T")
_ROWS: Final = ", ".join(ROW_COLUMNS)


@attrs.frozen
class _Minutes:
    """The newest revision of each minute: a query and its inputs."""

    sql: str
    fresh: pa.Table
    """The unpublished rows, which ``sql`` refers to as ``fresh``."""
    files: tuple[Segment | Recent, ...]


class BarQueries:
    """Queries that see every stored bar. ``readers`` limits how many run at once.

    Files are verified before they are read. A damaged one is removed, and the query is retried without it.
    """

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        store: Store,
        layout: Layout,
        hot_index: HotIndex,
        unpublished: UnpublishedRows,
        damage: DamageControl,
        *,
        readers: int,
    ) -> None:
        self._database = database
        self._store = store
        self._layout = layout
        self._hot_index = hot_index
        self._unpublished = unpublished
        self._damage = damage
        self._reader_limit = trio.CapacityLimiter(readers)

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``BarReader``. Times in microseconds.

        Raises:
            ValueError: the interval is unknown.
        """
        return await self._retried(lambda: self._bars(symbol, parse_interval(interval), start, end, limit))

    async def _bars(
        self, symbol: str, rule: Interval, start: int | None, end: int | None, limit: int
    ) -> list[Bar]:
        newest = self._hot_index.newest.get(symbol)
        await trio.lowlevel.checkpoint()  # a caller's loop yields to other tasks even if nothing is read
        if newest is None or limit <= 0:
            return []
        known_until = newest.close_time
        low = rule.floor(self._hot_index.first[symbol])
        if start is not None and start > low:
            low = start if rule.floor(start) == start else rule.end(rule.floor(start))
        # ``end`` limits open times: the last bar's minutes reach past it.
        high = known_until if end is None else min(rule.end(rule.floor(end - 1)), known_until)
        # Double the window until enough bars are found: files outside a window are not opened.
        window = min(max(limit * (rule.length or 31 * DAY), _FIRST_WINDOW), _LAST_WINDOW)
        found: list[Bar] = []
        while low < high and len(found) < limit:
            top = min(high, rule.end(rule.floor(low + window)))
            found += await self._window(symbol, rule, low, top, limit - len(found), known_until)
            low, window = top, min(window * 2, _LAST_WINDOW)
        return found

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """See ``BarReader``. The position of a longer bar is the highest of its minutes' positions.

        If its last minute is missing: at least that of the next minute.

        Raises:
            ValueError: the interval is unknown.
        """
        rules = [parse_interval(interval) for interval in intervals]
        return await self._retried(lambda: self._changed_since(position, symbols, rules, limit))

    async def _changed_since(
        self, position: int, symbols: Sequence[str], rules: Sequence[Interval], limit: int
    ) -> list[tuple[int, Bar]]:
        chosen = f"symbol IN ({', '.join(sql.text(symbol) for symbol in symbols)})" if symbols else "true"
        segments = self._layout.segments
        minutes = self._minutes(segments)
        changed = f"{chosen} AND position > {position}"
        found: list[tuple[int, Bar]] = []
        if ONE_MINUTE in rules:
            query = f"FROM ({minutes.sql}) WHERE {changed} ORDER BY position LIMIT {limit}"
            found += await self._read(query, minutes, lambda table: _positioned(table, ONE_MINUTE.name))
        longer = [rule for rule in rules if rule is not ONE_MINUTE]
        if longer:
            first = await self._number(sql.first_reached(minutes.sql, changed), minutes)
            if first is not None:
                low = min(rule.floor(first) for rule in longer)
                within = [segment for segment in segments if segment.end > low]
                for rule in longer:
                    found += await self._longer_changed(position, chosen, low, within, rule, limit)
        found.sort(key=lambda item: item[0])
        return found[:limit]

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """See ``BarReader``."""
        return await self._retried(lambda: self._incomplete_bars(symbol, since, limit))

    async def _incomplete_bars(self, symbol: str, since: int, limit: int) -> list[Bar]:
        segments = [segment for segment in self._layout.segments_of(symbol) if segment.end > since]
        minutes = self._minutes(segments)
        return await self._read(
            f"FROM ({minutes.sql}) WHERE symbol = {sql.text(symbol)} AND open_time >= make_timestamptz({since}) "
            f"AND NOT complete ORDER BY open_time LIMIT {limit}",
            minutes,
            lambda table: bars_from_rows(table, ONE_MINUTE.name),
        )

    async def _window(
        self, symbol: str, rule: Interval, low: int, high: int, limit: int, known_until: int
    ) -> list[Bar]:
        overlapping = [s for s in self._layout.segments_of(symbol) if s.start < high and low < s.end]
        minutes = self._minutes(overlapping)
        rows = (
            f"FROM ({minutes.sql}) WHERE symbol = {sql.text(symbol)} "
            f"AND open_time >= make_timestamptz({low}) AND open_time < make_timestamptz({high})"
        )
        if rule is not ONE_MINUTE:
            newest = f"SELECT {sql.text(symbol)} AS symbol, make_timestamptz({known_until}) AS known_until"
            rows = sql.longer_bars(rows, newest, [rule])
        query = f"SELECT {_ROWS} FROM ({rows}) ORDER BY open_time LIMIT {limit}"
        return await self._read(query, minutes, lambda table: bars_from_rows(table, rule.name))

    async def _longer_changed(
        self, position: int, chosen: str, low: int, segments: Sequence[Segment], rule: Interval, limit: int
    ) -> list[tuple[int, Bar]]:
        minutes = self._minutes(segments)
        newest = self._hot_index.newest.values()
        known = ", ".join(f"({sql.text(bar.symbol)}, make_timestamptz({bar.close_time}))" for bar in newest)
        rows = sql.longer_bars(
            sql.closing_positions(f"FROM ({minutes.sql}) WHERE {chosen} AND open_time >= make_timestamptz({low})"),
            f"FROM (VALUES {known}) newest(symbol, known_until)",
            [rule],
        )
        return await self._read(
            f"SELECT {_ROWS} FROM ({rows}) WHERE position > {position} ORDER BY position LIMIT {limit}",
            minutes,
            lambda table: _positioned(table, rule.name),
        )

    def _minutes(self, segments: Sequence[Segment]) -> _Minutes:
        """Return the query for the newest revision of each minute in segments, recent files and unpublished rows.

        The unpublished rows are taken before the list of recent files, with no pause between, so that no row is in
        neither.
        """
        fresh = self._unpublished.rows()
        recents = self._layout.recents
        recent = f"{self._store.recent_sql(recents)} UNION ALL FROM fresh"
        if not segments:  # the usual case for recent bars: saves half of the planning
            return _Minutes(sql.newest_rows(recent), fresh, (*recents,))
        return _Minutes(sql.minutes(self._store.sealed_sql(segments), recent), fresh, (*segments, *recents))

    async def _retried(self, query: Callable[[], Awaitable[_T]]) -> _T:
        while True:
            try:
                return await query()
            except DamagedFilesError as error:
                await self._damage.remove(error.files)

    async def _read(self, sql: str, minutes: _Minutes, convert: Callable[[pa.Table], _T]) -> _T:
        """Run a query and convert its rows in a thread, since there may be many."""
        with self._database.cursor() as cursor:

            def fetch() -> _T:
                self._store.require_whole(minutes.files)
                cursor.register("fresh", minutes.fresh)
                return convert(cursor.sql(sql).to_arrow_table())

            return await run_query(fetch, cursor, self._reader_limit)

    async def _number(self, sql: str, minutes: _Minutes) -> int | None:
        def first(table: pa.Table) -> int | None:
            value: int | None = table.column(0)[0].as_py()
            return value

        return await self._read(sql, minutes, first)


def _positioned(table: pa.Table, interval: str) -> list[tuple[int, Bar]]:
    return list(zip(positions_from_rows(table), bars_from_rows(table, interval), strict=True))


async def run_query(
    work: Callable[[], _T], connection: duckdb.DuckDBPyConnection, limiter: trio.CapacityLimiter
) -> _T:
    """Run ``work``, which uses ``connection``, in a thread; cancelling interrupts the query and awaits its end.

    Args:
        work: the query.
        connection: what it runs on.
        limiter: how many run at once.
    """
    finished = trio.Event()
    outcome: list[_T] = []
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_interrupt_when_cancelled, connection, finished)
        with trio.CancelScope(shield=True):
            try:
                outcome.append(await trio.to_thread.run_sync(work, limiter=limiter))
            except (
                duckdb.Error,
                DamagedFilesError,
                OSError,
            ) as error:  # kept out of the nursery's exception group
                failure = error
            finally:
                finished.set()
    if failure is not None:
        # An interrupted query raises its own error; the caller must get the cancellation instead.
        await trio.lowlevel.checkpoint_if_cancelled()
        raise failure
    return outcome[0]


async def _interrupt_when_cancelled(connection: duckdb.DuckDBPyConnection, finished: trio.Event) -> None:
    try:
        await finished.wait()
    except trio.Cancelled:
        connection.interrupt()
        raise
