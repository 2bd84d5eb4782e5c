"""The Kubernetes manifests agree with themselves, with the daemon and with the image."""

import copy
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.conftest import K8S, ROOT, render
from tests.ops.cross_references import Object, container, daemons, image_user, of_kind, pod, problems, workloads

KUBERNETES_VERSIONS = ["1.32", "1.35", "1.37"]
"""The oldest that the manifests need, the one that the root for EKS makes, the newest."""

VOLUME_SHELL = K8S / "volume-shell.yaml"


def objects_of(text: str) -> list[Object]:
    return list(yaml.safe_load_all(text))


def test_nothing_refers_to_what_is_not_there(rendered: str) -> None:
    assert problems(objects_of(rendered)) == []


@pytest.mark.slow
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_object_fits_the_schema(
    rendered_files: list[Path], version: str, tool: Callable[[str], str]
) -> None:
    validate = [tool("kubernetes-validate"), "--strict", "-k", version, *rendered_files]
    answer = subprocess.run(validate, capture_output=True, text=True, timeout=60)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count(" passed for resource ") > 30


@pytest.mark.slow
def test_an_unknown_field_does_not_fit_the_schema(
    renderings: dict[str, str], tool: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "mistaken.yaml"
    file.write_text(renderings["base"].replace("minReadySeconds:", "minimumReadySeconds:"))

    validate = [tool("kubernetes-validate"), "--strict", "-k", KUBERNETES_VERSIONS[-1], file]
    answer = subprocess.run(validate, capture_output=True, text=True, timeout=60)

    assert answer.returncode != 0
    assert "minimumReadySeconds" in answer.stdout + answer.stderr


@pytest.mark.slow
def test_checkov_finds_nothing_that_is_not_excused(rendered_files: list[Path], tool: Callable[[str], str]) -> None:
    config = ["--config-file", ROOT / "ops" / "checkov.yaml", "--framework", "kubernetes"]
    files = [argument for file in rendered_files for argument in ("--file", file)]
    answer = subprocess.run([tool("checkov"), *config, *files], capture_output=True, text=True, timeout=300)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert sum(map(int, re.findall(r"Passed checks: (\d+)", answer.stdout))) > 200


def test_every_file_of_the_manifests_is_used_or_is_a_cluster_of_kind() -> None:
    listed: set[Path] = {K8S / "overlays" / "kind" / "cluster.yaml", VOLUME_SHELL}
    for kustomization in K8S.rglob("kustomization.yaml"):
        listed.add(kustomization)
        content = yaml.safe_load(kustomization.read_text())
        listed |= {kustomization.parent / name for name in content.get("resources", [])}
        for generator in content.get("configMapGenerator", []):
            listed |= {
                kustomization.parent / name for name in generator.get("envs", []) + generator.get("files", [])
            }

    assert {path for path in K8S.rglob("*") if path.is_file()} - listed == set()


def test_the_image_is_this_version(rendered: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert {container(workload)["image"].rpartition(":")[2] for workload in workloads(objects_of(rendered))} == {
        version
    }


def test_pods_run_as_the_user_of_the_image(rendered: str) -> None:
    for workload in workloads(objects_of(rendered)):
        context = pod(workload)["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == image_user(ROOT / "Containerfile")
        assert context.get("fsGroup", context["runAsGroup"]) == context["runAsGroup"]


def test_the_shell_on_a_volume_is_confined_as_the_daemon_whose_volume_it_takes(renderings: dict[str, str]) -> None:
    (daemon,) = daemons(objects_of(renderings["base"]))
    shell, policy = objects_of(VOLUME_SHELL.read_text())
    (only,) = shell["spec"]["containers"]
    (volume,) = shell["spec"]["volumes"]
    (claim,) = daemon["spec"]["volumeClaimTemplates"]

    assert policy["spec"]["podSelector"]["matchLabels"] == shell["metadata"]["labels"]
    assert shell["spec"]["securityContext"] == pod(daemon)["securityContext"]
    assert only["securityContext"] == container(daemon)["securityContext"]
    assert only["image"] == container(daemon)["image"]
    assert only["volumeMounts"] == [m for m in container(daemon)["volumeMounts"] if m["name"] == "data"]
    assert volume["persistentVolumeClaim"] == {
        "claimName": f"{claim['metadata']['name']}-{daemon['metadata']['name']}-0"
    }


def test_the_image_exposes_the_ports_of_the_pods(rendered: str) -> None:
    exposed = re.search(r"^EXPOSE (.*)$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert exposed

    (daemon,) = daemons(objects_of(rendered))

    assert {str(port["containerPort"]) for port in container(daemon)["ports"]} == set(exposed[1].split())


def test_kind_maps_the_node_ports_that_the_overlay_opens() -> None:
    cluster = yaml.safe_load((K8S / "overlays" / "kind" / "cluster.yaml").read_text())
    mapped = {
        mapping["containerPort"]: mapping["hostPort"]
        for node in cluster["nodes"]
        for mapping in node["extraPortMappings"]
    }
    objects = objects_of((K8S / "overlays" / "kind" / "from-this-machine.yaml").read_text())

    (service,) = of_kind(objects, "Service")

    assert mapped == {port["nodePort"]: port["port"] for port in service["spec"]["ports"]}
    assert {mapping["listenAddress"] for node in cluster["nodes"] for mapping in node["extraPortMappings"]} == {
        "127.0.0.1"
    }


def test_an_eks_volume_has_one_pod_is_encrypted_and_outlives_its_claim() -> None:
    objects = objects_of(render(K8S / "overlays" / "eks"))
    (daemon,) = daemons(objects)
    (claim,) = daemon["spec"]["volumeClaimTemplates"]
    (storage_class,) = of_kind(objects, "StorageClass")

    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert claim["spec"]["storageClassName"] == storage_class["metadata"]["name"]
    assert storage_class["parameters"] == {"type": "gp3", "encrypted": "true"}
    assert storage_class["reclaimPolicy"] == "Retain"
    assert storage_class["allowVolumeExpansion"] is True


def test_nothing_is_reachable_from_outside_an_eks_cluster() -> None:
    services = of_kind(objects_of(render(K8S / "overlays" / "eks")), "Service")

    assert {service["spec"].get("type", "ClusterIP") for service in services} == {"ClusterIP"}


def daemon_of(objects: list[Object]) -> Object:
    (daemon,) = daemons(objects)
    return daemon


def config_of(objects: list[Object]) -> dict[str, Any]:
    (config,) = [c for c in of_kind(objects, "ConfigMap") if "CANDLED_SYMBOLS" in c["data"]]
    data: dict[str, Any] = config["data"]
    return data


def named(objects: list[Object], kind: str, name: str) -> Object:
    (thing,) = [thing for thing in of_kind(objects, kind) if thing["metadata"]["name"] == name]
    return thing


def egress_of(objects: list[Object]) -> list[Any]:
    rules: list[Any] = named(objects, "NetworkPolicy", "candled")["spec"]["egress"]
    return rules


MISTAKES: dict[str, tuple[Callable[[list[Object]], Any], str]] = {
    "a service's selector": (
        lambda o: named(o, "Service", "candled")["spec"]["selector"].update({"app.kubernetes.io/name": "candle"}),
        "must select the pods of one workload",
    ),
    "a service's port name": (
        lambda o: named(o, "Service", "candled")["spec"]["ports"][0].update(targetPort="grcp"),
        "sends to a port that",
    ),
    "a label of the pods": (
        lambda o: daemon_of(o)["spec"]["template"]["metadata"]["labels"].update({"app.kubernetes.io/name": "x"}),
        "does not select its own pods",
    ),
    "a network policy's selector": (
        lambda o: named(o, "NetworkPolicy", "candled")["spec"].update(podSelector={"matchLabels": {"app": "x"}}),
        "selects no pod",
    ),
    "a network policy's port": (
        lambda o: named(o, "NetworkPolicy", "candled")["spec"]["ingress"][0]["ports"][0].update(port="htpp"),
        "admits to a port",
    ),
    "a port that egress leaves by": (
        lambda o: named(o, "NetworkPolicy", "candled-to-exchange")["spec"]["egress"][0]["ports"][0].update(port=1),
        "lets out to a pod or port",
    ),
    "no disruption budget": (
        lambda o: o.remove(named(o, "PodDisruptionBudget", "candled")),
        "has no PodDisruptionBudget",
    ),
    "a mount": (
        lambda o: container(daemon_of(o))["volumeMounts"][0].update(name="date"),
        "date is mounted and no volume",
    ),
    "a volume that two may write": (
        lambda o: daemon_of(o)["spec"]["volumeClaimTemplates"][0]["spec"].update(accessModes=["ReadWriteMany"]),
        "two writers could share data",
    ),
    "a data directory outside the volume": (
        lambda o: container(daemon_of(o))["env"][0].update(value="/srv/candled"),
        "the data directory is not in",
    ),
    "a config map's name": (
        lambda o: container(daemon_of(o))["envFrom"][0]["configMapRef"].update(name="candled-x"),
        "no such config map",
    ),
    "a service that is not headless": (
        lambda o: daemon_of(o)["spec"].update(serviceName="candled"),
        "its service is not headless",
    ),
    "a namespace": (
        lambda o: named(o, "Service", "candled")["metadata"].update(namespace="default"),
        "different namespaces",
    ),
    "a setting that the daemon does not know": (
        lambda o: config_of(o).update(CANDLED_SYMBOL="BTCUSDT"),
        "no setting CANDLED_SYMBOL",
    ),
    "a value that the daemon does not take": (
        lambda o: config_of(o).update(CANDLED_STREAM="trades"),
        "the daemon would not start",
    ),
    "a path of metrics": (
        lambda o: daemon_of(o)["spec"]["template"]["metadata"]["annotations"].update(
            {"prometheus.io/path": "/prometheus"}
        ),
        "Prometheus is sent to another path",
    ),
    "a budget that blocks drains": (
        lambda o: named(o, "PodDisruptionBudget", "candled").update(
            spec={"minAvailable": 1, "selector": daemon_of(o)["spec"]["selector"]}
        ),
        "hold up the drain",
    ),
    "claims that go with the set": (
        lambda o: daemon_of(o)["spec"]["persistentVolumeClaimRetentionPolicy"].update(whenDeleted="Delete"),
        "its history goes with it",
    ),
    "no way to names": (
        lambda o: egress_of(o)[0]["to"][0]["podSelector"].update(matchLabels={"k8s-app": "dns"}),
        "cannot ask for names",
    ),
    "a way to the metadata service": (
        lambda o: egress_of(o)[1]["to"][0]["ipBlock"]["except"].remove("169.254.0.0/16"),
        "may send to private addresses",
    ),
    "a way to anywhere": (lambda o: egress_of(o)[1].pop("to"), "may send anywhere"),
    "no way to the exchange": (lambda o: egress_of(o)[1]["ports"].pop(), "does not reach wss://"),
    "an address that only the pod itself reaches": (
        lambda o: config_of(o).update(CANDLED_GRPC_ADDRESS="127.0.0.1:50051"),
        "does not listen on the pod's grpc port",
    ),
    "an option that the exchange does not know": (
        lambda o: container(named(o, "Deployment", "exchange"))["args"].append("--sped=2"),
        "no option --sped=2",
    ),
    "an exchange that is not there": (
        lambda o: config_of(o).update(CANDLED_STREAM_URLS="ws://exchanges:9443"),
        "does not reach the embedded exchange",
    ),
    "a probe's path": (
        lambda o: container(daemon_of(o))["livenessProbe"]["httpGet"].update(path="/health"),
        "asks a path that is not served",
    ),
    "a liveness probe that asks for readiness": (
        lambda o: container(daemon_of(o))["livenessProbe"]["httpGet"].update(path="/readyz"),
        "a stale feed would restart the daemon",
    ),
    "a probe's port": (
        lambda o: container(daemon_of(o))["readinessProbe"]["grpc"].update(port=8080),
        "asks a port that is not gRPC's",
    ),
    "a probe's service": (
        lambda o: container(daemon_of(o))["readinessProbe"]["grpc"].update(service="candled.CandleService"),
        "asks a service that has no health",
    ),
    "a gRPC probe of a port that speaks TLS": (
        lambda o: config_of(o).update(CANDLED_GRPC_TLS_CERTIFICATE="/tmp/tls.crt"),
        "speaks no TLS",
    ),
    "a file that no volume holds": (
        lambda o: config_of(o).update(CANDLED_TOKENS_FILE="/etc/candled/tokens/tokens"),
        "names a file that no volume holds",
    ),
    "a grace period shorter than the drain": (
        lambda o: pod(daemon_of(o)).update(terminationGracePeriodSeconds=5),
        "would be killed before it has drained",
    ),
    "a second pod without a shard": (
        lambda o: daemon_of(o)["spec"].update(replicas=2),
        "has 2 pods for 1 shards",
    ),
    "a request weight that bans the address": (
        lambda o: config_of(o).update(CANDLED_REST_WEIGHT_PER_MINUTE="6000"),
        "may pass the exchange's request weight",
    ),
    "service variables that look like settings": (
        lambda o: pod(daemon_of(o)).update(enableServiceLinks=True),
        "service variables",
    ),
    "a root that can be written": (
        lambda o: container(daemon_of(o))["securityContext"].update(readOnlyRootFilesystem=False),
        "may write to its root",
    ),
    "no version": (
        lambda o: container(daemon_of(o)).update(image="candled"),
        "names no version",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    plant, sentence = MISTAKES[mistake]
    objects = copy.deepcopy(objects_of(render(K8S / "overlays" / "kind")))

    plant(objects)

    assert [problem for problem in problems(objects) if sentence in problem]


MISTAKES_OF_COMPONENTS: dict[str, tuple[str, Callable[[list[Object]], Any], str]] = {
    "a symbol of no shard": (
        "eks-sharded",
        lambda o: config_of(o).update(CANDLED_SHARDS="BTCUSDT;PEPEUSDT"),
        "other symbols than CANDLED_SYMBOLS",
    ),
    "a symbol of two shards": (
        "eks-sharded",
        lambda o: config_of(o).update(CANDLED_SHARDS="BTCUSDT,ETHUSDT;ETHUSDT,PEPEUSDT"),
        "ETHUSDT is in shards 0 and 1",
    ),
    "a whole request weight for each pod": (
        "eks-sharded",
        lambda o: config_of(o).update(CANDLED_REST_WEIGHT_PER_MINUTE="3000"),
        "may pass the exchange's request weight",
    ),
    "an address that no pod has": (
        "eks-sharded",
        lambda o: config_of(o).update(CANDLED_SHARD_ADDRESS="candled-{shard}.candled:50051"),
        "clients are sent to an address that no pod has",
    ),
    "a monitor's path": (
        "eks-sharded",
        lambda o: named(o, "PodMonitor", "candled")["spec"]["podMetricsEndpoints"][0].update(path="/prom"),
        "asks another path",
    ),
    "a secret that everybody reads": (
        "eks-secured",
        lambda o: pod(daemon_of(o))["volumes"][-1]["secret"].update(defaultMode=0o644),
        "everybody may read a secret",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES_OF_COMPONENTS)
def test_a_mistake_planted_in_a_component_is_found(mistake: str, renderings: dict[str, str]) -> None:
    name, plant, sentence = MISTAKES_OF_COMPONENTS[mistake]
    objects = objects_of(renderings[name])

    plant(objects)

    assert [problem for problem in problems(objects) if sentence in problem]


def test_prometheus_sends_a_token_where_metrics_ask_for_one(renderings: dict[str, str]) -> None:
    (monitor,) = of_kind(objects_of(renderings["eks-secured"]), "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]

    assert endpoint["authorization"] == {"credentials": {"name": "candled-tokens", "key": "metrics"}}
