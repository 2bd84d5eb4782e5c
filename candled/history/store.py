"""The files of one data directory: finding them at start, and carrying out what the layout decides. Blocking."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import duckdb
import pyarrow as pa

from candled.domain.interval import DAY
from candled.history import query, reader
from candled.history.columns import ROW_SCHEMA, column_values
from candled.history.directory import Directory
from candled.history.files import Files
from candled.history.layout import Expire, MergeRecents, Rewrite
from candled.history.names import Recent, Segment
from candled.history.parquet import oldest_open_time, read_footer, write_recent, write_segment

_NO_ROWS: Final = ROW_SCHEMA.empty_table()


class Store:
    """Reads and writes the Parquet files. One thread at a time may use it, and another one ``publish``."""

    def __init__(self, directory: Directory, files: Files, database: duckdb.DuckDBPyConnection) -> None:
        self._directory = directory
        self._files = files
        self._connection = database.cursor()
        self._publishing = database.cursor()
        for path, write in (
            (reader.empty_recent(self.root), write_recent),
            (reader.empty_segment(self.root), write_segment),
        ):
            if not path.exists():
                write(files, path, _NO_ROWS)

    @property
    def root(self) -> Path:
        """The data directory."""
        return self._directory.path

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
        self._publishing.close()

    def find(self) -> tuple[list[Segment], list[Recent], list[Path]]:
        """The segments and recent files that are there, and those whose footer is damaged."""
        recents: list[Recent] = []
        damaged: list[Path] = []
        for recent in reader.find_recents(self.root):
            path = self.recent_path(recent)
            footer = read_footer(path)
            if footer is None:
                damaged.append(path)
            else:
                recents.append(attrs.evolve(recent, rows=footer[0], oldest=footer[1]))
        segments: list[Segment] = []
        for segment in reader.find_segments(self.root):
            path = self.segment_path(segment)
            if read_footer(path) is None:
                damaged.append(path)
            else:
                segments.append(segment)
        return segments, recents, damaged

    def recent_path(self, recent: Recent) -> Path:
        """Where that recent file stands."""
        return reader.recent_path(self.root, recent)

    def segment_path(self, segment: Segment) -> Path:
        """Where that segment stands."""
        return reader.segment_path(self.root, segment)

    def bytes(self, files: Iterable[Segment | Recent]) -> int:
        """Size of these files on the disk, all together."""
        size = 0
        for file in files:
            path = self.segment_path(file) if isinstance(file, Segment) else self.recent_path(file)
            with suppress(FileNotFoundError):  # deleted meanwhile
                size += path.stat().st_size
        return size

    def publish(self, recent: Recent, rows: pa.Table) -> Recent:
        """Write rows, newest revision of each bar only, as that recent file; returns it with its true size."""
        self._publishing.register("added", rows)
        try:
            sql = f"FROM ({query.newest_rows('FROM added')}) ORDER BY symbol, open_time"
            newest = self._publishing.sql(sql).to_arrow_table()
        finally:
            self._publishing.unregister("added")
        write_recent(self._files, self.recent_path(recent), newest)
        return attrs.evolve(recent, rows=newest.num_rows, oldest=oldest_open_time(newest))

    def merge(self, step: MergeRecents) -> Recent:
        """Carry out a merge of recent files."""
        rows = query.newest_rows(self.recent_sql(step.inputs))
        if step.drop_before is not None:
            rows = f"FROM ({rows}) WHERE epoch_us(open_time) >= {step.drop_before}"
        merged = self._query(f"FROM ({rows}) ORDER BY symbol, open_time")
        write_recent(self._files, self.recent_path(step.output), merged)
        return attrs.evolve(step.output, rows=merged.num_rows, oldest=oldest_open_time(merged))

    def days_to_fold(
        self, boundary: int, recents: Sequence[Recent], segments: Sequence[Segment]
    ) -> dict[str, list[int]]:
        """Days before ``boundary`` of which recent files know more than segments do, by symbol."""
        found: dict[str, list[int]] = defaultdict(list)
        table = self._query(
            f"SELECT DISTINCT symbol, epoch_us(open_time) // {DAY} AS day "
            f"FROM ({self.recent_sql(recents)}) recent "
            f"WHERE epoch_us(open_time) < {boundary} AND NOT EXISTS (FROM ({self.sealed_sql(segments)}) sealed "
            "WHERE sealed.symbol = recent.symbol AND sealed.open_time = recent.open_time "
            "AND (sealed.revision > recent.revision OR sealed.revision = recent.revision "
            "AND sealed.position >= recent.position)) ORDER BY symbol, day"
        )
        for symbol, day in zip(table.column("symbol").to_pylist(), table.column("day").to_pylist(), strict=True):
            found[symbol].append(day * DAY)
        return found

    def fold(self, target: Segment, inputs: Sequence[Segment], recents: Sequence[Recent]) -> None:
        """Write a segment of the rows that recent files and the segments that it supersedes have for its days."""
        rows = f"{self.recent_sql(recents)} UNION ALL {self.sealed_sql(inputs)}"
        newest = query.newest_rows(f"FROM ({rows}) WHERE {_within(target)}")
        write_segment(self._files, self.segment_path(target), self._query(f"FROM ({newest}) ORDER BY open_time"))

    def rewrite(self, step: Rewrite) -> None:
        """Carry out the joining of segments."""
        rows = self._query(f"FROM ({self.sealed_sql(step.inputs)}) ORDER BY open_time")
        write_segment(self._files, self.segment_path(step.output), rows)

    def expire(self, step: Expire) -> None:
        """Write the empty segment that supersedes expired ones."""
        write_segment(self._files, self.segment_path(step.output), _NO_ROWS)

    def delete(self, segments: Iterable[Segment], recents: Iterable[Recent]) -> None:
        """Remove superseded files."""
        self._files.remove(self.segment_path(segment) for segment in segments)
        self._files.remove(self.recent_path(recent) for recent in recents)

    def unpublished(self, journal: pa.Table, recents: Sequence[Recent], segments: Sequence[Segment]) -> pa.Table:
        """Those of the journal's rows that no file has, nor a newer revision of them."""
        if not journal.num_rows:
            return journal
        days = set(zip(journal.column("symbol").to_pylist(), _days(journal), strict=True))
        touched = [
            s
            for s in segments
            if s.start != 0 and any((s.symbol, day) in days for day in range(s.start, s.end, DAY))
        ]
        self._connection.register("journal", journal)
        try:
            return self._rows(
                f"FROM ({query.newest_rows('FROM journal')}) row WHERE NOT EXISTS "
                f"(FROM ({self.recent_sql(recents)} UNION ALL {self.sealed_sql(touched)}) known "
                "WHERE known.symbol = row.symbol AND known.open_time = row.open_time "
                "AND (known.revision > row.revision OR known.revision = row.revision "
                "AND known.position >= row.position)) ORDER BY position"
            )
        finally:
            self._connection.unregister("journal")

    def newest(self, recents: Sequence[Recent], segments: Sequence[Segment], unpublished: pa.Table) -> pa.Table:
        """Each symbol's newest minute."""
        last = {segment.symbol: segment for segment in segments if segment.start != 0}
        self._connection.register("unpublished", unpublished)
        try:
            minutes = query.minutes(
                self.sealed_sql(list(last.values())), f"{self.recent_sql(recents)} UNION ALL FROM unpublished"
            )
            return self._query(
                f"FROM ({minutes}) QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY open_time DESC) = 1"
            )
        finally:
            self._connection.unregister("unpublished")

    def first(
        self, recents: Sequence[Recent], segments: Sequence[Segment], unpublished: pa.Table
    ) -> dict[str, int]:
        """A time at or before each symbol's oldest minute, not earlier than that one's day."""
        self._connection.register("unpublished", unpublished)
        try:
            table = self._query(
                "SELECT symbol, epoch_us(min(open_time)) AS first "
                f"FROM ({self.recent_sql(recents)} UNION ALL FROM unpublished) GROUP BY symbol"
            )
        finally:
            self._connection.unregister("unpublished")
        first = dict(zip(table.column("symbol").to_pylist(), table.column("first").to_pylist(), strict=True))
        for segment in segments:
            if segment.start != 0:
                first[segment.symbol] = min(first.get(segment.symbol, segment.start), segment.start)
        return first

    def recent_sql(self, recents: Sequence[Recent]) -> str:
        """Query for all rows of these recent files."""
        paths = [reader.escape(str(self.recent_path(recent))) for recent in recents]
        return query.recent_rows(query.file_list(paths or [reader.escape(str(reader.empty_recent(self.root)))]))

    def sealed_sql(self, segments: Sequence[Segment]) -> str:
        """Query for all rows of these segments."""
        paths = [reader.escape(str(self.segment_path(segment))) for segment in segments]
        return query.sealed_rows(query.file_list(paths or [reader.escape(str(reader.empty_segment(self.root)))]))

    def _query(self, sql: str) -> pa.Table:
        return self._connection.sql(sql).to_arrow_table()

    def _rows(self, sql: str) -> pa.Table:
        return self._query(sql).cast(ROW_SCHEMA)


def _days(rows: pa.Table) -> list[int]:
    """The UTC midnight before each row."""
    return [time // DAY * DAY for time in column_values(rows.column("open_time"))]


def _within(segment: Segment) -> str:
    return (
        f"symbol = {query.text(segment.symbol)} AND open_time >= make_timestamptz({segment.start}) "
        f"AND open_time < make_timestamptz({segment.end})"
    )
