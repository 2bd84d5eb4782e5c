"""What the daemon is asked of its bars: sealed, recent and unpublished ones as one."""

from collections.abc import Sequence
from typing import Final

import duckdb
import pyarrow as pa
import trio

from candled.domain.bar import Bar
from candled.domain.interval import MINUTE, ONE_MINUTE, parse_interval
from candled.history import query
from candled.history.columns import ROW_COLUMNS, ROW_SCHEMA, bars_from_rows, positions_from_rows
from candled.history.known import Known
from candled.history.layout import Layout
from candled.history.names import Segment
from candled.history.store import Store
from candled.history.threads import run_query

_FIRST_WINDOW: Final = 1000
_ROWS: Final = ", ".join(ROW_COLUMNS)


class Answers:
    """Queries that see every stored bar. As many at once as there are ``readers``."""

    def __init__(
        self, database: duckdb.DuckDBPyConnection, store: Store, layout: Layout, known: Known, *, readers: int
    ) -> None:
        self._database = database
        self._store = store
        self._layout = layout
        self._known = known
        self._reader_limit = trio.CapacityLimiter(readers)

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``History``. Times in microseconds.

        Raises:
            ValueError: no such interval.
        """
        rule = parse_interval(interval)
        newest = self._known.newest.get(symbol)
        if newest is None or limit <= 0:
            return []
        known_until = newest.close_time
        low = rule.floor(self._known.first[symbol])
        if start is not None and start > low:
            low = start if rule.floor(start) == start else rule.end(rule.floor(start))
        # The end is that of open times: the last bar's minutes reach past it.
        high = known_until if end is None else min(rule.end(rule.floor(end - 1)), known_until)
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
            f"({query.text(bar.symbol)}, make_timestamptz({bar.close_time}))"
            for bar in self._known.newest.values()
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
        fresh = pa.concat_tables([ROW_SCHEMA.empty_table(), *self._known.unpublished])
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
