"""A few words of podman, for tests that run the image."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFINED = [
    "--read-only",
    "--tmpfs=/tmp:size=64m",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=10001:10001",
]
"""As in the pods: nothing to write on but the volume and /tmp, no capability, no root."""

ENVIRONMENT = {
    **os.environ,
    "CONTAINERS_CONF": os.environ.get("CONTAINERS_CONF", str(ROOT / "ops" / "container" / "containers.conf")),
    "STORAGE_DRIVER": "overlay",
}


def image_under_test() -> str:
    """The image that .ci/container has built; without it or podman, tests are skipped by name."""
    image = os.environ.get("CANDLED_IMAGE")
    if not image:
        pytest.skip("CANDLED_IMAGE is not set: .ci/container builds the image and sets it")
    if shutil.which("podman") is None:
        pytest.fail("CANDLED_IMAGE is set and podman is not installed")
    return image


def podman(*words: str, timeout: float = 60, check: bool = True, text: str | None = None) -> str:
    """Run a podman command; returns what it printed."""
    done = subprocess.run(
        ["podman", *words], capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT, input=text
    )
    if check and done.returncode != 0:
        pytest.fail(f"podman {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def podman_exec(name: str, command: str, *, input_: Path | None = None, output: Path | None = None) -> None:
    """Run a command, written as for a shell, in a container; a file is its input or takes its output."""
    words = ["podman", "exec", "--interactive", name, *shlex.split(command)]
    nothing = Path(os.devnull)
    with (input_ or nothing).open("rb") as source, (output or nothing).open("wb") as sink:
        done = subprocess.run(
            words, stdin=source, stdout=sink, stderr=subprocess.PIPE, timeout=60, env=ENVIRONMENT
        )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(words)}: {done.stderr.decode()}")


def inspect(name: str) -> dict[str, Any]:
    (state,) = json.loads(podman("inspect", name))
    result: dict[str, Any] = state
    return result


@contextmanager
def network(name: str) -> Iterator[str]:
    """A network of its own, in which containers know each other by name."""
    podman("network", "rm", "--force", name, check=False)
    podman("network", "create", name)
    try:
        yield name
    finally:
        podman("network", "rm", "--force", name, check=False)


@contextmanager
def no_volume_left(name: str) -> Iterator[str]:
    """There is no volume of that name before and after."""
    podman("volume", "rm", "--force", name, check=False)
    try:
        yield name
    finally:
        podman("volume", "rm", "--force", name, check=False)


@contextmanager
def volume(name: str) -> Iterator[str]:
    """An empty volume."""
    with no_volume_left(name):
        podman("volume", "create", name)
        yield name


@contextmanager
def container(name: str, *arguments: str) -> Iterator[str]:
    """A container that is removed at the end; its log is shown where the test fails."""
    podman("rm", "--force", "--ignore", name)
    podman("run", "--detach", "--name", name, *arguments)
    try:
        yield name
    finally:
        print(f"--- log of {name}\n{logs(name)}")
        podman("rm", "--force", "--ignore", "--time", "1", name, check=False)


def logs(name: str) -> str:
    done = subprocess.run(["podman", "logs", name], capture_output=True, text=True, timeout=30, env=ENVIRONMENT)
    return done.stdout + done.stderr


def published(name: str, port: int) -> str:
    """The address on this machine that leads to a port of the container."""
    return podman("port", name, str(port)).strip()
