"""Programs of this folder, each run in the environment that has its packages."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).parents[2]
PATIENCE_SECONDS: Final = 120.0


class RefusedError(Exception):
    """A program did not do the work, so that it has no figure."""


@attrs.frozen
class Environments:
    """Pythons: candled's, which is this one, and the peers'."""

    peers: Path

    def run(self, module: str, *arguments: object) -> Any:
        """Run a program and return what it printed.

        Args:
            module: its name in this folder; those of candled begin with ``candled``.
            arguments: for its command line.

        Raises:
            RefusedError: it failed or did not end.
        """
        python = sys.executable if module.startswith("candled") else str(self.peers)
        command = [python, "-m", f"benchmarks.peers.{module}", *(str(each) for each in arguments)]
        return _printed(command)

    def versions(self, packages: Sequence[str]) -> dict[str, str]:
        """Versions that are installed for the peers."""
        program = (
            "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
        )
        found: dict[str, str] = _printed([str(self.peers), "-c", program, *packages])
        return found


def _printed(command: Sequence[str]) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RefusedError(f"not done after {PATIENCE_SECONDS:.0f} s") from None
    lines = ended.stdout.splitlines()
    if ended.returncode or not lines:
        errors = ended.stderr.strip().splitlines() or ["no output"]
        raise RefusedError(f"exit status {ended.returncode}: {errors[-1]}")
    return json.loads(lines[-1])


@contextmanager
def open_feeder(trades: int, rate: float, warm: int, form: str, core: int) -> Iterator[str]:
    """A server of canned frames on a core of its own; its URL."""
    options = [trades, 1, core, rate, warm, form]
    command = [sys.executable, "-m", "benchmarks.canned_stream", *(str(each) for each in options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as feeder:
        assert feeder.stdout is not None
        try:
            yield f"ws://127.0.0.1:{int(feeder.stdout.readline())}"
        finally:
            feeder.kill()
