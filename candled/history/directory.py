"""The data directory: who may use it, whose bars it holds, and which opening of it this is."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from candled.history.errors import DataDirectoryError, not_writable
from candled.history.files import TEMPORARY, Files

FORMAT: Final = 1
"""Version of the layout that this code writes and reads."""

Migration = Callable[[Path, Files], None]
"""Brings a data directory of one format to the next one. May be cut off anywhere, and is then called again."""

MIGRATIONS: Final[Mapping[int, Migration]] = {}
"""By the format that each starts from. There is none yet: format 1 is the first."""

IDENTITY: Final = "candled.json"
LOCK: Final = "candled.lock"
JOURNAL: Final = "candled.duckdb"
SEALED: Final = "bars"
RECENT: Final = "recent"
EMPTY: Final = "empty"
SET_ASIDE: Final = "set-aside"
UNFILLABLE: Final = "unfillable.json"

_OURS: Final = frozenset({IDENTITY, LOCK, JOURNAL, SEALED, RECENT, EMPTY, SET_ASIDE, UNFILLABLE})
_ANYWHERE: Final = frozenset({"lost+found"})


@attrs.frozen
class Directory:
    """A data directory that this process holds."""

    path: Path
    exchange: str
    """Identity of the exchange whose bars it holds."""
    epoch: int
    """Number of this opening: one higher each time, durable before anything else is written."""
    found_identity: bool
    """False in a new directory, and where the identity file was lost or damaged."""

    @property
    def journal(self) -> Path:
        """The daemon's own database file."""
        return self.path / JOURNAL

    def set_aside(self, path: Path, files: Files) -> Path:
        """Move a file that cannot be used out of the way; returns where it is now."""
        target = self.path / SET_ASIDE / f"{self.epoch}-{path.name}"
        number = 1
        while target.exists():
            number += 1
            target = self.path / SET_ASIDE / f"{self.epoch}-{number}-{path.name}"
        files.make_folder(target.parent)
        files.rename(path, target)
        return target


def sealed_folder(path: Path) -> Path:
    """Where the sealed 1-minute bars of a data directory stand."""
    return path / SEALED / "interval=1m"


def is_data_directory(path: Path) -> bool:
    """Whether anything of candled's is there, be it damaged."""
    return any((path / name).exists() for name in _OURS)


def read_identity(path: Path) -> dict[str, Any] | None:
    """What the identity file of a data directory says; None if there is none or it is damaged.

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
            f"{path} has format {identity['format']} and this candled knows formats up to {FORMAT}: "
            "use a newer candled, or another data directory"
        )
    return identity


@contextmanager
def hold_directory(path: Path, *, exchange: str, files: Files) -> Iterator[Directory]:
    """Hold a data directory for this process alone, making it if it is not there, and migrating an older format.

    Args:
        path: The data directory.
        exchange: Identity of the exchange whose bars it holds or will hold; empty: whichever it is.
        files: How to change it.

    Raises:
        DataDirectoryError: not writable, held by another process, of another exchange, of a newer format, or
            not a data directory.
    """
    if "?" in str(path.absolute()):
        raise DataDirectoryError(
            f"the path {path.absolute()} must not hold a question mark: use another data directory"
        )
    if path.exists() and not path.is_dir():
        raise DataDirectoryError(f"{path} is a file, not a folder: give a folder as data directory")
    try:
        files.make_folder(path.absolute())
        names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
        if names and not names & _OURS and not names <= _ANYWHERE:
            raise DataDirectoryError(f"{path} holds other files: give an empty or a new folder as data directory")
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise not_writable(path, error) from error
    try:
        _lock(lock, path)
        identity = read_identity(path)
        if identity is not None:
            _check_exchange(path, identity.get("exchange", ""), exchange)
        known = identity or {"exchange": exchange, "epoch": 0, "format": FORMAT}
        directory = Directory(
            path, known["exchange"] or exchange, int(known["epoch"]) + 1, found_identity=identity is not None
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
    finally:
        os.close(lock)


def is_held(path: Path) -> bool:
    """Whether a process holds the data directory now."""
    try:
        lock = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def raise_epoch(directory: Directory, least: int, files: Files) -> Directory:
    """Give this opening a number of at least ``least``, durably: for a directory that lost its identity file.

    Raises:
        OSError: the disk does not take it.
    """
    if directory.epoch >= least:
        return directory
    raised = attrs.evolve(directory, epoch=least)
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
    """Remove what an earlier process did not finish; returns how many files and folders that was."""
    folders = [entry for entry in path.glob("*" + TEMPORARY) if entry.is_dir()]
    for folder in folders:
        shutil.rmtree(folder)
    leftovers = list(path.rglob("*" + TEMPORARY))
    files.remove(leftovers)
    return len(folders) + len(leftovers)


def _check_exchange(path: Path, recorded: str, exchange: str) -> None:
    if recorded and exchange and recorded != exchange:
        raise DataDirectoryError(f"{path} holds bars of {recorded}, not of {exchange}: use another data directory")


def _write_identity(directory: Directory, files: Files) -> None:
    identity = {"format": FORMAT, "exchange": directory.exchange, "epoch": directory.epoch}

    def fill(temporary: Path) -> None:
        temporary.write_text(json.dumps(identity, indent=2) + "\n", "utf-8")

    files.publish(directory.path / IDENTITY, fill)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 40, 0).decode("ascii", "replace").strip()
        raise DataDirectoryError(
            f"{path} is held by another candled process (pid {holder or 'unknown'}): "
            "stop it, or use another data directory"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
