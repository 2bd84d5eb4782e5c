"""What DuckDB gets where a query names the live files of a history."""

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import duckdb
import pytest

from candled.errors import UserError
from candled.history.database import open_memory_database
from candled.history.errors import DamagedFileError
from candled.history.query.live_files import Listing, LiveFiles, find_error, pattern_of

BOTH = f"FROM read_parquet({pattern_of('recent')}) UNION ALL FROM read_parquet({pattern_of('sealed')})"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_memory_database() as opened:
        yield opened


def numbered(folder: Path, number: int) -> str:
    """Write a file with one number."""
    path = folder / f"{number}.parquet"
    duckdb.sql(f"COPY (SELECT {number} AS number) TO '{path}'")
    return str(path)


def test_places_of_a_query_see_one_listing(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """A file that moves from one kind to another is in one place of each query, in cursors and threads as well."""
    files = [numbered(tmp_path, 0), numbered(tmp_path, 1)]
    listings = count()

    def list_files() -> Listing:
        turn = next(listings) % 2
        return {"recent": [files[turn]], "sealed": [files[1 - turn]]}

    connection.register_filesystem(LiveFiles(list_files))
    found: list[list[tuple[int]]] = []

    def query() -> None:
        with connection.cursor() as cursor:
            found.extend(sorted(cursor.execute(BOTH).fetchall()) for _ in range(5))

    threads = [threading.Thread(target=query) for _ in range(3)]
    for thread in threads:
        thread.start()
    query()
    for thread in threads:
        thread.join()
    assert found == [[(0,), (1,)]] * 20
    assert next(listings) == 20


@pytest.mark.parametrize("character", ["*", "[a]", "?", "'", '"', "%41", "=", "币"])
def test_paths_are_no_patterns(connection: duckdb.DuckDBPyConnection, tmp_path: Path, character: str) -> None:
    """A path is opened as it is, whatever characters it has."""
    folder = tmp_path / f"x{character}y"
    folder.mkdir()
    path = Path(numbered(tmp_path, 7)).rename(folder / "file.parquet")
    connection.register_filesystem(LiveFiles(lambda: {"recent": [str(path)]}))
    assert connection.execute(f"SELECT number FROM read_parquet({pattern_of('recent')})").fetchall() == [(7,)]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DamagedFileError("File /a/interval=1m/b [1].parquet is damaged."), None),
        (DamagedFileError("It's damaged: start the daemon, or call `candled 'repair'`."), None),
        (UserError('Cannot list s3://b/100%?x="1".gz\nNo answer.'), 'Cannot list s3://b/100%?x="1".gz No answer.'),
        (PermissionError(13, "Permission denied"), "[Errno 13] Permission denied"),
        (KeyboardInterrupt(), ""),
    ],
    ids=["path", "quotes", "lines", "system", "interrupt"],
)  # fmt: skip
def test_an_error_is_that_of_a_file(
    connection: duckdb.DuckDBPyConnection, error: BaseException, text: str | None
) -> None:
    """An error of a listing ends the query with its class and text; the next query lists again."""

    def list_files() -> Listing:
        raise error

    connection.register_filesystem(LiveFiles(list_files))
    for _ in range(2):
        with pytest.raises(duckdb.InvalidInputException) as raised:
            connection.execute(BOTH)
        assert find_error(str(raised.value)) == (type(error).__name__, str(error) if text is None else text)


def test_other_errors_of_duckdb_are_none_of_a_listing(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.InvalidInputException) as raised:
        connection.execute("SELECT error('ObjectStoreError: away')")
    assert find_error(str(raised.value)) is None
