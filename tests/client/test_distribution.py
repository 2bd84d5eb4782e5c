"""The distribution ``candled-client``: what it needs, what it imports, and that it works where it is alone."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cli.demo import demo

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "packaging" / "client"

BYTES_MAX = 15_000_000
"""Of the dependencies, as installed."""

_READ_BARS = """
import asyncio, sys
import trio
import candled.client
from candled.client import open_asyncio_client, open_client, open_trio_client

address = sys.argv[1]


async def read(open_):
    async with open_(address) as client:
        count = 0
        async for bar in client.bars("BTCUSDT"):
            count += 1
            if count == 5:
                return bar.close


with open_client(address) as client:
    for number, bar in enumerate(client.bars("BTCUSDT"), 1):
        if number == 5:
            break
    stored = client.get_bars("BTCUSDT", limit=3)
prices = [bar.close, asyncio.run(read(open_asyncio_client)), trio.run(read, open_trio_client)]
print(candled.client.__file__, len(stored), all(price > 0 for price in prices))
"""


def project(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return found


def wanted(of: dict[str, Any]) -> set[str]:
    """Dependencies and those of extras."""
    return {line for lines in (of["dependencies"], *of["optional-dependencies"].values()) for line in lines}


def pins(name: str) -> set[str]:
    """The lines of a list of pinned requirements: versions and hashes."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return {line.rstrip("\\ ") for line in lines if not line.lstrip().startswith("#")}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import candled.client", {"asyncio", "google", "grpclib", "h2", "trio"}),
        ("from candled.client import open_asyncio_client", {"trio"}),
        ("from candled.client import open_client", {"grpclib"}),
        ("from candled.client import open_trio_client", {"grpclib"}),
    ],
)
def test_each_client_imports_its_own_event_loop(statement: str, absent: set[str]) -> None:
    """A program pays for the client that it uses; tables and the daemon's packages are never imported."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert imported.isdisjoint(absent | {"duckdb", "numpy", "pandas", "polars", "pyarrow"})


def test_dependencies_are_those_of_candled() -> None:
    """Both distributions are tested with the same versions."""
    whole, client = project(ROOT / "pyproject.toml"), project(CLIENT / "pyproject.toml")
    known = {
        *whole["dependencies"],
        *(line for lines in whole["optional-dependencies"].values() for line in lines),
    }
    assert {*client["dependencies"]} <= known
    assert {line for lines in client["optional-dependencies"].values() for line in lines} <= known


def test_pins_are_those_of_the_daemon() -> None:
    """The client's requirements are a part of the daemon's, hashes included."""
    assert pins("client.txt") <= pins("run.txt")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and its pinned dependencies."""
    folder = tmp_path_factory.mktemp("client")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=CLIENT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    requirements = str(ROOT / "requirements" / "client.txt")
    subprocess.run([*pip, "--require-hashes", "-r", requirements], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return environment / "bin" / "python"


def run(python: Path, directory: Path, code: str, *arguments: str) -> str:
    """What a program prints there, without this checkout on its path."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))
    }
    command = [str(python), "-c", code, *arguments]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_installed_client_reads_bars(python: Path, tmp_path: Path) -> None:
    """With the wheel alone, plain code, asyncio and Trio stream bars of a daemon on the embedded exchange."""
    with demo(tmp_path, "--speed", "60") as daemon:
        where, stored, is_right = run(python, tmp_path, _READ_BARS, daemon.grpc).split()
    assert Path(where).is_relative_to(python.parents[1])
    assert (stored, is_right) == ("3", "True")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_installed_client_is_small(python: Path, tmp_path: Path) -> None:
    """Its dependencies stay below their limit, compiled files included."""
    code = "import json, sysconfig; print(json.dumps(sysconfig.get_path('purelib')))"
    packages = Path(json.loads(run(python, tmp_path, code)))
    installer = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    parts = [part for part in packages.iterdir() if not part.name.startswith(installer)]
    files = [path for part in parts for path in ([part] if part.is_file() else part.rglob("*"))]
    assert sum(path.stat().st_size for path in files if path.is_file()) < BYTES_MAX
