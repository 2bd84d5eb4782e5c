"""The data directory is its owner's, and what the system refuses is named with its true reason."""

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from candled.history import DataDirectoryError, HistorySettings, open_history
from candled.history.directory import hold_directory
from candled.history.durable_io import Files
from candled.history.errors import not_writable
from tests.history.bars import events, minute


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A process that keeps nothing from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
async def test_others_get_no_access(tmp_path: Path) -> None:
    """No file or folder can be read by others, or written by the group, whatever the umask."""
    data = tmp_path / "data"
    async with open_history(data, exchange="x", settings=HistorySettings(grace=0.0)) as history:
        await history.store(events([minute(0), minute(1440), minute(2880)], history.epoch << 32))
        await history.publish()
        while await history.keep():  # the journal begins anew on the way
            pass
        await history.store(events([minute(2881)], (history.epoch << 32) + 10))
        found = {path: path.stat().st_mode & 0o777 for path in (data, *data.rglob("*"))}
    assert {path.name for path in found} >= {
        "candled.duckdb",
        "candled.duckdb.wal",
        "candled.json",
        "candled.lock",
    }
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o027} == {}
    assert all(mode & 0o440 == 0o440 for mode in found.values())


@pytest.mark.usefixtures("open_umask")
def test_the_umask_comes_back(tmp_path: Path) -> None:
    """What a program does after it has closed the directory is its own affair."""
    with hold_directory(tmp_path / "data", exchange="x", files=Files()):
        pass
    assert os.umask(0) == 0


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_volume_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The reason is the locks; whether the volume can be written to is not asked."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(DataDirectoryError, match="gives no file locks") as caught,
        hold_directory(tmp_path / "data", exchange="x", files=Files()),
    ):
        pass
    assert "writable" not in str(caught.value)
    assert os.strerror(number) in str(caught.value)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EACCES, "make it writable"),
        (errno.EROFS, "mount the volume for writing"),
        (errno.EMFILE, "raise the limit of open files"),
        (errno.EIO, "check it"),
        (errno.ELOOP, "see why the system refuses it"),
    ],
)
def test_every_refusal_has_its_own_remedy(number: int, remedy: str) -> None:
    """Only what is about permissions asks to make it writable."""
    text = str(not_writable(Path("data"), OSError(number, os.strerror(number))))
    assert text.startswith(f"Cannot write to data ({os.strerror(number)})")
    assert remedy in text
