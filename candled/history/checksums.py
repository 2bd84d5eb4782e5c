"""Verify that a file is what was written, by the CRC-32 in its name.

The whole file is covered, its footer too, which Parquet's page checksums leave out. DuckDB verifies neither, so
every file is verified here before DuckDB reads it. A file is read once, and again only after its inode shows that
it changed.
"""

import errno
import os
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

_THREADS: Final = min(4, os.cpu_count() or 1)
"""Reading and CRC-32 both release the interpreter's lock."""
_DISK_ERRORS: Final = frozenset({errno.EIO, errno.EBADMSG})
"""The disk or its file system cannot read the content."""


def checksum(content: bytes | memoryview) -> int:
    """Return the CRC-32 of a file's content."""
    return zlib.crc32(content)


class FileChecks:
    """Caches which files are verified. Threads may share it."""

    def __init__(self) -> None:
        self._whole: dict[Path, tuple[int, int, int, int]] = {}

    def find_damaged(self, files: Iterable[tuple[Path, int | None]], *, again: bool = False) -> list[Path]:
        """Return the files whose content does not match their checksum.

        Args:
            files: Paths, each with the checksum in its name.
            again: Verify files again that were verified before.

        Raises:
            FileNotFoundError: a file does not exist.
            OSError: the system refuses for a reason that is not the file's.
        """
        unknown = [file for file in files if again or not self._is_known(file[0])]
        if len(unknown) <= 1:
            return [path for path, expected in unknown if not self._is_whole(path, expected)]
        with ThreadPoolExecutor(_THREADS) as pool:
            whole = list(pool.map(lambda file: self._is_whole(*file), unknown))
        return [path for (path, _), is_whole in zip(unknown, whole, strict=True) if not is_whole]

    def _is_known(self, path: Path) -> bool:
        return path in self._whole and self._whole[path] == _state(path)

    def _is_whole(self, path: Path, expected: int | None) -> bool:
        state = _state(path)
        self._whole.pop(path, None)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _DISK_ERRORS:
                return False
            raise
        if expected is None or checksum(content) != expected:
            return False
        self._whole[path] = state
        return True


def _state(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
