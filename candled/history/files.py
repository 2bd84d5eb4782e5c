"""Every step that changes the data directory, one method each, so that tests can cut off any of them."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".tmp"
"""Ending of files that are not finished: whoever finds one at start removes it."""


class Files:
    """The real file system. A file appears whole, by rename, or not at all; none is ever replaced in place."""

    def publish(self, path: Path, fill: Callable[[Path], None]) -> None:
        """Make the file ``path``: ``fill`` writes it under a temporary name; durable when this returns.

        Raises:
            OSError: as the system calls do; the temporary file is removed if that is possible.
        """
        self.make_folder(path.parent)
        temporary = path.with_name(path.name + TEMPORARY)
        try:
            fill(temporary)
            self.sync(temporary)
            self.rename(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self.sync_folder(path.parent)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files; one that is gone already does not matter."""
        for path in paths:
            self.unlink(path)

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it, durably."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_folder(path.parent)

    def sync(self, path: Path) -> None:
        """Put a file's content on the disk."""
        _sync(path, os.O_RDONLY)

    def sync_folder(self, path: Path) -> None:
        """Put a folder's entries on the disk."""
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within the data directory."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove one file if it is there."""
        path.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
