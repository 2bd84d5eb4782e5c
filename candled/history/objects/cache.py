"""A read-through cache of a stored history on local disk, shared by processes. Blocking.

Objects are immutable, so nothing in the cache ever becomes stale. A file is verified, written under a temporary
name of its own, and renamed: two processes that fetch the same one do the work twice and end with the same file;
a kill leaves a temporary file, which a later process removes. A file's modification time is when it was last
listed for a query. The least recently used ones are removed beyond the size limit, but none that was used within
the last minutes, since a query may be about to open it.
"""

import os
import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import duckdb

from candled.history.checksums import checksum
from candled.history.directory import EMPTY, RECENT, sealed_folder
from candled.history.errors import DamagedFileError
from candled.history.objects.bucket import Bucket, home_folder
from candled.history.objects.empty_files import add_empty_files
from candled.history.objects.errors import ObjectStoreError
from candled.history.objects.keys import key_of
from candled.history.objects.restoring import LISTINGS_MAX, list_files, read_history_identity, select_live
from candled.history.query.connect import Source, connect_source
from candled.history.segments import paths
from candled.history.segments.names import Recent, Segment

DEFAULT_BYTES: Final = 10_000_000_000
_PART: Final = ".part"
_FETCHES_AT_ONCE: Final = 8
_IN_USE_SECONDS: Final = 900.0
"""Seconds that a listed file is not removed: more than the longest query takes."""
_UNFINISHED_SECONDS: Final = 3600.0
"""Age at which a temporary file belongs to no living process."""


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where caches of stored histories are, as the desktop's rules say."""
    return Path(environment.get("XDG_CACHE_HOME") or home_folder() / ".cache") / "candled"


class HistoryCache:
    """The files of one stored history, as far as they were read."""

    def __init__(self, bucket: Bucket, folder: Path | None = None, bytes_max: int = DEFAULT_BYTES) -> None:
        """Find out which history the store holds, and open its cache.

        Args:
            bucket: The stored history.
            folder: Where caches are; each history has its own folder in it.
            bytes_max: Size beyond which files that no query used lately are removed, all histories together.

        Raises:
            ObjectStoreError: the store does not answer, or holds no history.
            OtherHistoryError: it was written by another version.
        """
        identity = read_history_identity(bucket)
        if identity is None:
            raise ObjectStoreError(
                f"There is no history in {bucket.url}: give the URL that `candled run --history-url` writes to."
            )
        self.identity = identity
        self.bucket = bucket
        self._folder = (folder or default_folder()).absolute()
        self._bytes_max = bytes_max
        self.root = self._folder / identity.history_id
        """A folder with the paths of a data directory."""
        try:
            sealed_folder(self.root).mkdir(parents=True, exist_ok=True)
            (self.root / RECENT).mkdir(exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def live_files(
        self, symbols: Collection[str] | None = None, since: int | None = None
    ) -> dict[str, list[Path]]:
        """List the store, fetch what the cache lacks, and return the paths of the live files.

        Args:
            symbols: Sealed files of these symbols only; None: all.
            since: Sealed files with bars from this time on only, microseconds; the last one of each symbol always.

        Returns:
            ``sealed``; ``recent``; ``newest``, the last sealed file of each symbol.

        Raises:
            ObjectStoreError: the store does not answer.
            DamagedFileError: an object is not what its name says.
        """
        for _ in range(LISTINGS_MAX):
            sealed, recent, newest = _wanted(select_live(list_files(self.bucket)), symbols, since)
            if self.fetch([*sealed, *recent]):
                break
        else:
            raise ObjectStoreError(f"Objects that {self.bucket.url} lists cannot be read: they do not exist.")
        return {**self.listing([*sealed, *recent]), "newest": [self._path(file) for file in newest]}

    def listing(self, files: Sequence[Segment | Recent]) -> dict[str, list[Path]]:
        """Return the paths of files that are in the cache: ``sealed`` and ``recent``."""
        sealed = [self._path(file) for file in files if isinstance(file, Segment)]
        recent = [self._path(file) for file in files if isinstance(file, Recent)]
        if not (sealed and recent):
            add_empty_files(self.root, next(iter((*sealed, *recent)), None), self._write)
        return {"sealed": sealed, "recent": recent}

    def add(self, file: Segment | Recent, content: bytes) -> None:
        """Put a verified file into the cache.

        Raises:
            ObjectStoreError: the cache cannot be written to.
        """
        if not self._touch(file):
            self._write(self._path(file), content)

    def fetch(self, files: Iterable[Segment | Recent]) -> bool:
        """Make sure that files are in the cache; return False if some are not in the store any more.

        Raises:
            ObjectStoreError: the store does not answer.
            DamagedFileError: an object is not what its name says.
        """
        missing = [file for file in files if not self._touch(file)]
        if not missing:
            return True
        with ThreadPoolExecutor(_FETCHES_AT_ONCE) as pool:
            found = list(pool.map(self._fetch, missing))
        self._shrink()
        return all(found)

    def remove(self, damaged: Iterable[Path]) -> None:
        """Remove files that the local disk has damaged: the next listing fetches them again."""
        for path in damaged:
            path.unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes | memoryview) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_PART}")
        try:
            part.write_bytes(content)
            part.rename(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ObjectStoreError:
        return ObjectStoreError(
            f"The cache {self._folder} cannot be written to ({error.strerror}): make room, or name another folder "
            "with --cache-dir."
        )

    def _path(self, file: Segment | Recent) -> Path:
        return paths.file_path(self.root, file)

    def _touch(self, file: Segment | Recent) -> bool:
        """Note that a file is used; return False if it is not there."""
        try:
            os.utime(self._path(file))
        except FileNotFoundError:
            return False
        except PermissionError:  # a cache that is shared by users: its owner's notes count
            return True
        return True

    def _fetch(self, file: Segment | Recent) -> bool:
        content = self.bucket.get(key_of(file))
        if content is None:
            return False
        if checksum(content) != file.checksum:
            raise DamagedFileError(
                f"Object {key_of(file)} in {self.bucket.url} is damaged, not what the checksum in its name says: "
                "`candled repair --history` sets it aside, and the daemon that writes this history puts it again."
            )
        self._write(self._path(file), content)
        return True

    def _shrink(self) -> None:
        """Remove what was not used for longest until the size is below the limit, and unfinished files."""
        now = time.time()
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.rglob("*.par*"):
            with suppress(FileNotFoundError):  # another process is faster
                state = path.stat()
                if path.name.endswith(_PART):
                    if state.st_mtime < now - _UNFINISHED_SECONDS:
                        path.unlink()
                    continue
                if EMPTY not in path.parts:
                    found.append((state.st_mtime, state.st_size, path))
        size = sum(each[1] for each in found)
        for used, length, path in sorted(found):
            if size <= self._bytes_max or used > now - _IN_USE_SECONDS:
                return
            path.unlink(missing_ok=True)
            size -= length


def _wanted(
    live: Iterable[Segment | Recent], symbols: Collection[str] | None, since: int | None
) -> tuple[list[Segment], list[Recent], list[Segment]]:
    """Return the live files that a query may need: sealed, recent, and the last sealed one of each symbol."""
    files = list(live)
    segments = [s for s in files if isinstance(s, Segment) and (symbols is None or s.symbol in symbols)]
    newest = {segment.symbol: segment for segment in segments}
    sealed = [s for s in segments if since is None or s.end > since or newest[s.symbol] == s]
    return sealed, [file for file in files if isinstance(file, Recent)], list(newest.values())


def connect_cache(
    cache: HistoryCache, *, symbols: Collection[str] | None, since: int | None, check: bool
) -> duckdb.DuckDBPyConnection:
    """Open a connection to a stored history; see ``candled.history.connect``."""
    return connect_source(Source(cache.root, lambda: cache.live_files(symbols, since), cache.remove), check=check)
