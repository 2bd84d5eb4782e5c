"""A newcomer's path: seconds from cloning to the first candles, at this commit and at older ones.

usage: python -m benchmarks.newcomer [--rounds N] [--output FILE] [COMMIT...]

Each commit is cloned into an empty folder and `make demo` is run there, which installs what running needs from the
package index. The path ends when the demo's HTTP port answers with a bar of BTCUSDT. Ports 8080 and 50051 must be
free, as at a newcomer's. Commits take turns, so that the index and the machine are alike for all.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.header import header, publish

ROOT: Final = Path(__file__).parents[1]
BARS: Final = "http://127.0.0.1:8080/api/bars?symbol=BTCUSDT&interval=1m&limit=1"
PATIENCE_SECONDS: Final = 600.0
POLL_SECONDS: Final = 0.1


def walk(commit: str, folder: Path) -> tuple[float, float]:
    """Return seconds until it is installed and until a candle is there, from the start of cloning.

    Raises:
        SystemExit: something already answers there, or the demo ended.
    """
    if _first_bar():
        raise SystemExit("A daemon already answers on port 8080: stop it first.")
    begun = time.perf_counter()
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", commit], check=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CANDLED_", "PYTHON"))}
    installed = None
    with subprocess.Popen(
        ["make", "demo"],
        cwd=folder,
        env=clean,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as demo:
        try:
            while not _first_bar():
                if demo.poll() is not None or time.perf_counter() > begun + PATIENCE_SECONDS:
                    raise SystemExit(f"`make demo` of {commit} showed no candle; it ended with {demo.poll()}.")
                if installed is None and (folder / "candled-demo-data").exists():
                    installed = time.perf_counter()
                time.sleep(POLL_SECONDS)
            seen = time.perf_counter()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(demo.pid, signal.SIGINT)
    return (installed or seen) - begun, seen - begun


def _first_bar() -> bool:
    with suppress(OSError), urllib.request.urlopen(BARS, timeout=5) as answer:
        return b"open" in answer.read()
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="also append the result to this file")
    parser.add_argument("commits", nargs="*", default=["HEAD"])
    options = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {commit: [] for commit in options.commits}
    for _ in range(options.rounds):
        for commit, walks in taken.items():
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                walks.append(walk(commit, Path(folder) / "candled"))
    lines = [*header("newcomer"), "", f"{'seconds':<14}{'installed':>12}{'first candle':>14}{'worst':>8}"]
    for commit, walks in taken.items():
        installed, seen = (statistics.median(walk[at] for walk in walks) for at in (0, 1))
        lines.append(f"{commit:<14}{installed:>12.1f}{seen:>14.1f}{max(walk[1] for walk in walks):>8.1f}")
    publish("\n".join([*lines, "", ""]), options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
