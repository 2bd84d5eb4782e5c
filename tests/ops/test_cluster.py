"""The manifests on a real cluster: only where KUBECONFIG names one and CANDLED_CLUSTER_TESTS=1 allows it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.conftest import K8S, find_tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAMESPACE = "candled-test"


def kubectl(*words: str, timeout: float = 60, check: bool = True) -> str:
    done = subprocess.run([find_tool("kubectl"), *words], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        pytest.fail(f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Base and embedded exchange in a namespace of their own, removed at the end with all that they stored."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster")
    if os.environ.get("CANDLED_CLUSTER_TESTS") != "1":
        pytest.skip(f"CANDLED_CLUSTER_TESTS=1 is needed to make and delete the namespace {NAMESPACE} in a cluster")
    folder = tmp_path_factory.mktemp("cluster").resolve()
    content: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": [os.path.relpath(K8S / "base", folder)],
        "components": [os.path.relpath(K8S / "components" / "embedded-exchange", folder)],
    }
    if image := os.environ.get("CANDLED_CLUSTER_IMAGE"):
        name, _, tag = image.rpartition(":")
        content["images"] = [{"name": "candled", "newName": name, "newTag": tag}]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    if kubectl("get", "namespace", NAMESPACE, "--ignore-not-found").strip():
        pytest.fail(f"the namespace {NAMESPACE} exists already: delete it first")
    try:
        apply(folder)
        yield
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--timeout=120s", timeout=150, check=False)


def apply(folder: Path) -> None:
    kubectl("apply", "--kustomize", str(folder))


def test_every_pod_becomes_ready(deployed: None) -> None:
    for workload in ("deployment/candled-exchange", "statefulset/candled"):
        kubectl("--namespace", NAMESPACE, "rollout", "status", workload, "--timeout=300s", timeout=320)


def test_a_bar_is_stored_and_survives_the_loss_of_the_pod(deployed: None) -> None:
    query = "SELECT symbol, open_time, close FROM bars WHERE interval = '1m' ORDER BY ALL"

    def bars() -> list[dict[str, str]]:
        command = ["exec", "candled-0", "--", "candled", "sql", "--format", "json", query]
        rows: list[dict[str, str]] = json.loads(kubectl("--namespace", NAMESPACE, *command, check=False) or "[]")
        return rows

    deadline = time.monotonic() + 180
    while not (before := bars()):
        assert time.monotonic() < deadline, "no bar was stored"
        time.sleep(2)
    kubectl("--namespace", NAMESPACE, "delete", "pod", "candled-0", timeout=90)
    kubectl("--namespace", NAMESPACE, "rollout", "status", "statefulset/candled", "--timeout=300s", timeout=320)

    assert [bar for bar in before if bar not in bars()] == []
