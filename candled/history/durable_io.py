"""File operations that change the data directory, one method each.

The seam to the storage: tests pass one that fails or stops at any step. An object store needs ``publish`` (put if
absent) and ``remove`` for Parquet files; the other methods serve the journal, which stays local.

Files and folders are readable by their owner and its group only, and writable by the owner only, as under a umask
of 027, whatever the umask of the process.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".tmp"
"""Suffix of unfinished files: the next start removes them."""
FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750


class Files:
    """The real file system. A file appears complete, by rename, or not at all; none is replaced in place."""

    def publish(self, path: Path, content: bytes | memoryview) -> None:
        """Write the file ``path`` under a temporary name, then rename it; durable when this returns.

        Raises:
            OSError: from the system calls; the temporary file is removed if possible.
        """
        self.make_folder(path.parent)
        temporary = path.with_name(path.name + TEMPORARY)
        try:
            self.write(temporary, content)
            self.sync(temporary)
            self.rename(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self.sync_folder(path.parent)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files; missing ones are ignored."""
        for path in paths:
            self.unlink(path)

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents, durably."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(FOLDER_MODE, exist_ok=True)
        self.sync_folder(path.parent)

    def write(self, path: Path, content: bytes | memoryview) -> None:
        """Write a file, replacing a leftover of that name."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)

    def sync(self, path: Path) -> None:
        """Sync a file's content to the disk."""
        _sync(path, os.O_RDONLY)

    def sync_folder(self, path: Path) -> None:
        """Sync a folder's entries to the disk."""
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within the data directory."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove one file if it exists."""
        path.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
