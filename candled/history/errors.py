"""Errors of a data directory, as sentences for its user."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from candled.errors import UserError

_REMEDIES: Final = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.ENOENT: "make it writable",
    errno.EROFS: "mount the volume for writing",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.EIO: "the disk or its file system fails, check it",
}
"""Remedies for errors of the system."""


class DataDirectoryError(UserError):
    """The data directory cannot be used as it is; the text says what to change."""


class DamagedFileError(UserError):
    """A reader found damaged files; the text names the first one and the remedy."""

    def __init__(self, text: str, paths: Sequence[Path] = ()) -> None:
        super().__init__(text)
        self.paths = paths


def not_writable(path: Path, error: OSError) -> DataDirectoryError:
    """Build the error for a data directory that the system refuses to change."""
    remedy = _REMEDIES.get(error.errno or 0, "see why the system refuses it")
    return DataDirectoryError(f"Cannot write to {path} ({error.strerror}): {remedy}.")
