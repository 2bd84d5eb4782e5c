"""The scripts: clean by shellcheck; what pushes the image, with stand-ins for what would reach a registry."""

import os
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ops.conftest import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
REPOSITORY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/candled"


SCRIPTS = [
    file
    for folder in (".ci", "ops/container", "ops/tools")
    for file in (ROOT / folder).iterdir()
    if file.is_file() and file.read_text().startswith(("#!/bin/sh", "#!/usr/bin/env bash"))
]


def test_shellcheck_has_nothing_to_say(tool: Callable[[str], str]) -> None:
    answer = subprocess.run([tool("shellcheck"), *SCRIPTS], capture_output=True, text=True, timeout=60)

    assert len(SCRIPTS) == 8
    assert answer.returncode == 0, answer.stdout


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """``aws`` and ``docker`` that write down how they were called; the registry holds version 0.0.1 alone."""
    for name in ("aws", "docker"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n'
            'case "$*" in *describe-images*imageTag=0.0.1*) ;; *describe-images*) exit 254 ;; esac\n'
        )
        program.chmod(0o755)
    return tmp_path


def push(programs: Path, version: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in {"BASE_IMAGE", "WHEELS", "PLATFORM"}},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "REPOSITORY": REPOSITORY,
        "VERSION": version,
        "REGION": "eu-central-1",
    }
    done = subprocess.run(
        [ROOT / "ops" / "container" / "push"], env=environment, capture_output=True, text=True, timeout=30
    )
    return done, (programs / "calls").read_text().splitlines()


def test_this_version_is_built_for_the_nodes_and_pushed(programs: Path) -> None:
    done, calls = push(programs, VERSION)

    assert done.returncode == 0, done.stderr
    (build,) = [call for call in calls if call.startswith("docker build")]
    assert f"--tag {REPOSITORY}:{VERSION} " in build
    assert "--platform linux/amd64" in build
    assert calls[-1] == f"docker push {REPOSITORY}:{VERSION}"


def test_an_architecture_is_pushed_by_its_digest(programs: Path, tmp_path: Path) -> None:
    """A release pushes each architecture without a tag, with provenance and SBOM."""
    command: list[str | Path] = [
        ROOT / "ops" / "container" / "publish", "r.example.com/candled", "arm64", tmp_path / "build.json",
    ]  # fmt: skip
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(command, env=environment, check=True, timeout=30)
    (call,) = (programs / "calls").read_text().splitlines()

    assert "--platform linux/arm64" in call
    assert "--provenance mode=max --sbom true" in call
    assert "name=r.example.com/candled,push-by-digest=true" in call
    assert "--tag" not in call


def test_a_version_to_roll_back_to_needs_no_checkout_of_it(programs: Path) -> None:
    done, calls = push(programs, "0.0.1")

    assert done.returncode == 0, done.stderr
    assert not [call for call in calls if call.startswith("docker")]


def test_another_version_than_the_checkouts_is_not_built(programs: Path) -> None:
    done, calls = push(programs, "9.9.9")

    assert done.returncode == 1
    assert f"This checkout is version {VERSION}" in done.stderr
    assert not [call for call in calls if call.startswith("docker")]
