"""Finds the tools that check the cluster files, and renders those files once per run."""

import functools
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "ops" / "k8s"
CHART = ROOT / "ops" / "helm" / "candled"


IN_THE_OPS_ENVIRONMENT = {
    "actionlint",
    "checkov",
    "hadolint",
    "kubectl",
    "kubernetes-validate",
    "shellcheck",
    "zizmor",
}
if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
    IN_THE_OPS_ENVIRONMENT.add("helm")


def find_tool(name: str) -> str:
    """The path of a tool. Without it the test is skipped by its name, but fails where the tool must be."""
    required = os.environ.get("CANDLED_OPS_TOOLS")
    path = shutil.which(name, path=required or ROOT / ".venv-ops" / "bin") or shutil.which(name)
    if path is not None:
        return path
    if name not in IN_THE_OPS_ENVIRONMENT:
        pytest.skip(f"{name} is not installed; .ci/container installs it on Debian")
    if required:
        pytest.fail(f"{name} is not in {required}, which CANDLED_OPS_TOOLS names")
    pytest.skip(f"{name} is not installed: `make ops-test` installs it")


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


@attrs.frozen
class Source:
    """One deployment, as kustomize and as the chart describe it.

    Attributes:
        folder: of ``ops/k8s`` that kustomize begins with.
        components: that users add to it.
        values: of the chart, which give the same objects.
    """

    folder: str
    components: list[str]
    values: dict[str, Any]


OF_EKS = {
    "image": {"repository": "000000000000.dkr.ecr.eu-central-1.amazonaws.com/candled"},
    "storage": {"accessMode": "ReadWriteOncePod"},
    "storageClass": {"create": True},
}
SECURED = {"tls": {"enabled": True}, "tokens": {"enabled": True}}
TWO_SHARDS = {"shards": [["BTCUSDT", "ETHUSDT"], ["PEPEUSDT"]]}
MONITORED = {"monitoring": {"enabled": True}}

SOURCES = {
    "base": Source("base", [], {}),
    "kind": Source(
        "overlays/kind",
        [],
        {
            "embeddedExchange": {"enabled": True},
            "nodePort": {"enabled": True},
            "storage": {"size": "1Gi"},
            "resources": {"requests": {"memory": "256Mi"}},
        },
    ),
    "eks": Source("overlays/eks", [], OF_EKS),
    "eks-sharded": Source("overlays/eks", ["shards", "monitoring"], OF_EKS | TWO_SHARDS | MONITORED),
    "eks-gateway": Source(
        "overlays/eks",
        ["tokens", "access-gateway", "backup"],
        OF_EKS
        | {
            "tokens": {"enabled": True},
            "gateway": {
                "enabled": True,
                "className": "envoy",
                "grpcHost": "candled.example.com",
                "chartHost": "chart.example.com",
                "clusterIssuer": "letsencrypt",
            },
            "backup": {"enabled": True},
        },
    ),
    "eks-nlb": Source(
        "overlays/eks",
        ["tls", "tokens", "certificate", "access-nlb"],
        OF_EKS
        | SECURED
        | {
            "certificate": {"create": True, "issuerRef": {"kind": "ClusterIssuer", "name": "internal"}},
            "loadBalancer": {"enabled": True, "sourceRanges": ["203.0.113.0/24"]},
        },
    ),
    "eks-history": Source(
        "overlays/eks",
        ["history"],
        OF_EKS | {"history": {"url": "s3://example-bucket/candled/0"}, "networkPolicy": {"podIdentity": True}},
    ),
    "eks-secured": Source("overlays/eks", ["monitoring", "tls", "tokens"], OF_EKS | SECURED | MONITORED),
}
SOURCES |= {
    "cluster": Source("cluster", ["nats"], {"mode": "cluster"}),
    "cluster-secured": Source(
        "cluster",
        ["nats", "bus-login", "monitoring", "tls", "tokens", "access-nlb", "scale-on-streams"],
        SECURED
        | MONITORED
        | {
            "mode": "cluster",
            "bus": {"login": True},
            "edges": {"streams": 6000},
            "loadBalancer": {"enabled": True, "sourceRanges": ["203.0.113.0/24"]},
        },
    ),
    "cluster-elsewhere": Source(
        "cluster",
        ["nats-elsewhere", "bus-login", "embedded-exchange", "monitoring"],
        MONITORED
        | {
            "mode": "cluster",
            "embeddedExchange": {"enabled": True},
            "bus": {
                "urls": ["nats://nats.messaging.svc:4222"],
                "peers": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "messaging"}}}],
                "login": True,
            },
        },
    ),
}
"""What is rendered, by both ways of installing."""

CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "Namespace", "StorageClass", "VolumeSnapshotClass"}


@pytest.fixture(scope="session")
def renderings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The YAML of each of ``SOURCES``: by its name from kustomize, with ``helm-`` before it from the chart."""
    result = {name: kustomized(source, tmp_path_factory) for name, source in SOURCES.items()}
    return result | {f"helm-{name}": charted(source.values) for name, source in SOURCES.items()}


def kustomized(source: Source, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What kustomize makes of a folder and components."""
    if not source.components:
        return render(K8S / source.folder)
    joined = tmp_path_factory.mktemp("overlay").resolve()
    # As if the components were added to the overlay itself: its image is theirs too.
    of_overlay = yaml.safe_load((K8S / source.folder / "kustomization.yaml").read_text())
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "candled",
        "images": of_overlay.get("images", []),
        "resources": [os.path.relpath(K8S / source.folder, joined)],
        "components": [os.path.relpath(K8S / "components" / name, joined) for name in source.components],
    }
    (joined / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return render(joined)


def helm_template(
    values: dict[str, Any], *options: str, release: str = "candled"
) -> subprocess.CompletedProcess[str]:
    """Run ``helm template`` on the chart."""
    command: list[str | Path] = [find_tool("helm"), "template", release, CHART, "--values", "-", *options]
    return subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, timeout=60)


def charted(values: dict[str, Any], *, release: str = "candled", namespace: str = "candled") -> str:
    """What the chart makes of values, with the namespace that helm would put the objects in."""
    answer = helm_template(values, "--namespace", namespace, release=release)
    if answer.returncode != 0:
        pytest.fail(answer.stderr)
    objects = [thing for thing in yaml.safe_load_all(answer.stdout) if thing is not None]
    for thing in objects:
        if thing["kind"] not in CLUSTER_WIDE:
            thing["metadata"]["namespace"] = namespace
    return yaml.safe_dump_all(objects)


@pytest.fixture(scope="session", params=[*SOURCES, *(f"helm-{name}" for name in SOURCES)])
def rendered(request: pytest.FixtureRequest, renderings: dict[str, str]) -> str:
    """The YAML of one of ``SOURCES`` by one way of installing, each in turn."""
    return renderings[request.param]


@pytest.fixture(scope="session")
def rendered_files(renderings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Those of kustomize as files, for tools; the chart's are the same, as another test proves."""
    folder = tmp_path_factory.mktemp("rendered")
    for name in SOURCES:
        (folder / f"{name}.yaml").write_text(renderings[name])
    shutil.copy(K8S / "volume-shell.yaml", folder)
    return sorted(folder.iterdir())
