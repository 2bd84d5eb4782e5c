"""The exchange's public archive: zip files of trades, aggregate trades or klines, converted to exact minutes.

Facts of the format: the name says symbol and kind; ``<name>.CHECKSUM`` holds the SHA-256; the one CSV inside has a
header in some files only; times are microseconds since 2025 and milliseconds before, so each row is checked;
rows may be duplicated and unsorted. Blocking.

This module validates archive files. A clean file, as nearly all are, is read and summed in one pass over typed
columns. Where the text holds anything that such columns would round or misread, or a value lies outside the
domain's limits, it is read again as text: bad rows are left out and counted, so their minutes are not exact.
"""

import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import IO, Final

import attrs
import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from candled.backfill import archive_sql
from candled.backfill.archive_checks import (
    BOM,
    check_symbol,
    choose_member,
    expected_checksum,
    has_header,
    names_columns,
)
from candled.backfill.archive_sql import ArchiveKind
from candled.domain.exactness import FinestDecimals
from candled.domain.id_ranges import IdRanges
from candled.errors import UserError
from candled.history.columns import PRICE, QUOTE_VOLUME, VOLUME
from candled.history.database import open_memory_database

_NAME = re.compile(r"(?P<symbol>.+?)-(?P<kind>trades|aggTrades|1m)-(?P<date>\d{4}-\d\d(-\d\d)?)\.zip")
_CHUNK: Final = 1 << 20
_KEPT: Final = dict(zip(b"0123456789.,\nTRUEtrueFALSfals", b"0000000000.,,TRUetrueFALSfals", strict=True))
_SHAPE: Final = bytes(_KEPT.get(byte, ord("x")) for byte in range(256))
"""Digits are ``0``, separators ``,``, and what is neither of a plain number nor of a truth value ``x``."""
_UNREADABLE: Final = (b".000000000", b"0e", b".e", b",,", b"x")
"""In that shape: what typed columns round, read as another form of a number, or take for a missing value."""
_DIGITS_AND_FLAGS: Final = b"0123456789\rTRUEtrueFALSfals"
"""Characters of numbers and booleans: without them a file is points and separators."""
_POINT_IN_INTEGER: Final = {
    ArchiveKind.TRADES: re.compile(rb"\n\.|\.,{2}\n"),
    ArchiveKind.AGGREGATE_TRADES: re.compile(rb"\n\.|\.,{2,4}\n"),
    ArchiveKind.KLINES: re.compile(rb"\n\.|\n(?:[^,\n]*,){8}\."),
}
"""Matches an id, a time or a count with decimals in those: typed columns would round it."""
_UNPACKED_BYTES_MIN: Final = 1 << 28
"""Limit of the unpacked size of a tiny file."""
_COMPRESSION_RATIO_MAX: Final = 200
"""Unpacked bytes for each packed byte that raise the limit of a larger file; the archive's have about 10."""
_COMPRESSION_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SEAM: Final = 1_024
"""Bytes scanned again with the next chunk, since a match may span two chunks."""
_COPY: Final = "archive.csv"


MINUTES_SCHEMA: Final = pa.schema(
    [
        pa.field("open_time", pa.timestamp("us", tz="UTC")),
        *(pa.field(name, PRICE) for name in ("open", "high", "low", "close")),
        pa.field("volume", VOLUME),
        pa.field("quote_volume", QUOTE_VOLUME),
        pa.field("trade_count", pa.int64()),
        pa.field("taker_buy_volume", VOLUME),
        pa.field("taker_buy_quote_volume", QUOTE_VOLUME),
        pa.field("first_trade_id", pa.int64()),
        pa.field("last_trade_id", pa.int64()),
        pa.field("exact", pa.bool_()),
    ]
)
"""Minutes of an archive, oldest first. Ids are NULL in klines. ``exact``: no sum depends on how an aggregate was
filled, and no two rows disagree about a trade of the minute. What ids prove is for ``candled.domain.proof``."""


@attrs.frozen
class ArchiveMinutes:
    """Content of an archive file."""

    table: pa.Table
    """Its minutes, with the columns of ``MINUTES_SCHEMA``."""
    seen: IdRanges
    """Ids of its trades, placeholders included; none of klines, none of rows that were refused, and none that two
    rows disagree about."""
    disputed: tuple[int, ...] = ()
    """Open times, microseconds since the epoch, of minutes with rows that contradict each other or themselves.
    Such rows are left out."""
    refused: int = 0
    """Rows left out because of impossible values."""


@attrs.frozen
class Archive:
    """One archive file by its name."""

    path: Path
    symbol: str
    kind: ArchiveKind
    date: str


def parse_archive(path: Path) -> Archive:
    """Read the symbol, kind and dates from the name of an archive file.

    Raises:
        UserError: it is not the name of an archive file, or the file is of another market.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise UserError(
            f"Archive file {path} is not named as the archive's files are: "
            "SYMBOL-trades-DATE.zip, SYMBOL-aggTrades-DATE.zip or SYMBOL-1m-DATE.zip."
        )
    check_symbol(path, match["symbol"])
    return Archive(path, match["symbol"], ArchiveKind(match["kind"]), match["date"])


def check_archive(archive: Archive) -> bool:
    """Compare a file with its checksum; return whether there was a checksum.

    Raises:
        UserError: the file differs from its checksum, or is missing.
    """
    expected_path = archive.path.with_name(archive.path.name + ".CHECKSUM")
    if not archive.path.is_file():
        raise UserError(f"Archive file {archive.path} does not exist: give the path of an archive file.")
    if not expected_path.is_file():
        return False
    digest = hashlib.sha256()
    with archive.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if expected_checksum(expected_path, expected_path.read_text("utf-8", "replace")) != digest.hexdigest():
        raise UserError(f"Archive file {archive.path} differs from its checksum: download it again.")
    return True


def read_minutes(
    archive: Archive, staging: Path, unpacked: Callable[[int], None] = lambda _bytes: None
) -> ArchiveMinutes:
    """Read an archive file, and add up its trades by minute.

    Args:
        archive: The file.
        staging: An empty folder for the unpacked file and the database that reads it.
        unpacked: Called repeatedly with the number of bytes of the archive unpacked, at last with all.

    Raises:
        UserError: it cannot be unpacked, or its content does not match its name.
    """
    csv = staging / _COPY
    try:
        with archive.path.open("rb") as file, zipfile.ZipFile(file) as packed:
            member = choose_member(archive.path, packed.namelist())
            info = packed.getinfo(member)
            if info.compress_type not in _COMPRESSION_METHODS or info.flag_bits & 1:
                raise UserError(
                    f"Archive file {archive.path} is encrypted, or compressed by a method that the archive "
                    "does not use: download it again."
                )
            with packed.open(info) as source, csv.open("wb") as target:
                is_clean = _unpack(
                    source,
                    target,
                    archive.kind,
                    _UNPACKED_BYTES_MIN + _COMPRESSION_RATIO_MAX * info.compress_size,
                    lambda size: unpacked(size * info.compress_size // max(1, info.file_size)),
                )
        unpacked(archive.path.stat().st_size)
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError) as error:
        raise UserError(
            f"Archive file {archive.path} is not a complete archive file: download it again."
        ) from error
    connection = open_memory_database(temp_directory=str(staging / "spill"), memory_limit="1GB")
    try:
        return _read_csv(connection, archive, csv, is_clean=is_clean)
    except _UNFIT as error:
        raise UserError(
            f"Archive file {archive.path} does not match its name: {str(error).splitlines()[0].rstrip('.')}."
        ) from error
    finally:
        connection.close()
        csv.unlink()


_UNFIT: Final = (
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.InvalidTypeException,
    duckdb.OutOfRangeException,
)
"""What the database raises for values that a column or a sum cannot hold."""


def _unpack(
    source: IO[bytes], target: IO[bytes], kind: ArchiveKind, bytes_max: int, unpacked: Callable[[int], None]
) -> bool:
    """Copy the file that is inside; return whether typed columns read its text exactly.

    Args:
        source: The file.
        target: Where to.
        kind: Of its rows.
        bytes_max: Maximum size of the file, bytes.
        unpacked: Called repeatedly with the number of bytes of it that were read.

    Raises:
        ValueError: the file is larger.
    """
    is_clean = is_first = True
    seam, size = b"\n", 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > bytes_max:
            raise ValueError("it unpacks to more than any archive file")
        if is_first:
            chunk = chunk.removeprefix(BOM)
            header, newline, rest = chunk.partition(b"\n")
            body = newline + rest if names_columns(header) else seam + chunk
        else:
            body = seam + chunk
        is_first = False
        is_clean = is_clean and _is_exact(body, kind)
        seam = chunk[-_SEAM:]
        target.write(chunk)
        unpacked(size)
    return is_clean and _is_exact(seam.removesuffix(b"\n") + b"\n", kind)  # the last row may have no line break


def _is_exact(text: bytes, kind: ArchiveKind) -> bool:
    """Return whether typed columns read a part of a file exactly; the part begins with a line break, or twice."""
    shape = text.translate(_SHAPE, b"\r")
    if any(part in shape for part in _UNREADABLE):
        return False
    return _POINT_IN_INTEGER[kind].search(text.translate(None, _DIGITS_AND_FLAGS)) is None


def _read_csv(
    connection: duckdb.DuckDBPyConnection, archive: Archive, csv: Path, *, is_clean: bool
) -> ArchiveMinutes:
    header = has_header(archive.path, csv, len(archive_sql.COLUMNS[archive.kind]))
    # Numbers that fit 64 bits, as nearly all do, take half the time.
    for width in ("DECIMAL(18, 8)", "DECIMAL(38, 8)") if is_clean else ():
        try:
            minutes = _read_rows(
                connection, archive.kind, archive_sql.typed_rows(archive.kind, csv, header, width)
            )
        except _UNFIT:
            continue
        if minutes is not None:
            return minutes
    return _read_carefully(connection, archive, csv, header)


def _read_carefully(
    connection: duckdb.DuckDBPyConnection, archive: Archive, csv: Path, header: bool
) -> ArchiveMinutes:
    """Read a file that has bad rows, leaving those out.

    Raises:
        UserError: hardly a row is good, so it is another kind of file.
    """
    connection.execute(f"CREATE TEMP TABLE good AS {archive_sql.good_rows(archive.kind, csv, header)}")
    with csv.open("rb") as file:
        lines, last = 0, b"\n"
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            lines, last = lines + chunk.count(b"\n"), chunk[-1:]
        lines += (last != b"\n") - header
    [(good,)] = connection.execute("SELECT count(*) FROM good").fetchall()
    if good * 2 < lines:
        raise UserError(
            f"Archive file {archive.path} does not match its name: values of {lines - good} of {lines} rows "
            "cannot be."
        )
    minutes = _read_rows(connection, archive.kind, "good")
    assert minutes is not None  # what is in the table fits
    return attrs.evolve(minutes, refused=max(0, lines - good))


def _read_rows(connection: duckdb.DuckDBPyConnection, kind: ArchiveKind, rows: str) -> ArchiveMinutes | None:
    """Return what rows say; None if one lies outside the domain's limits."""
    read = _read_klines if kind is ArchiveKind.KLINES else _read_trades
    return read(connection, kind, rows)


def _read_klines(connection: duckdb.DuckDBPyConnection, _kind: ArchiveKind, rows: str) -> ArchiveMinutes | None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE klines AS {archive_sql.KLINES.format(rows=rows)}")
    if connection.sql("SELECT count(*) FROM klines WHERE NOT fits").fetchall() != [(0,)]:
        return None
    disputed = connection.sql(
        "SELECT epoch_us(open_time) FROM klines GROUP BY open_time HAVING count(*) > 1 ORDER BY open_time"
    ).fetchall()
    once = "SELECT * FROM klines QUALIFY count(*) OVER (PARTITION BY open_time) = 1 ORDER BY open_time"
    table = connection.sql(once).to_arrow_table().select(MINUTES_SCHEMA.names).cast(MINUTES_SCHEMA)
    return ArchiveMinutes(table, IdRanges(), tuple(open_time for (open_time,) in disputed))


def _read_trades(connection: duckdb.DuckDBPyConnection, kind: ArchiveKind, rows: str) -> ArchiveMinutes | None:
    """Add up the rows as they stand; only where their ids do not follow each other look at them singly."""
    minutes = connection.sql(archive_sql.minutes_as_they_stand(kind, rows)).to_arrow_table()
    if minutes.num_rows and not pc.all(minutes.column("fits")).as_py():
        return None
    ids = list(
        zip(*(minutes.column(name).to_pylist() for name in ("first_trade_id", "last_trade_id")), strict=True)
    )
    is_simple = pc.all(minutes.column("whole")).as_py() is True and all(
        before[1] < after[0] for before, after in pairwise(ids)
    )
    disputed: tuple[int, ...] = ()
    if not is_simple:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE trades AS {archive_sql.single_rows(kind, rows)}")
        minutes = connection.sql(archive_sql.minutes_of_single_rows(kind)).to_arrow_table()
        ids = connection.sql(archive_sql.ISLANDS).fetchall()
        times = connection.sql(f"SELECT DISTINCT {archive_sql.OPEN_TIME} FROM trades WHERE disputed").fetchall()
        disputed = tuple(time for (time,) in times)
    seen = IdRanges()
    for first_id, last_id in ids:
        seen.add(first_id, last_id)
    return ArchiveMinutes(_with_exactness(minutes), seen, tuple(sorted(disputed)))


def _with_exactness(minutes: pa.Table) -> pa.Table:
    """Say of each minute whether its sums are exact, judging aggregates by every row of the file."""
    exact = pc.invert(minutes.column("has_disputed"))
    finest = FinestDecimals(
        price=pc.max(minutes.column("price_decimals")).as_py() or 0,
        quantity=pc.max(minutes.column("quantity_decimals")).as_py() or 0,
        single_fills=pc.sum(minutes.column("single_fills")).as_py() or 0,
    )
    if not finest.aggregates_are_exact:
        exact = pc.and_(exact, pc.invert(minutes.column("has_aggregates")))
    return minutes.append_column("exact", exact).select(MINUTES_SCHEMA.names).cast(MINUTES_SCHEMA)
