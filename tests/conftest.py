"""Fixtures that tests of several folders share."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

hypothesis.settings.register_profile("candled", deadline=None)  # no test is about the speed of this machine
hypothesis.settings.load_profile("candled")


def pytest_configure() -> None:
    """Let Ctrl-C end processes even where the tests run in the background of a script, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # tests reach loopback directly, or through a proxy of their own


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Configure logging for one test alone: a level that one sets would hide the lines that another looks for."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path)], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small file system needs root: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)
