"""Read and write the Parquet files of a data directory, as the layout decides. Blocking.

No file is read before its checksum is verified.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import duckdb
import pyarrow as pa

from candled.domain.interval import DAY
from candled.domain.numbers import DECIMALS
from candled.history import sql
from candled.history.checksums import FileChecks, checksum
from candled.history.columns import cast_rows, column_values, row_schema
from candled.history.directory import Directory
from candled.history.durable_io import Files
from candled.history.segments import paths
from candled.history.segments.layout import Expire, MergeRecents, Rewrite
from candled.history.segments.names import Recent, Segment
from candled.history.segments.parquet import encode_recent, encode_segment, oldest_open_time, read_footer

_CHECKED_AT_START: Final = 512 * 1024 * 1024
"""Bytes of sealed files verified during the start; the rest before the first read, or in the background."""


class DamagedFilesError(Exception):
    """Damaged files found before a read."""

    def __init__(self, files: Sequence[Segment | Recent]) -> None:
        super().__init__(", ".join(file.name for file in files))
        self.files = files


class Store:
    """Reads and writes the Parquet files. One thread at a time may use it, and another one ``publish``."""

    def __init__(
        self,
        directory: Directory,
        files: Files,
        database: duckdb.DuckDBPyConnection,
        quote_decimals: int = DECIMALS,
    ) -> None:
        self._no_rows = row_schema(quote_decimals).empty_table()
        self._directory = directory
        self._files = files
        self._connection = database.cursor()
        self._publishing = database.cursor()
        self._checks = FileChecks()
        for path, encode in (
            (paths.empty_recent(self.root), encode_recent),
            (paths.empty_segment(self.root), encode_segment),
        ):
            content = encode(self._no_rows)
            if not path.exists() or path.read_bytes() != content:
                files.publish(path, content)

    @property
    def root(self) -> Path:
        """The data directory."""
        return self._directory.path

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
        self._publishing.close()

    def find(self) -> tuple[list[Segment], list[Recent], list[Segment | Recent]]:
        """Return the segments and recent files that exist, and the damaged ones.

        Every recent file is verified, and the newest sealed ones up to a limit of bytes.
        """
        damaged: list[Segment | Recent] = []
        recents = list(paths.find_recents(self.root))
        damaged += self.find_damaged(recents)
        whole = [self._described(recent) for recent in recents if recent not in damaged]
        segments = list(paths.find_segments(self.root))
        checked: list[Segment] = []
        size = 0
        for segment in sorted(segments, key=lambda each: each.end, reverse=True):
            size += self.bytes([segment])
            if size > _CHECKED_AT_START:
                break
            checked.append(segment)
        damaged += self.find_damaged(checked)
        return [segment for segment in segments if segment not in damaged], whole, damaged

    def _described(self, recent: Recent) -> Recent:
        rows, oldest = read_footer(self.path(recent).read_bytes())
        return attrs.evolve(recent, rows=rows, oldest=oldest)

    def find_damaged(self, files: Iterable[Segment | Recent], *, again: bool = False) -> list[Segment | Recent]:
        """Return the files whose content does not match their checksum, and those that are gone.

        Args:
            files: Live files.
            again: Verify files again that were verified before.
        """
        there = {self.path(file): file for file in files}
        gone = [path for path in there if not path.exists()]
        bad = self._checks.find_damaged(
            [(path, file.checksum) for path, file in there.items() if path not in gone], again=again
        )
        return [there[path] for path in (*gone, *bad)]

    def require_whole(self, files: Iterable[Segment | Recent]) -> None:
        """Check files before they are read.

        Raises:
            DamagedFilesError: some are damaged.
        """
        damaged = self.find_damaged(files)
        if damaged:
            raise DamagedFilesError(damaged)

    def path(self, file: Segment | Recent) -> Path:
        """Return the path of a file."""
        return paths.file_path(self.root, file)

    def bytes(self, files: Iterable[Segment | Recent]) -> int:
        """Return the total size of these files on disk, bytes."""
        size = 0
        for file in files:
            with suppress(FileNotFoundError):  # deleted meanwhile
                size += self.path(file).stat().st_size
        return size

    def publish(self, recent: Recent, rows: pa.Table) -> Recent:
        """Write the newest revision of each bar as a recent file; return it with row count and checksum."""
        self._publishing.register("added", rows)
        try:
            select = f"FROM ({sql.newest_rows('FROM added')}) ORDER BY symbol, open_time"
            newest = self._publishing.sql(select).to_arrow_table()
        finally:
            self._publishing.unregister("added")
        return self._write_recent(recent, newest)

    def merge(self, step: MergeRecents) -> Recent:
        """Merge recent files."""
        self.require_whole(step.inputs)
        rows = sql.newest_rows(self.recent_sql(step.inputs))
        if step.drop_before is not None:
            rows = f"FROM ({rows}) WHERE epoch_us(open_time) >= {step.drop_before}"
        return self._write_recent(step.output, self._query(f"FROM ({rows}) ORDER BY symbol, open_time"))

    def days_to_fold(
        self, boundary: int, recents: Sequence[Recent], segments: Sequence[Segment]
    ) -> dict[str, list[int]]:
        """Return the days before ``boundary``, by symbol, whose newest rows are in recent files only."""
        found: dict[str, list[int]] = defaultdict(list)
        oldest = min((recent.oldest for recent in recents if recent.oldest is not None), default=boundary)
        segments = [segment for segment in segments if segment.end > oldest]
        self.require_whole([*recents, *segments])
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

    def fold(self, target: Segment, inputs: Sequence[Segment], recents: Sequence[Recent]) -> Segment:
        """Write a segment with the rows of its days from recent files and the segments that it supersedes."""
        self.require_whole([*inputs, *recents])
        rows = f"{self.recent_sql(recents)} UNION ALL {self.sealed_sql(inputs)}"
        newest = sql.newest_rows(f"FROM ({rows}) WHERE {_within(target)}")
        return self._write_segment(target, self._query(f"FROM ({newest}) ORDER BY open_time"))

    def rewrite(self, step: Rewrite) -> Segment:
        """Join segments."""
        self.require_whole(step.inputs)
        rows = self._query(f"FROM ({self.sealed_sql(step.inputs)}) ORDER BY open_time")
        return self._write_segment(step.output, rows)

    def expire(self, step: Expire) -> Segment:
        """Write the empty segment that supersedes expired ones."""
        return self._write_segment(step.output, self._no_rows)

    def delete(self, segments: Iterable[Segment], recents: Iterable[Recent]) -> None:
        """Remove superseded files."""
        files: list[Segment | Recent] = [*segments, *recents]
        self._files.remove(self.path(file) for file in files)

    def unpublished(self, journal: pa.Table, recents: Sequence[Recent], segments: Sequence[Segment]) -> pa.Table:
        """Return the journal's rows of which no file has the same or a newer revision."""
        if not journal.num_rows:
            return journal
        days = set(zip(journal.column("symbol").to_pylist(), _days(journal), strict=True))
        touched = [
            s
            for s in segments
            if s.start != 0 and any((s.symbol, day) in days for day in range(s.start, s.end, DAY))
        ]
        self.require_whole([*recents, *touched])
        self._connection.register("journal", journal)
        try:
            return self._rows(
                f"FROM ({sql.newest_rows('FROM journal')}) row WHERE NOT EXISTS "
                f"(FROM ({self.recent_sql(recents)} UNION ALL {self.sealed_sql(touched)}) known "
                "WHERE known.symbol = row.symbol AND known.open_time = row.open_time "
                "AND (known.revision > row.revision OR known.revision = row.revision "
                "AND known.position >= row.position)) ORDER BY position"
            )
        finally:
            self._connection.unregister("journal")

    def newest(self, recents: Sequence[Recent], segments: Sequence[Segment], unpublished: pa.Table) -> pa.Table:
        """Return the newest minute of each symbol."""
        last = {segment.symbol: segment for segment in segments if segment.start != 0}
        self.require_whole([*recents, *last.values()])
        self._connection.register("unpublished", unpublished)
        try:
            minutes = sql.minutes(
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
        """Return a time at or before each symbol's oldest minute, not earlier than that one's day."""
        self.require_whole(recents)
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
        """Return the query for all rows of these recent files, which must be verified before."""
        files = [paths.escape(str(self.path(recent))) for recent in recents]
        return sql.recent_rows(sql.file_list(files or [paths.escape(str(paths.empty_recent(self.root)))]))

    def sealed_sql(self, segments: Sequence[Segment]) -> str:
        """Return the query for all rows of these segments, which must be verified before."""
        files = [paths.escape(str(self.path(segment))) for segment in segments]
        return sql.sealed_rows(sql.file_list(files or [paths.escape(str(paths.empty_segment(self.root)))]))

    def _write_recent(self, recent: Recent, rows: pa.Table) -> Recent:
        content = encode_recent(rows)
        written = attrs.evolve(
            recent, rows=rows.num_rows, oldest=oldest_open_time(rows), checksum=checksum(content)
        )
        self._files.publish(self.path(written), content)
        return written

    def _write_segment(self, segment: Segment, rows: pa.Table) -> Segment:
        content = encode_segment(rows)
        written = attrs.evolve(segment, checksum=checksum(content))
        self._files.publish(self.path(written), content)
        return written

    def _query(self, sql: str) -> pa.Table:
        return self._connection.sql(sql).to_arrow_table()

    def _rows(self, sql: str) -> pa.Table:
        return cast_rows(self._query(sql))


def _days(rows: pa.Table) -> list[int]:
    """Return the UTC midnight before each row."""
    return [time // DAY * DAY for time in column_values(rows.column("open_time"))]


def _within(segment: Segment) -> str:
    return (
        f"symbol = {sql.text(segment.symbol)} AND open_time >= make_timestamptz({segment.start}) "
        f"AND open_time < make_timestamptz({segment.end})"
    )
