"""Read a data directory from any process, even while the daemon writes: sealed and recent files as one view."""

from collections.abc import Callable, Collection
from pathlib import Path

import attrs
import duckdb

from candled.history import sql
from candled.history.checksums import FileChecks
from candled.history.database import open_memory_database
from candled.history.directory import FORMAT, read_identity
from candled.history.errors import DamagedFileError, DataDirectoryError
from candled.history.query.live_files import Listing, LiveFiles, pattern_of
from candled.history.segments.names import checksum_in
from candled.history.segments.paths import empty_recent, empty_segment, list_directory


@attrs.frozen
class Source:
    """Where the files of a connection are."""

    root: Path
    """A data directory, or a folder like one."""
    live_files: Callable[[], dict[str, list[Path]]]
    """Returns the live files by kind, as ``list_directory``."""
    remove_damaged: Callable[[Collection[Path]], None] | None = None
    """Removes copies that are damaged, so that the next list has whole ones; None: they are no copies."""


def connect(
    data_dir: Path | str, *, symbols: Collection[str] | None = None, check: bool = True
) -> duckdb.DuckDBPyConnection:
    """Open a connection to a data directory; see ``candled.history.connect``.

    Raises:
        DataDirectoryError: it is not a data directory, or has the format of another version.
    """
    root = Path(data_dir).absolute()
    check_readable(root)
    return connect_source(Source(root, lambda: list_directory(root, symbols)), check=check)


def connect_source(source: Source, *, check: bool = True) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB connection with the views over the files of a source, listed again at each query."""
    connection = open_memory_database()
    checks = FileChecks()

    def list_files() -> Listing:
        found = _checked(source, checks) if check else source.live_files()
        # Without files an empty one is listed, since DuckDB needs one to know the columns.
        empties = {"recent": empty_recent, "sealed": empty_segment, "newest": empty_segment}
        return {kind: [str(path) for path in found[kind] or [empties[kind](source.root)]] for kind in found}

    # Of a store elsewhere one listing is enough for all statements here; its errors are raised as they are.
    at_first = [] if source.remove_damaged is None else [list_files()]
    connection.register_filesystem(LiveFiles(lambda: at_first[0] if at_first else list_files()))
    recent = sql.recent_rows(pattern_of("recent"))
    minutes = sql.minutes(sql.sealed_rows(pattern_of("sealed")), recent)
    last = sql.sealed_rows(pattern_of("newest"))
    newest = sql.newest_minutes(f"{recent} UNION ALL {last}")
    connection.execute(f"CREATE VIEW minutes AS {minutes}")
    connection.execute(f"CREATE VIEW bars AS {sql.all_bars('FROM minutes', newest)}")
    connection.execute(sql.bars_between("FROM minutes", newest))
    at_first.clear()
    return connection


def _checked(source: Source, checks: FileChecks) -> dict[str, list[Path]]:
    """Return the live files of a source after checking them; copies that are damaged are fetched again, once."""
    found = source.live_files()
    try:
        _check_files([*found["recent"], *found["sealed"]], checks)
    except DamagedFileError as error:
        if source.remove_damaged is None:
            raise
        source.remove_damaged(error.paths)
        found = source.live_files()
        _check_files([*found["recent"], *found["sealed"]], checks)
    return found


def _check_files(files: Collection[Path], checks: FileChecks) -> None:
    present = [(path, checksum_in(path.name)) for path in files if path.exists()]
    damaged = checks.find_damaged(present)
    if damaged:
        more = f" and {len(damaged) - 1} more files are" if len(damaged) > 1 else " is"
        raise DamagedFileError(
            f"{damaged[0]}{more} damaged, not what the checksum in the name says: start the daemon, which sets it "
            "aside and fetches its minutes again, or call `candled repair`.",
            damaged,
        )


def check_readable(root: Path) -> None:
    """Check that a folder is a data directory whose files are readable in this version.

    Raises:
        DataDirectoryError: it is not one, has another version's format, or was never completely created.
    """
    identity = read_identity(root)
    if identity is None:
        raise DataDirectoryError(
            f"Directory {root} is not a candled data directory: give the one that `candled run` or "
            "`candled import` has made."
        )
    if identity["format"] < FORMAT:
        raise DataDirectoryError(
            f"Directory {root} has format {identity['format']}, which is older than this candled's {FORMAT}: "
            "start the daemon on it once, which brings it up to date."
        )
    if not (empty_recent(root).exists() and empty_segment(root).exists()):
        raise DataDirectoryError(
            f"Directory {root} lacks files that every data directory has: if a daemon is just starting on it, try "
            "again in a second; if none is, start one."
        )
