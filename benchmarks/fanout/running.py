"""Servers as processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.fanout.tick import SHARED

PATIENCE = 60.0
"""Seconds that a server on a busy machine may take longer than planned."""


class Running:
    """A server that has printed its port."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.port: int = self.read_line()["port"]

    def read_line(self) -> dict[str, Any]:
        """The next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended: {self._process.args!r}")
        content: dict[str, Any] = json.loads(line)
        return content

    def report_arrived(self, ticks: int) -> None:
        """Report that this many more ticks have arrived everywhere."""
        assert self._process.stdin is not None
        self._process.stdin.write("." * ticks)
        self._process.stdin.flush()

    def report_received(self) -> dict[str, Any]:
        """Report that the clients have everything; return its answer."""
        print("received", file=self._process.stdin, flush=True)
        return self.read_line()


@contextmanager
def run_server(command: Sequence[str]) -> Iterator[Running]:
    """The server while inside."""
    with subprocess.Popen(
        command,
        env=os.environ | {"FANOUT_SHARED": SHARED.hex()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.terminate()


def own_server(kind: str, *arguments: object) -> list[str]:
    """The command of one of ``benchmarks.fanout.servers``."""
    return [sys.executable, "-m", "benchmarks.fanout.servers", kind, *map(str, arguments)]
