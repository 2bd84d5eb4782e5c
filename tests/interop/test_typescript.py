"""The recipe in docs/typescript.md, as a reader would paste it: its commands, its strict types, and live bars."""

import re
import shlex
import shutil
import subprocess
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.demo import demo
from tests.docs.snippets import ROOT, blocks
from tests.interop.installation import node_packages, run

DOCUMENT = "docs/typescript.md"
LINES = 5
_LINE = re.compile(
    r"(?P<time>\S+T\d\d:\d\d:00\.000Z) BTCUSDT \d+\.\d{8} \d+\.\d{8} "
    r"(?P<state>forming|closed) (true|false) (?P<revision>\d+)\n"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder in which the commands of the recipe were run, with packages of pinned versions."""
    packages = node_packages("typescript")
    shutil.copy(packages / "package.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    [source] = blocks("ts", DOCUMENT)
    (tmp_path / "bars.ts").write_text(source)
    [commands] = blocks("sh", DOCUMENT)
    for line in commands.splitlines():
        if line.startswith("npx "):
            run(*shlex.split(line), cwd=tmp_path)
    return tmp_path


def test_recipe_prints_live_bars(built: Path) -> None:
    """Types hold under strict checks, and bars come with exact prices."""
    with demo(built, "--speed", "60") as daemon:
        command = ["node", "built/bars.js", daemon.grpc, "BTCUSDT"]
        with subprocess.Popen(command, cwd=built, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            lines = [reader.stdout.readline() for _ in range(LINES)]
            reader.kill()
    assert [line for line in lines if not _LINE.fullmatch(line)] == []


def test_readme_javascript_prints_live_bars(tmp_path: Path) -> None:
    """README's lines run where its packages are installed, word for word but for the address."""
    [script] = blocks("js")
    (tmp_path / "node_modules").symlink_to(node_packages("grpc_js") / "node_modules")
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    with demo(tmp_path, "--speed", "60") as daemon:
        (tmp_path / "bars.js").write_text(script.replace("127.0.0.1:50051", daemon.grpc))
        with subprocess.Popen(["node", "bars.js"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            lines = [reader.stdout.readline() for _ in range(LINES)]
            reader.kill()
    assert [line for line in lines if not re.fullmatch(r"[A-Z_]+ \d+\.\d{8} \d+\.\d{8}\n", line)] == []


def test_refusal_ends_the_recipe(built: Path) -> None:
    """What a retry does not change is an error, with the daemon's sentence."""
    with demo(built) as daemon:
        command = ["node", "built/bars.js", daemon.grpc, "NOSUCH"]
        done = subprocess.run(command, cwd=built, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "NOSUCH" in done.stderr


def test_stream_continues_after_a_restart(built: Path) -> None:
    """Closed bars continue after the daemon was away: no minute is left out, and none comes twice as it was."""
    seen: list[tuple[datetime, str]] = []

    def read(reader: "subprocess.Popen[str]", count: int) -> None:
        assert reader.stdout is not None
        while count:
            match = _LINE.fullmatch(reader.stdout.readline())
            assert match
            if match["state"] == "closed":
                seen.append((datetime.fromisoformat(match["time"]), match["revision"]))
                count -= 1

    with demo(built, "--speed", "60") as first:
        command = ["node", "built/bars.js", first.grpc, "BTCUSDT"]
        reader = subprocess.Popen(command, cwd=built, stdout=subprocess.PIPE, text=True)
        try:
            read(reader, 3)
            first.process.terminate()
            first.process.wait(20)
            with demo(built, "--speed", "60", "--grpc-address", first.grpc):
                read(reader, 5)
        finally:
            reader.kill()
            reader.wait()
    assert len(set(seen)) == len(seen), seen
    minutes = sorted({time for time, _ in seen})
    assert {after - before for before, after in pairwise(minutes)} == {timedelta(minutes=1)}, seen
