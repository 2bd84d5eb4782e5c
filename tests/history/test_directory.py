"""Who may use a data directory, and what it remembers."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from candled.history import DataDirectoryError, connect, directory
from candled.history.directory import hold_directory
from candled.history.durable_io import Files
from candled.history.query import connect as connecting


def open_once(path: Path, exchange: str = "binance") -> int:
    with hold_directory(path, exchange=exchange, files=Files()) as held:
        return held.epoch


def test_each_opening_has_a_higher_epoch(tmp_path: Path) -> None:
    assert [open_once(tmp_path / "data") for _ in range(3)] == [1, 2, 3]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert open_once(tmp_path / "a" / "b") == 1


def identity_of(path: Path) -> str:
    with hold_directory(path, exchange="binance", files=Files()) as directory:
        return directory.history_id


def test_the_identity_stays(tmp_path: Path) -> None:
    """A directory keeps its identity over openings, and no other directory has the same."""
    first = identity_of(tmp_path / "one")
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert identity_of(tmp_path / "one") == first != identity_of(tmp_path / "two")


@pytest.mark.parametrize("recorded", [None, 5, "", "xyz", "0" * 15])
def test_a_missing_identity_is_made(tmp_path: Path, recorded: object) -> None:
    """A directory of an earlier version, or a damaged identity, gets a new one and keeps it."""
    before = identity_of(tmp_path)
    identity = json.loads((tmp_path / "candled.json").read_text())
    (tmp_path / "candled.json").write_text(json.dumps({**identity, "id": recorded}))
    made = identity_of(tmp_path)
    assert made != before
    assert identity_of(tmp_path) == made


def test_another_exchange_is_refused(tmp_path: Path) -> None:
    open_once(tmp_path)
    with pytest.raises(DataDirectoryError, match="holds bars of binance, not of candled-exchange: use another"):
        open_once(tmp_path, "candled-exchange")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    open_once(tmp_path)
    identity = json.loads((tmp_path / "candled.json").read_text())
    (tmp_path / "candled.json").write_text(json.dumps({**identity, "format": 99}))
    with pytest.raises(DataDirectoryError, match=r"format 99 .* use a newer candled"):
        open_once(tmp_path)


def test_older_format_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example of how a later version of candled takes up a directory: format 1 to 3, cut off on the way."""
    monkeypatch.setattr(directory, "FORMAT", 1)
    open_once(tmp_path)
    old, new, newest = tmp_path / "bars-old", tmp_path / "bars-new", tmp_path / "bars-newest"
    old.mkdir()

    def from_1_to_2(path: Path, files: Files) -> None:
        assert path == tmp_path
        if old.exists():
            files.rename(old, new)

    def from_2_to_3(path: Path, files: Files) -> None:
        if not attempts.pop(0):
            raise OSError(28, "No space left on device")
        if new.exists():
            files.rename(new, newest)

    attempts = [False, True]
    monkeypatch.setattr(directory, "FORMAT", 3)
    monkeypatch.setattr(directory, "MIGRATIONS", {1: from_1_to_2, 2: from_2_to_3})
    monkeypatch.setattr(connecting, "FORMAT", 3)
    with pytest.raises(DataDirectoryError, match=r"has format 1, .* start the daemon on it once"):
        connect(tmp_path)
    with pytest.raises(DataDirectoryError, match="No space left"):
        open_once(tmp_path)
    assert new.exists()
    assert json.loads((tmp_path / "candled.json").read_text())["format"] == 1
    assert open_once(tmp_path) == 2
    assert newest.exists()
    assert json.loads((tmp_path / "candled.json").read_text())["format"] == 3
    assert open_once(tmp_path) == 3


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("chapter 1")
    with pytest.raises(DataDirectoryError, match="holds other files"):
        open_once(tmp_path)


def test_a_fresh_volume_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert open_once(tmp_path) == 1


def test_file_instead_of_a_directory(tmp_path: Path) -> None:
    """A file in the place of the directory is refused."""
    (tmp_path / "data").write_text("")
    with pytest.raises(DataDirectoryError, match="is a file, not a folder"):
        open_once(tmp_path / "data")


def test_second_process_is_refused(tmp_path: Path) -> None:
    """A second process is refused, with the process that holds the directory."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom candled.history.directory import hold_directory\n"
        "from candled.history.durable_io import Files\n"
        "with hold_directory(Path(sys.argv[1]), exchange='binance', files=Files()):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataDirectoryError, match=rf"held by another candled process \(pid {holder.pid}\)"):
            open_once(tmp_path)
        holder.communicate("")
    assert open_once(tmp_path) == 2


def test_a_damaged_identity_is_set_aside(tmp_path: Path) -> None:
    open_once(tmp_path)
    (tmp_path / "candled.json").write_text('{"form')
    assert open_once(tmp_path) == 1
    assert [name.name for name in (tmp_path / "set-aside").iterdir()] == ["1-candled.json"]


def test_a_place_that_takes_no_files_is_named() -> None:
    with pytest.raises(DataDirectoryError, match=r"Cannot write to /proc/candled .*: make it writable"):
        open_once(Path("/proc/candled"))


def test_a_path_that_duckdb_cannot_open_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match=r"must not hold a question mark"):
        open_once(tmp_path / "why?")
