"""A running ``candled demo``, for tests of commands and ports against a real daemon."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")


class Demo:
    """A running ``candled demo`` and the addresses that it printed."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self.process = process
        self.directory = directory
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if "For your own program" in line:
                break
        self.opening = text
        http, grpc = re.search(r"http://(\S+)/", text), re.search(r"gRPC at (\S+)", text)
        assert http, (text, process.poll())
        assert grpc, text
        self.http, self.grpc = http[1], grpc[1]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command meanwhile, in the same directory."""
        return subprocess.run(
            [*CANDLED, *arguments], capture_output=True, text=True, timeout=30, cwd=self.directory, check=False
        )

    def candled(self, *arguments: str, status: int = 0) -> str:
        """What another command prints meanwhile, with no error."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (status, ""), f"{arguments}: {done.returncode}, {done.stderr}"
        return done.stdout


CANDLED = (sys.executable, "-m", "candled.cli.main")


@contextmanager
def demo(directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Demo]:
    """``candled demo`` on free ports, in a directory of its own."""
    ports = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
    with subprocess.Popen(
        [*CANDLED, "demo", *ports, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env=os.environ | (environment or {}),
    ) as process:
        try:
            yield Demo(process, directory)
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def running(*arguments: str, directory: Path, says: str) -> Iterator[Any]:
    """A command, and what it says once it is up: the group of the pattern, or its groups."""
    with subprocess.Popen(
        [*CANDLED, *arguments], cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            groups = next(match for line in process.stderr if (match := re.search(says, line))).groups()
            yield groups if len(groups) > 1 else groups[0]
        finally:
            process.kill()


def until(condition: Callable[[], T | Literal[False]], seconds: float = 45.0) -> T:
    """The first true value of ``condition``, asked again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError("never true")
