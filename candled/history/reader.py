"""Reading a data directory from anywhere, also while the daemon writes: sealed and recent files as one view."""

import atexit
import os
import urllib.parse
import weakref
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import duckdb

from candled.history import query
from candled.history.directory import EMPTY, FORMAT, RECENT, read_identity, sealed_folder
from candled.history.errors import DataDirectoryError
from candled.history.names import Recent, Segment, live_recents, live_segments, parse_recent, parse_segment

NO_EXTENSIONS: Final = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_SYMBOL_FOLDER: Final = "symbol="
_QUERIES_AT_ONCE: Final = 64
"""Queries of one connection and its cursors that may be planned at the same time."""


def connect(data_dir: Path | str) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection, in UTC, with the view ``bars``: one row per closed bar, newest revision, all intervals.

    Every query sees the files that are there when it begins; neither the daemon nor its journal is touched. The
    view ``minutes`` holds the stored 1-minute rows with ``position`` and ``previous_trade_id`` besides. The table
    macro ``bars_between(interval, since, until)`` gives the bars of one interval with ``since <= open_time <
    until``: in a long history it reads only the files of that time, for longer intervals too.

    Raises:
        DataDirectoryError: there are no bars of candled, or they are in the format of another version.
    """
    root = Path(data_dir).absolute()
    check_readable(root)
    connection = open_memory_database()

    @lru_cache(maxsize=_QUERIES_AT_ONCE)
    def listing(_transaction: int) -> dict[str, list[str]]:
        return list_directory(root)

    def files(kind: str, transaction: int) -> list[str]:
        return listing(transaction)[kind]

    # DuckDB evaluates the function for each place that names it when it plans a query. The transaction tells one
    # query from another: all places of one see the same listing, in which no file moves from one kind to another.
    connection.create_function("candled_files", files, ["VARCHAR", "UBIGINT"], "VARCHAR[]")
    recent = query.recent_rows("candled_files('recent', txid_current())")
    minutes = query.minutes(query.sealed_rows("candled_files('sealed', txid_current())"), recent)
    last = query.sealed_rows("candled_files('newest', txid_current())")
    newest = query.newest_minutes(f"{recent} UNION ALL {last}")
    connection.execute(f"CREATE VIEW minutes AS {minutes}")
    connection.execute(f"CREATE VIEW bars AS {query.all_bars('FROM minutes', newest)}")
    connection.execute(query.bars_between("FROM minutes", newest))
    # DuckDB borrows the function: a cursor may outlive the connection, and then needs it still.
    atexit.register(_close, weakref.ref(connection), files)
    return connection


def check_readable(root: Path) -> None:
    """See that a folder is a data directory whose files can be read as they are.

    Raises:
        DataDirectoryError: it is none, is of another version's format, or its making was never finished.
    """
    identity = read_identity(root)
    if identity is None:
        raise DataDirectoryError(
            f"{root} is not a candled data directory: give the one that `candled run` or `candled import` has made"
        )
    if identity["format"] < FORMAT:
        raise DataDirectoryError(
            f"{root} has format {identity['format']}, which is older than this candled's {FORMAT}: "
            "start the daemon on it once, which brings it up to date"
        )
    if not (empty_recent(root).exists() and empty_segment(root).exists()):
        raise DataDirectoryError(
            f"{root} lacks files that every data directory has: if a daemon is just starting on it, try again in "
            "a second; if none is, start one"
        )


def open_memory_database(**settings: str) -> duckdb.DuckDBPyConnection:
    """An empty DuckDB in UTC that loads nothing from elsewhere and keeps what it knows of immutable files."""
    connection = duckdb.connect(config={**NO_EXTENSIONS, **settings})
    # Global: cursors are connections of their own, and months begin at midnight in UTC for them too.
    connection.execute("SET GLOBAL TimeZone = 'UTC'; SET GLOBAL parquet_metadata_cache = true")
    return connection


def list_directory(root: Path) -> dict[str, list[str]]:
    """Paths of the files that count: ``sealed``, ``recent``, and ``newest``, the last sealed one of each symbol.

    An empty file stands in where there are none, since DuckDB wants one to know the columns.
    """
    recent = [escape(str(recent_path(root, recent))) for recent in live_recents(find_recents(root))]
    sealed: list[str] = []
    newest: list[str] = []
    for symbol in find_symbols(root):
        folder = escape(str(symbol_folder(root, symbol)))
        live = [f"{folder}/{segment.name}" for segment in live_segments(find_symbol_segments(root, symbol))]
        sealed += live
        newest += live[-1:]
    nothing_sealed = [escape(str(empty_segment(root)))]
    return {
        "recent": recent or [escape(str(empty_recent(root)))],
        "sealed": sealed or nothing_sealed,
        "newest": newest or nothing_sealed,
    }


def find_recents(root: Path) -> Iterator[Recent]:
    """Recent files by name, superseded ones too."""
    for name in _names(root / RECENT):
        recent = parse_recent(name)
        if recent is not None:
            yield recent


def find_segments(root: Path) -> Iterator[Segment]:
    """Sealed files by name, superseded ones too."""
    for symbol in find_symbols(root):
        yield from find_symbol_segments(root, symbol)


def find_symbols(root: Path) -> Iterator[str]:
    """Symbols that have a folder of sealed files."""
    for name in _names(sealed_folder(root)):
        if name.startswith(_SYMBOL_FOLDER):
            yield urllib.parse.unquote(name.removeprefix(_SYMBOL_FOLDER))


def find_symbol_segments(root: Path, symbol: str) -> Iterator[Segment]:
    """One symbol's sealed files by name, superseded ones too."""
    for name in _names(symbol_folder(root, symbol)):
        segment = parse_segment(symbol, name)
        if segment is not None:
            yield segment


def symbol_folder(root: Path, symbol: str) -> Path:
    """Where one symbol's sealed files stand; a symbol may hold any character."""
    return sealed_folder(root) / (_SYMBOL_FOLDER + urllib.parse.quote(symbol, safe=""))


def segment_path(root: Path, segment: Segment) -> Path:
    """Where that sealed file stands."""
    return symbol_folder(root, segment.symbol) / segment.name


def recent_path(root: Path, recent: Recent) -> Path:
    """Where that recent file stands."""
    return root / RECENT / recent.name


def empty_recent(root: Path) -> Path:
    """The file without rows that stands in for recent files."""
    return root / EMPTY / "recent.parquet"


def empty_segment(root: Path) -> Path:
    """The file without rows that stands in for sealed files."""
    return root / EMPTY / "interval=1m" / "symbol=none" / "bars.parquet"


def escape(path: str) -> str:
    """A path as a pattern that matches it alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


def _close(
    reference: "weakref.ref[duckdb.DuckDBPyConnection]", _borrowed: Callable[[str, int], list[str]]
) -> None:
    # A connection with a function of ours that is still open at exit makes DuckDB complain of leaks.
    connection = reference()
    if connection is not None:
        connection.close()
