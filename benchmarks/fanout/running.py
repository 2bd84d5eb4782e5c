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
    """A server that told its port."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.port: int = self.hear()["port"]

    def hear(self) -> dict[str, Any]:
        """The next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended: {self._process.args}")
        told: dict[str, Any] = json.loads(line)
        return told

    def tell_arrived(self, ticks: int) -> None:
        """Tell it that so many more ticks have arrived everywhere."""
        assert self._process.stdin is not None
        self._process.stdin.write("." * ticks)
        self._process.stdin.flush()

    def tell_received(self) -> dict[str, Any]:
        """Tell it that the clients have everything; what it answers."""
        print("received", file=self._process.stdin, flush=True)
        return self.hear()


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
