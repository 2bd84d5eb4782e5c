"""A daemon starts once on a data directory."""

import os
import socket
from pathlib import Path

import pytest
import trio

from candled.config.settings import DaemonSettings
from candled.daemon.roles import RoleContext
from candled.daemon.root import serve_daemon
from candled.history import DataDirectoryError
from candled.history.directory import check_not_held, hold_directory
from candled.history.durable_io import Files


async def test_a_held_directory_is_refused_first(tmp_path: Path) -> None:
    """A second daemon names the process that holds the directory, before its ports or the exchange fail."""
    with (
        hold_directory(tmp_path, exchange="x", files=Files()),
        socket.create_server(("127.0.0.1", 0)) as taken,
        trio.fail_after(10),
    ):
        settings = DaemonSettings(data_dir=tmp_path, http_address=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(DataDirectoryError, match=rf"held by another candled process \(pid {os.getpid()}\)"):
            await serve_daemon(RoleContext(settings, trio.Event()))


def test_a_released_directory_is_free(tmp_path: Path) -> None:
    """The lock ends with its holder, and a directory that does not exist is free."""
    with hold_directory(tmp_path, exchange="x", files=Files()):
        pass
    check_not_held(tmp_path)
    check_not_held(tmp_path / "none")


def test_a_file_is_left_to_the_opening(tmp_path: Path) -> None:
    """What is no directory is refused where it is opened, with a better sentence."""
    (tmp_path / "file").touch()
    check_not_held(tmp_path / "file")
