"""What can go wrong with a data directory, in sentences for its owner."""

import errno
from pathlib import Path

from candled.errors import UserError


class DataDirectoryError(UserError):
    """The data directory cannot be used as it is; the text says what to change."""


def not_writable(path: Path, error: OSError) -> DataDirectoryError:
    """The error for a data directory that the system refuses to change."""
    remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
    return DataDirectoryError(f"cannot write to {path} ({error.strerror}): {remedy}")
