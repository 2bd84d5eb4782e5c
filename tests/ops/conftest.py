"""Finds the tools that check the cluster files, and renders those files once per run."""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "ops" / "k8s"


IN_THE_OPS_ENVIRONMENT = {"checkov", "hadolint", "kubectl", "kubernetes-validate", "shellcheck"}


def find_tool(name: str) -> str:
    """The path of a tool. Without it the test is skipped by its name, but fails where the tool must be."""
    required = os.environ.get("CANDLED_OPS_TOOLS")
    path = shutil.which(name, path=required or ROOT / ".venv-ops" / "bin") or shutil.which(name)
    if path is not None:
        return path
    if name not in IN_THE_OPS_ENVIRONMENT:
        pytest.skip(f"{name} is not installed; .ci/container brings it on Debian")
    if required:
        pytest.fail(f"{name} is not in {required}, which CANDLED_OPS_TOOLS names")
    pytest.skip(f"{name} is not installed: `make ops-test` brings it")


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    return find_tool


@functools.cache
def render(folder: Path) -> str:
    """What kustomize makes of a folder."""
    kubectl = find_tool("kubectl")
    return subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, text=True, check=True, timeout=60
    ).stdout


SOURCES = {
    "base": [],
    "kind": [],
    "eks": [],
    "eks-sharded": ["shards", "monitoring"],
    "eks-secured": ["monitoring", "tls", "tokens"],
}
"""What is rendered: the base, an overlay, an overlay with components that users add."""


@pytest.fixture(scope="session")
def renderings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The YAML of each of ``SOURCES``."""
    return {name: rendering(name, tmp_path_factory) for name in SOURCES}


def rendering(name: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = K8S / "base" if name == "base" else K8S / "overlays" / name.partition("-")[0]
    if not SOURCES[name]:
        return render(folder)
    joined = tmp_path_factory.mktemp(name).resolve()
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(folder, joined)],
        "components": [os.path.relpath(K8S / "components" / component, joined) for component in SOURCES[name]],
    }
    (joined / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return render(joined)


@pytest.fixture(scope="session", params=SOURCES)
def rendered(request: pytest.FixtureRequest, renderings: dict[str, str]) -> str:
    """The YAML of one of ``SOURCES``, each in turn."""
    return renderings[request.param]


@pytest.fixture(scope="session")
def rendered_files(renderings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All of them as files, for tools."""
    folder = tmp_path_factory.mktemp("rendered")
    for name, text in renderings.items():
        (folder / f"{name}.yaml").write_text(text)
    shutil.copy(K8S / "volume-shell.yaml", folder)
    return sorted(folder.iterdir())
