"""Programs of others, each in an installation of its own under ``.interop``, from its pinned, hash-locked list."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.locks import alone_in

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".interop"


def _installed(name: str, *locks: Path) -> Path:
    """The folder of an installation, by what it holds."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    INSTALLED.mkdir(exist_ok=True)
    return INSTALLED / f"{name}-{digest}"


def run(*command: object, cwd: Path | None = None) -> None:
    """Run to its end; fails with what it printed."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def python_of(name: str) -> Path:
    """The interpreter of an environment with ``NAME/requirements.txt``."""
    requirements = HERE / name / "requirements.txt"
    folder = _installed(name, requirements)
    with alone_in(INSTALLED):
        if not (folder / "complete").exists():  # the mark is written last
            shutil.rmtree(folder, ignore_errors=True)
            run(sys.executable, "-m", "venv", folder)
            pip = (folder / "bin/pip", "install", "-q", "--disable-pip-version-check", "--require-hashes")
            run(*pip, "-r", requirements)
            (folder / "complete").touch()
    return folder / "bin/python"


def node_packages(name: str) -> Path:
    """The folder with the packages of ``NAME/package.json``, or a skip where Node is missing."""
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        pytest.skip("node and npm are not installed: the Node clients are not tried")
    package = HERE / name
    folder = _installed(name, package / "package.json", package / "package-lock.json")
    with alone_in(INSTALLED):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for lock in ("package.json", "package-lock.json"):
                shutil.copy(package / lock, folder)
            npm_options = ("--omit-lockfile-registry-resolved", "--ignore-scripts", "--no-audit", "--no-fund")
            run(npm, "ci", *npm_options, cwd=folder)
            (folder / "complete").touch()
    return folder


def node_script(name: str, script: str) -> list[str]:
    """The command of a Node script beside ``NAME/package.json`` and its packages; skips where Node is missing."""
    folder = node_packages(name)
    with alone_in(INSTALLED):
        shutil.copy(HERE / name / script, folder)  # Node looks for packages beside the script
    return ["node", str(folder / script)]
