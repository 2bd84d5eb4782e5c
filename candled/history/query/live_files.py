"""A file system for DuckDB that has no files of its own: its patterns stand for the live files of a history.

DuckDB asks it for the files of a pattern when it plans a query, and reads the paths that it gets by itself. The
pattern ``candled://recent/17`` names a kind of file and the transaction of the query, so that all places of one
query see one listing, in which no file moves between kinds.

DuckDB buries an error that a file system raises in a traceback, with a class of its own. An error that a user can
act on is therefore returned as the name of a file that is not Parquet: DuckDB refuses to read it with
``InvalidInputException``, which names it.
"""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from fsspec import AbstractFileSystem

from candled.errors import UserError

Listing = dict[str, list[str]]
"""Paths of the live files by kind; of each kind at least one."""

_PROTOCOL: Final = "candled"
_QUERIES_AT_ONCE: Final = 64
"""Maximum number of queries planned concurrently on one connection and its cursors."""
_NAMED_ERROR: Final = re.compile(rf"{_PROTOCOL}://(\w+): (.*)'")


def pattern_of(kind: str) -> str:
    """Return the SQL of a pattern for the live files of a kind at the time of the query."""
    return f"'{_PROTOCOL}://{kind}/' || txid_current()"


def find_error(text: str) -> tuple[str, str] | None:
    """Return class and text of the error of a listing behind an error of DuckDB; None: it has another cause."""
    found = _NAMED_ERROR.search(text)
    return (found[1], found[2]) if found else None


class LiveFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Lists live files, once for each query. Threads may share it."""

    protocol = _PROTOCOL
    cachable = False  # each connection has its own

    def __init__(self, list_files: Callable[[], Listing]) -> None:
        super().__init__()
        self._list = lru_cache(maxsize=_QUERIES_AT_ONCE)(lambda _transaction: list_files())

    def glob(self, path: str) -> list[str]:
        """Return the files of a pattern, or the name of one that says why there are none."""
        kind, transaction = path.removeprefix(f"{_PROTOCOL}://").split("/")
        try:
            return self._list(transaction)[kind]
        except (UserError, OSError, KeyboardInterrupt) as error:
            return [f"{_PROTOCOL}://{type(error).__name__}: {error}".replace("\n", " ")]

    def unstrip_protocol(self, name: str) -> str:
        """Return a path as it is: the files are on local disk."""
        return name

    def open(self, _path: str, _mode: str) -> io.BytesIO:
        """Return the content of a file that is named like an error: none, which is not Parquet."""
        return io.BytesIO()

    def size(self, _path: str) -> int:
        """Return the size of a file that is named like an error."""
        return 0

    def modified(self, _path: str) -> datetime:
        """Return when a file that is named like an error was changed: always the same, since it never is."""
        return datetime(1970, 1, 1, tzinfo=UTC)
