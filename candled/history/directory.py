"""The data directory: its lock, the identity of its bars, and the number of this opening."""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from candled.history.durable_io import FILE_MODE, FOLDER_MODE, TEMPORARY, Files
from candled.history.errors import DataDirectoryError, not_writable
from candled.history.migrations import name_checksums

FORMAT: Final = 2
"""Version of the layout that this code writes and reads."""

Migration = Callable[[Path, Files], None]
"""Migrates a data directory to the next format. It may be interrupted anywhere, and is then called again."""

MIGRATIONS: Final[Mapping[int, Migration]] = {1: name_checksums}
"""By source format."""

IDENTITY: Final = "candled.json"
LOCK: Final = "candled.lock"
JOURNAL: Final = "candled.duckdb"
SEALED: Final = "bars"
RECENT: Final = "recent"
EMPTY: Final = "empty"
SET_ASIDE: Final = "set-aside"
UNFILLABLE: Final = "unfillable.json"
LOST: Final = "lost.json"
HISTORY_ID: Final = re.compile("[0-9a-f]{16}")
"""Form of the identity of a history."""

_OURS: Final = frozenset({IDENTITY, LOCK, JOURNAL, SEALED, RECENT, EMPTY, SET_ASIDE, UNFILLABLE, LOST})
_UMASK: Final = 0o777 & ~FOLDER_MODE
_ANYWHERE: Final = frozenset({"lost+found"})
_PID_BYTES: Final = 40


@attrs.frozen
class Directory:
    """A data directory locked by this process."""

    path: Path
    exchange: str
    """Identity of the exchange whose bars it holds."""
    epoch: int
    """Number of this opening: rises by one each time, durable before any other write."""
    found_identity: bool
    """False in a new directory, and if the identity file was lost or damaged."""
    history_id: str
    """16 random hexadecimal digits, generated with the directory and never changed; resume tokens carry it."""

    @property
    def journal(self) -> Path:
        """The daemon's own database file."""
        return self.path / JOURNAL

    def set_aside(self, path: Path, files: Files) -> Path:
        """Move an unusable file out of the way; return its new path."""
        target = self.path / SET_ASIDE / f"{self.epoch}-{path.name}"
        number = 1
        while target.exists():
            number += 1
            target = self.path / SET_ASIDE / f"{self.epoch}-{number}-{path.name}"
        files.make_folder(target.parent)
        files.rename(path, target)
        return target


def set_aside(directory: Directory, paths: Iterable[Path], reason: str, files: Files) -> None:
    """Move unusable files out of the way, and log it."""
    import structlog  # not before it is needed: who only reads a directory logs nothing

    log = structlog.get_logger(__name__)
    for path in paths:
        if not path.exists():
            log.warning("file is gone", file=str(path))
            continue
        target = directory.set_aside(path, files)
        log.warning("file set aside", file=str(path), now_at=str(target), reason=reason)


def sealed_folder(path: Path) -> Path:
    """Return the folder of the sealed 1-minute bars of a data directory."""
    return path / SEALED / "interval=1m"


def is_data_directory(path: Path) -> bool:
    """Return whether a path has any of candled's files, even damaged ones."""
    return any((path / name).exists() for name in _OURS)


def read_identity(path: Path) -> dict[str, Any] | None:
    """Read the identity file of a data directory; None if there is none or it is damaged.

    Raises:
        DataDirectoryError: written by a newer candled.
    """
    try:
        identity = json.loads((path / IDENTITY).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(identity, dict) or not isinstance(identity.get("format"), int):
        return None
    if identity["format"] > FORMAT:
        raise DataDirectoryError(
            f"Directory {path} has format {identity['format']} and this candled knows formats up to {FORMAT}: "
            "use a newer candled, or another data directory."
        )
    return identity


@contextmanager
def hold_directory(path: Path, *, exchange: str, files: Files) -> Iterator[Directory]:
    """Lock a data directory for this process, creating it if needed and migrating an older format.

    Args:
        path: The data directory.
        exchange: Identity of the exchange whose bars it holds; empty: any.
        files: File operations.

    Raises:
        DataDirectoryError: not writable, held by another process, of another exchange, of a newer format, or
            not a data directory.
    """
    with lock_directory(path, files):
        identity = read_identity(path)
        if identity is not None:
            _check_exchange(path, identity.get("exchange", ""), exchange)
        known = identity or {"exchange": exchange, "epoch": 0, "format": FORMAT}
        directory = Directory(
            path,
            known["exchange"] or exchange,
            int(known["epoch"]) + 1,
            found_identity=identity is not None,
            history_id=_history_id(known.get("id")),
        )
        try:
            if identity is None and (path / IDENTITY).exists():
                directory.set_aside(path / IDENTITY, files)
            for version in range(known["format"], FORMAT):
                MIGRATIONS[version](path, files)
            _write_identity(directory, files)
        except OSError as error:
            raise not_writable(path, error) from error
        yield directory


@contextmanager
def lock_directory(path: Path, files: Files) -> Iterator[None]:
    """Lock a folder that is a data directory or may become one, creating it if needed.

    Args:
        path: The folder.
        files: File operations.

    Raises:
        DataDirectoryError: not writable, held by another process, or a folder of other files.
    """
    if "?" in str(path.absolute()):
        raise DataDirectoryError(
            f"The path {path.absolute()} must not hold a question mark: use another data directory."
        )
    if path.exists() and not path.is_dir():
        raise DataDirectoryError(f"The path {path} is a file, not a folder: give a folder as data directory.")
    try:
        files.make_folder(path.absolute())
        names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
        if names and not names & _OURS and not names <= _ANYWHERE:
            raise DataDirectoryError(
                f"Directory {path} holds other files: give an empty or a new folder as data directory."
            )
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise not_writable(path, error) from error
    # DuckDB creates the journal's and its spill files itself: the umask applies to them too.
    umask = os.umask(_UMASK)
    try:
        os.umask(umask | _UMASK)
        _lock(lock, path)
        yield
    finally:
        os.umask(umask)
        os.close(lock)


def write_restored_identity(path: Path, exchange: str, epoch: int, history_id: str, files: Files) -> None:
    """Make a folder of restored files a data directory; the next opening has the number ``epoch + 1``.

    Raises:
        OSError: the disk does not take it.
    """
    directory = Directory(path, exchange, epoch, found_identity=True, history_id=history_id)
    _write_identity(directory, files)


def is_held(path: Path) -> bool:
    """Return whether a process holds the data directory now."""
    try:
        lock = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a volume without locks, where no process can hold it
        return False
    finally:
        os.close(lock)
    return False


def check_not_held(path: Path) -> None:
    """Refuse a data directory that another process holds, before any other work.

    Raises:
        DataDirectoryError: it is held; the text names the process.
    """
    try:
        held = is_held(path)
    except OSError:  # opening the directory reports the problem
        return
    if held:
        raise _held(path, (path / LOCK).read_bytes()[:_PID_BYTES])


def raise_epoch(directory: Directory, minimum: int, files: Files) -> Directory:
    """Give this opening a number of at least ``minimum``, durably: for a directory that lost its identity file.

    Raises:
        OSError: the disk does not take it.
    """
    if directory.epoch >= minimum:
        return directory
    raised = attrs.evolve(directory, epoch=minimum)
    _write_identity(raised, files)
    return raised


def bind_to_exchange(directory: Directory, exchange: str, files: Files) -> Directory:
    """Make sure that a directory holds this exchange's bars, and record it where none is recorded.

    Raises:
        DataDirectoryError: it holds another exchange's.
        OSError: the disk does not take it.
    """
    _check_exchange(directory.path, directory.exchange, exchange)
    if directory.exchange == exchange:
        return directory
    bound = attrs.evolve(directory, exchange=exchange)
    _write_identity(bound, files)
    return bound


def remove_temporary(path: Path, files: Files) -> int:
    """Remove files that an earlier process did not finish; return the number of files and folders removed."""
    folders = [entry for entry in path.glob("*" + TEMPORARY) if entry.is_dir()]
    for folder in folders:
        shutil.rmtree(folder)
    leftovers = list(path.rglob("*" + TEMPORARY))
    files.remove(leftovers)
    return len(folders) + len(leftovers)


def _check_exchange(path: Path, recorded: str, exchange: str) -> None:
    if recorded and exchange and recorded != exchange:
        raise DataDirectoryError(
            f"Directory {path} holds bars of {recorded}, not of {exchange}: use another data directory."
        )


def _write_identity(directory: Directory, files: Files) -> None:
    identity = {
        "format": FORMAT,
        "exchange": directory.exchange,
        "epoch": directory.epoch,
        "id": directory.history_id,
    }
    files.publish(directory.path / IDENTITY, (json.dumps(identity, indent=2) + "\n").encode())


def _history_id(recorded: object) -> str:
    """Return the recorded identity; a new one if none is recorded or it is damaged."""
    if isinstance(recorded, str) and HISTORY_ID.fullmatch(recorded):
        return recorded
    return secrets.token_hex(8)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _held(path, os.pread(descriptor, _PID_BYTES, 0)) from None
    except OSError as error:
        raise DataDirectoryError(
            f"Directory {path} is on a volume that gives no file locks ({error.strerror}), which keep a second "
            "daemon out: use a volume that has them, such as a local disk or NFS 4."
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _held(path: Path, pid: bytes) -> DataDirectoryError:
    holder = pid.decode("ascii", "replace").strip()
    return DataDirectoryError(
        f"Directory {path} is held by another candled process (pid {holder or 'unknown'}): "
        "stop it, or use another data directory."
    )
