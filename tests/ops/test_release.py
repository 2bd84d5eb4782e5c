"""The release: its workflow is sound, and its steps are commands that run on any machine."""

import re
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.conftest import CHART, ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def jobs() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(RELEASE.read_text())["jobs"]
    return content


def steps() -> list[dict[str, Any]]:
    return [step for job in jobs().values() for step in job["steps"]]


def test_actionlint_has_nothing_to_say(tool: Callable[[str], str]) -> None:
    """The workflows are well formed, and so is the shell in them."""
    command: list[str | Path] = [tool("actionlint"), "-shellcheck", tool("shellcheck"), *WORKFLOWS]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("needs: check", "needs: checks"),
        ("steps.push.outputs", "steps.pushed.outputs"),
        ("${{ github.actor }}", "${{ a }}"),
    ],
)
def test_actionlint_finds_a_planted_mistake(
    old: str, new: str, tool: Callable[[str], str], tmp_path: Path
) -> None:
    """A job, a step or a value that does not exist is found."""
    file = tmp_path / "release.yml"
    assert old in RELEASE.read_text()
    file.write_text(RELEASE.read_text().replace(old, new))

    assert subprocess.run([tool("actionlint"), file], capture_output=True, timeout=60).returncode != 0


def test_zizmor_has_nothing_to_say(tool: Callable[[str], str]) -> None:
    """The workflows give away no right and run no text of strangers."""
    command: list[str | Path] = [tool("zizmor"), "--offline", "--no-progress", *WORKFLOWS]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_actions_are_pinned() -> None:
    """Every action is one commit, with its version beside it for people and for update bots."""
    used = [use for file in WORKFLOWS for use in re.findall(r"uses: (.*)$", file.read_text(), re.MULTILINE)]

    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_steps_are_targets_and_scripts_of_this_checkout() -> None:
    """What the workflow calls exists here."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [line for step in steps() for line in step.get("run", "").splitlines()]
    called = {
        name for line in commands if line.startswith("make ") for name in line.split()[1:] if "=" not in name
    }
    scripts = {word for line in commands for word in re.findall(r"ops/[\w/-]+", line)}

    assert {"release-version", "test", "ops-test", "audit", "dist", "sbom", "chart-package"} <= called
    assert called <= targets
    assert all((ROOT / script).is_file() for script in scripts)


def test_nothing_is_published_before_it_is_checked() -> None:
    """Tests and scans come before the first push, and signing before PyPI."""
    order = {name: job.get("needs") for name, job in jobs().items()}

    assert order == {"check": None, "image": "check", "publish": "image", "pypi": "publish"}
    image = [step.get("uses", step.get("run", "")) for step in jobs()["image"]["steps"]]
    scan = next(place for place, step in enumerate(image) if step.startswith("anchore/scan-action@"))
    push = next(place for place, step in enumerate(image) if "ops/container/publish" in step)
    assert scan < push


def copied(folder: Path) -> Path:
    """Of a checkout what names its version, as released."""
    for name in ("pyproject.toml", "ops", "CHANGELOG.md"):
        source, target = ROOT / name, folder / name
        _ = shutil.copytree(source, target, symlinks=True) if source.is_dir() else shutil.copy(source, target)
    log = folder / "CHANGELOG.md"
    log.write_text(log.read_text().replace("## [Unreleased]", f"## [Unreleased]\n\n## [{VERSION}]"))
    return folder


def release_version(folder: Path, tag: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [folder / "ops" / "tools" / "release-version", tag]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_one_version_passes(tmp_path: Path) -> None:
    """A checkout that names one version everywhere can be released under it."""
    done = release_version(copied(tmp_path), f"v{VERSION}")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "file",
    [
        "ops/helm/candled/Chart.yaml",
        "ops/k8s/base/stateful-set.yaml",
        "ops/k8s/components/backup/cron-job.yaml",
        "ops/k8s/overlays/eks/kustomization.yaml",
        "CHANGELOG.md",
    ],
)
def test_a_planted_version_ends_the_release(file: str, tmp_path: Path) -> None:
    """A file that was forgotten is named."""
    folder = copied(tmp_path)
    path = folder / file
    path.write_text(path.read_text().replace(VERSION, "9.9.9"))

    done = release_version(folder, f"v{VERSION}")

    assert done.returncode == 1
    assert Path(file).name in done.stderr


@pytest.mark.parametrize("tag", ["v9.9.9", ""])
def test_another_tag_ends_the_release(tag: str, tmp_path: Path) -> None:
    """A tag that is not this version, or none, is refused."""
    assert release_version(copied(tmp_path), tag).returncode == 1


def test_the_packaged_chart_is_whole(tool: Callable[[str], str], tmp_path: Path) -> None:
    """The archive holds what its links lead to, and renders what the folder renders."""
    helm = tool("helm")
    subprocess.run(
        [helm, "package", CHART, "--destination", tmp_path], check=True, capture_output=True, timeout=60
    )
    archive = tmp_path / f"candled-{VERSION}.tgz"
    with tarfile.open(archive) as files:
        linked = files.getmember("candled/files/dashboard.json")
        assert linked.isfile()
        assert linked.size == (CHART / "files" / "dashboard.json").stat().st_size
    options = ["--set", "monitoring.enabled=true", "--set", "backup.enabled=true"]
    rendered = [
        subprocess.run([helm, "template", "candled", chart, *options], capture_output=True, check=True, timeout=60)
        for chart in (archive, CHART)
    ]

    assert rendered[0].stdout == rendered[1].stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_package_has_a_wheel_for_arm64() -> None:
    """The image can be built for arm64 without a compiler."""
    done = subprocess.run(["make", "arm64-wheels"], cwd=ROOT, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stdout + done.stderr
    names = [wheel.name for wheel in (ROOT / "dist" / "arm64").iterdir()]
    assert [name for name in names if "x86_64" in name] == []
    assert [name for name in names if name.startswith("pyarrow") and name.endswith("aarch64.whl")]
