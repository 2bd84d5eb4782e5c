"""The exchange's public archive: zip files of trades, aggregate trades or klines, turned into exact minutes.

Facts of the format: the name says symbol and kind; ``<name>.CHECKSUM`` holds the SHA-256; the one CSV inside has a
header in some files only; times are microseconds since 2025 and milliseconds before, so each row is looked at;
rows may be doubled and unsorted. Blocking.
"""

import hashlib
import re
import zipfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

import attrs
import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from candled.errors import UserError
from candled.history import query
from candled.history.columns import PRICE, QUOTE_VOLUME, VOLUME
from candled.history.reader import open_memory_database

_NAME = re.compile(r"(?P<symbol>.+?)-(?P<kind>trades|aggTrades|1m)-(?P<date>\d{4}-\d\d(-\d\d)?)\.zip")
_CHUNK: Final = 1 << 20
_COPY: Final = "archive.csv"
_MINUTE: Final = 60_000_000
_MICROSECONDS_FROM: Final = 10**14
"""A time above this is in microseconds: as milliseconds it would lie in the year 5138."""


class ArchiveKind(Enum):
    """What the rows of an archive file are, as its name says."""

    TRADES = "trades"
    AGGREGATE_TRADES = "aggTrades"
    KLINES = "1m"


_COLUMNS: Final = {
    ArchiveKind.TRADES: {
        "first_id": "BIGINT",
        "price": "DECIMAL(18, 8)",
        "quantity": "{width}",
        "quote": "{width}",
        "raw_time": "BIGINT",
        "buyer_is_maker": "BOOLEAN",
        "best_match": "VARCHAR",
    },
    ArchiveKind.AGGREGATE_TRADES: {
        "aggregate_id": "BIGINT",
        "price": "DECIMAL(18, 8)",
        "quantity": "{width}",
        "first_id": "BIGINT",
        "last_id": "BIGINT",
        "raw_time": "BIGINT",
        "buyer_is_maker": "BOOLEAN",
        "best_match": "VARCHAR",
    },
    ArchiveKind.KLINES: {
        "raw_time": "BIGINT",
        "open": "DECIMAL(18, 8)",
        "high": "DECIMAL(18, 8)",
        "low": "DECIMAL(18, 8)",
        "close": "DECIMAL(18, 8)",
        "volume": "{width}",
        "raw_close_time": "BIGINT",
        "quote_volume": "{width}",
        "trade_count": "BIGINT",
        "taker_buy_volume": "{width}",
        "taker_buy_quote_volume": "{width}",
        "ignored": "VARCHAR",
    },
}

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
"""Minutes of an archive, oldest first. Ids are NULL in klines. ``exact``: every id from first to last is there,
and no sum depends on how an aggregate was filled."""


@attrs.frozen
class Archive:
    """One archive file by its name."""

    path: Path
    symbol: str
    kind: ArchiveKind
    date: str


def parse_archive(path: Path) -> Archive:
    """What the name of an archive file says.

    Raises:
        UserError: it is not the name of such a file.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise UserError(
            f"{path} is not named as the archive's files are: "
            "SYMBOL-trades-DATE.zip, SYMBOL-aggTrades-DATE.zip or SYMBOL-1m-DATE.zip"
        )
    return Archive(path, match["symbol"], ArchiveKind(match["kind"]), match["date"])


def check_archive(archive: Archive) -> bool:
    """Whether a checksum was there, and right.

    Raises:
        UserError: the file differs from its checksum, or is missing.
    """
    expected_path = archive.path.with_name(archive.path.name + ".CHECKSUM")
    if not archive.path.is_file():
        raise UserError(f"{archive.path} does not exist: give the path of an archive file")
    if not expected_path.is_file():
        return False
    digest = hashlib.sha256()
    with archive.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    expected = expected_path.read_text("ascii", "replace").split()
    if not expected or expected[0].lower() != digest.hexdigest():
        raise UserError(f"{archive.path} differs from its checksum: download it again")
    return True


def read_minutes(
    archive: Archive, staging: Path, unpacked: Callable[[int], None] = lambda _bytes: None
) -> pa.Table:
    """The archive's minutes, with the columns of ``MINUTES_SCHEMA``.

    Args:
        archive: The file.
        staging: An empty folder for the unpacked file and the database that reads it.
        unpacked: Told how many bytes of the archive are unpacked, again and again, and at last all.

    Raises:
        UserError: it cannot be unpacked or does not hold what its name says.
    """
    csv = staging / _COPY
    try:
        with archive.path.open("rb") as file, zipfile.ZipFile(file) as packed:
            [member] = packed.infolist()
            with packed.open(member) as source, csv.open("wb") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    unpacked(file.tell())
        unpacked(archive.path.stat().st_size)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise UserError(f"{archive.path} is not a whole archive file: download it again") from error
    connection = open_memory_database(temp_directory=str(staging / "spill"), memory_limit="1GB")
    try:
        return _read_csv(connection, archive, csv)
    except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.InvalidTypeException) as error:
        raise UserError(
            f"{archive.path} does not hold what its name says: {str(error).splitlines()[0]}"
        ) from error
    finally:
        connection.close()
        csv.unlink()


def _read_csv(connection: duckdb.DuckDBPyConnection, archive: Archive, csv: Path) -> pa.Table:
    with csv.open("rb") as file:
        header = not file.read(1).isdigit()
    try:
        # Numbers that fit 64 bits, as nearly all do, take half the time.
        return _aggregate(connection, archive.kind, _rows(archive.kind, csv, header, "DECIMAL(18, 8)"))
    except (duckdb.ConversionException, duckdb.InvalidInputException):
        return _aggregate(connection, archive.kind, _rows(archive.kind, csv, header, "DECIMAL(38, 8)"))


def _aggregate(connection: duckdb.DuckDBPyConnection, kind: ArchiveKind, rows: str) -> pa.Table:
    """Minutes straight from the file; only where its ids do not follow each other are rows made unique first."""
    if kind is not ArchiveKind.KLINES:
        minutes = connection.sql(_MINUTES[kind].format(rows=rows)).to_arrow_table()
        if pc.all(minutes.column("exact")).as_py() and pc.min(minutes.column("open_time")).as_py() is not None:
            return minutes.cast(MINUTES_SCHEMA)
    key = "raw_time" if kind is ArchiveKind.KLINES else "first_id"
    once = f"(SELECT * FROM {rows} WHERE {_REAL[kind]} QUALIFY row_number() OVER (PARTITION BY {key}) = 1)"
    return connection.sql(_MINUTES[kind].format(rows=once)).to_arrow_table().cast(MINUTES_SCHEMA)


def _rows(kind: ArchiveKind, csv: Path, header: bool, width: str) -> str:
    columns = ", ".join(f"{query.text(name)}: {query.text(sql)}" for name, sql in _COLUMNS[kind].items())
    return (
        f"(SELECT *, CASE WHEN raw_time >= {_MICROSECONDS_FROM} THEN raw_time ELSE raw_time * 1000 END AS time "
        f"FROM read_csv({query.text(str(csv))}, header = {str(header).lower()}, "
        f"columns = {{{columns.format(width=width)}}}, "
        "auto_detect = false, delim = ',', quote = '', escape = '', nullstr = '\\N', max_line_size = 1000))"
    )


_LAST_ID: Final = {ArchiveKind.TRADES: "first_id", ArchiveKind.AGGREGATE_TRADES: "last_id"}
# Price x quantity of an aggregate is one product; only where it needs no truncation is it the sum of its fills'.
_PRODUCT: Final = "price::DECIMAL(38, 8) * quantity::DECIMAL(38, 8)"
_QUOTE: Final = {
    ArchiveKind.TRADES: "quote",
    ArchiveKind.AGGREGATE_TRADES: f"trunc({_PRODUCT}, 8)::DECIMAL(38, 8)",
}
_EXACT: Final = {
    ArchiveKind.TRADES: "true",
    ArchiveKind.AGGREGATE_TRADES: f"first_id = last_id OR {_PRODUCT} = trunc({_PRODUCT}, 8)",
}
_REAL: Final = {
    ArchiveKind.TRADES: "price > 0 AND quantity > 0",
    ArchiveKind.AGGREGATE_TRADES: "price > 0 AND quantity > 0",
    ArchiveKind.KLINES: "true",
}


def _trade_minutes(kind: ArchiveKind) -> str:
    """Minutes of trades.

    Each id range contributes the hashes of its first id and of the one after its last. Where the ranges lie end to
    end, each id once, all of them cancel out but the two at the ends; the counts agree too.
    """
    last_id = _LAST_ID[kind]
    return f"""
SELECT make_timestamptz(time - time % {_MINUTE}) AS open_time,
       arg_min(price, first_id) AS open, max(price) AS high, min(price) AS low, arg_max(price, first_id) AS close,
       sum(quantity) AS volume, sum({_QUOTE[kind]}) AS quote_volume,
       sum({last_id} - first_id + 1)::BIGINT AS trade_count,
       coalesce(sum(quantity) FILTER (NOT buyer_is_maker), 0) AS taker_buy_volume,
       coalesce(sum({_QUOTE[kind]}) FILTER (NOT buyer_is_maker), 0) AS taker_buy_quote_volume,
       min(first_id) AS first_trade_id, max({last_id}) AS last_trade_id,
       sum({last_id} - first_id + 1) = max({last_id}) - min(first_id) + 1
           AND xor(bit_xor(hash(first_id)), bit_xor(hash({last_id} + 1)))
               = xor(hash(min(first_id)), hash(max({last_id}) + 1))
           AND bool_and({_EXACT[kind]}) AND min(price) > 0 AND min(quantity) > 0 AS exact
FROM {{rows}}
GROUP BY ALL ORDER BY open_time"""


_MINUTES: Final = {
    ArchiveKind.TRADES: _trade_minutes(ArchiveKind.TRADES),
    ArchiveKind.AGGREGATE_TRADES: _trade_minutes(ArchiveKind.AGGREGATE_TRADES),
    ArchiveKind.KLINES: """
SELECT make_timestamptz(time) AS open_time, open, high, low, close, volume, quote_volume, trade_count,
       taker_buy_volume, taker_buy_quote_volume,
       NULL::BIGINT AS first_trade_id, NULL::BIGINT AS last_trade_id, true AS exact
FROM {rows} ORDER BY time""",
}
