"""The Kubernetes manifests agree with themselves, with the daemon and with the image."""

import copy
import itertools
import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.conftest import K8S, ROOT, find_tool, render
from tests.ops.cross_references import (
    Object,
    container,
    daemons,
    fronts,
    image_user,
    of_kind,
    part,
    pod,
    problems,
    workloads,
)

KUBERNETES_VERSIONS = ["1.32", "1.35", "1.36", "1.37"]
"""The oldest that the manifests need, and the three newest."""

VOLUME_SHELL = K8S / "volume-shell.yaml"
SNAPSHOT_CLASS = K8S / "snapshot-class.yaml"


def objects_of(text: str) -> list[Object]:
    return list(yaml.safe_load_all(text))


def test_nothing_refers_to_what_is_not_there(rendered: str) -> None:
    assert problems(objects_of(rendered)) == []


@pytest.mark.slow
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_object_fits_the_schema(
    rendered_files: list[Path], version: str, tool: Callable[[str], str]
) -> None:
    validate: list[str | Path] = [tool("kubernetes-validate"), "--strict", "-k", version, *rendered_files]
    answer = subprocess.run(validate, capture_output=True, text=True, timeout=60)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count(" passed for resource ") > 30


@pytest.mark.slow
def test_an_unknown_field_does_not_fit_the_schema(
    renderings: dict[str, str], tool: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "mistaken.yaml"
    file.write_text(renderings["base"].replace("minReadySeconds:", "minimumReadySeconds:"))

    validate: list[str | Path] = [tool("kubernetes-validate"), "--strict", "-k", KUBERNETES_VERSIONS[-1], file]
    answer = subprocess.run(validate, capture_output=True, text=True, timeout=60)

    assert answer.returncode != 0
    assert "minimumReadySeconds" in answer.stdout + answer.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_checkov_finds_only_excused_issues(rendered_files: list[Path], tool: Callable[[str], str]) -> None:
    config: list[str | Path] = ["--config-file", ROOT / "ops" / "checkov.yaml", "--framework", "kubernetes"]
    files: list[str | Path] = [argument for file in rendered_files for argument in ("--file", file)]
    answer = subprocess.run([tool("checkov"), *config, *files], capture_output=True, text=True, timeout=300)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert sum(map(int, re.findall(r"Passed checks: (\d+)", answer.stdout))) > 200


def test_every_file_of_the_manifests_is_used_or_is_a_cluster_of_kind() -> None:
    listed: set[Path] = {K8S / "overlays" / "kind" / "cluster.yaml", VOLUME_SHELL, SNAPSHOT_CLASS}
    for kustomization in K8S.rglob("kustomization.yaml"):
        listed.add(kustomization)
        content = yaml.safe_load(kustomization.read_text())
        listed |= {kustomization.parent / name for name in content.get("resources", [])}
        for generator in content.get("configMapGenerator", []):
            listed |= {kustomization.parent / name for name in generator["files"]}

    assert {path for path in K8S.rglob("*") if path.is_file()} - listed == set()


def test_the_image_is_this_version(rendered: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    ours = [workload for workload in workloads(objects_of(rendered)) if part(workload) != "nats"]

    assert {container(workload)["image"].rpartition(":")[2] for workload in ours} == {version}


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

    (front,) = fronts(objects_of(rendered))

    assert {str(port["containerPort"]) for port in container(front)["ports"]} == set(exposed[1].split())


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


def configure(objects: list[Object], **values: str) -> None:
    """Set variables of the daemon's container."""
    variables = container(daemon_of(objects))["env"]
    for name, value in values.items():
        variables[:] = [variable for variable in variables if variable["name"] != name]
        variables.append({"name": name, "value": value})


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
        lambda o: configure(o, CANDLED_DATA_DIR="/srv/candled"),
        "the data directory is not in",
    ),
    "settings in a config map": (
        lambda o: container(daemon_of(o)).update(envFrom=[{"configMapRef": {"name": "candled-5k2b"}}]),
        "its settings can be pruned under a pod that restarts",
    ),
    "a setting in a config map": (
        lambda o: container(daemon_of(o))["env"].append(
            {"name": "CANDLED_CHART", "valueFrom": {"configMapKeyRef": {"name": "candled", "key": "chart"}}}
        ),
        "CANDLED_CHART can be pruned",
    ),
    "a file of settings in a config map": (
        lambda o: pod(daemon_of(o))["volumes"].append({"name": "settings", "configMap": {"name": "candled"}}),
        "settings can be pruned",
    ),
    "an empty list": (
        lambda o: named(o, "NetworkPolicy", "candled-exchange")["spec"].update(egress=[]),
        "NetworkPolicy candled-exchange: the server drops the empty spec.egress",
    ),
    "an empty list within": (
        lambda o: container(daemon_of(o)).update(command=[]),
        "drops the empty spec.template.spec.containers[0].command",
    ),
    "a null": (
        lambda o: daemon_of(o)["spec"].update(minReadySeconds=None),
        "drops the empty spec.minReadySeconds",
    ),
    "a port that nobody is admitted to": (
        lambda o: container(daemon_of(o))["ports"].append({"name": "debug", "containerPort": 9}),
        "admits anyone to debug",
    ),
    "rules for a direction that is not named": (
        lambda o: named(o, "NetworkPolicy", "candled-exchange")["spec"].update(policyTypes=["Egress"]),
        "has rules for Ingress and does not name it",
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
        lambda o: configure(o, CANDLED_SYMBOL="BTCUSDT"),
        "no setting CANDLED_SYMBOL",
    ),
    "a value that the daemon does not take": (
        lambda o: configure(o, CANDLED_STREAM="trades"),
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
        lambda o: configure(o, CANDLED_GRPC_ADDRESS="127.0.0.1:50051"),
        "does not listen on the pod's grpc port",
    ),
    "an option that the exchange does not know": (
        lambda o: container(named(o, "Deployment", "candled-exchange"))["args"].append("--sped=2"),
        "no option --sped=2",
    ),
    "an exchange that is not there": (
        lambda o: configure(o, CANDLED_STREAM_URLS="ws://exchanges:9443"),
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
        lambda o: configure(o, CANDLED_GRPC_TLS_CERTIFICATE="/tmp/tls.crt"),
        "speaks no TLS",
    ),
    "a file that no volume holds": (
        lambda o: configure(o, CANDLED_TOKENS_FILE="/etc/candled/tokens/tokens"),
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
        lambda o: configure(o, CANDLED_REST_WEIGHT_PER_MINUTE="6000"),
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
    "the node's network": (
        lambda o: pod(daemon_of(o)).update(hostNetwork=True),
        "hostNetwork gives it what is the node's",
    ),
    "a folder of the node": (
        lambda o: pod(daemon_of(o))["volumes"][0].update(hostPath={"path": "/var/lib/candled"}),
        "is a folder of the node",
    ),
    "a port of the node": (
        lambda o: container(daemon_of(o))["ports"][0].update(hostPort=50051),
        "takes a port of the node",
    ),
    "a setting of the kernel": (
        lambda o: pod(daemon_of(o))["securityContext"].update(
            sysctls=[{"name": "net.core.somaxconn", "value": "1"}]
        ),
        "changes settings of the kernel",
    ),
    "a variable twice": (
        lambda o: container(daemon_of(o))["env"].append({"name": "CANDLED_SYMBOLS", "value": "BTCUSDT"}),
        "has the variable CANDLED_SYMBOLS twice",
    ),
    "a port number twice": (
        lambda o: container(daemon_of(o))["ports"].append({"name": "again", "containerPort": 50051}),
        "has the port number 50051 twice",
    ),
    "an object twice": (
        lambda o: o.append(named(o, "ServiceAccount", "candled")),
        "ServiceAccount candled is there twice",
    ),
    "shards that one zone takes along": (
        lambda o: pod(daemon_of(o))["topologySpreadConstraints"].pop(),
        "nothing spreads its pods over ['topology.kubernetes.io/zone']",
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
        lambda o: configure(o, CANDLED_SHARDS="BTCUSDT;PEPEUSDT"),
        "other symbols than CANDLED_SYMBOLS",
    ),
    "a symbol of two shards": (
        "eks-sharded",
        lambda o: configure(o, CANDLED_SHARDS="BTCUSDT,ETHUSDT;ETHUSDT,PEPEUSDT"),
        "ETHUSDT is in shards 0 and 1",
    ),
    "a whole request weight for each pod": (
        "eks-sharded",
        lambda o: configure(o, CANDLED_REST_WEIGHT_PER_MINUTE="3000"),
        "may pass the exchange's request weight",
    ),
    "an address that no pod has": (
        "eks-sharded",
        lambda o: configure(o, CANDLED_SHARD_ADDRESS="candled-{shard}.candled:50051"),
        "clients are sent to an address that no pod has",
    ),
    "an address that only its own namespace resolves": (
        "eks-sharded",
        lambda o: configure(o, CANDLED_SHARD_ADDRESS="candled-{shard}.candled-shards:50051"),
        "clients are sent to an address that no pod has",
    ),
    "a variable that is defined after its use": (
        "eks-sharded",
        lambda o: container(daemon_of(o))["env"].reverse(),
        "CANDLED_SHARD_ADDRESS uses a variable that is not defined before it",
    ),
    "a scrape without its token": (
        "eks-secured",
        lambda o: named(o, "PodMonitor", "candled")["spec"]["podMetricsEndpoints"][0].pop("authorization"),
        "sends no token",
    ),
    "a token where none is asked for": (
        "eks-sharded",
        lambda o: named(o, "PodMonitor", "candled")["spec"]["podMetricsEndpoints"][0].update(
            authorization={"credentials": {"name": "candled-tokens", "key": "metrics"}}
        ),
        "sends a token to nobody",
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


def listener(objects: list[Object]) -> Object:
    first: Object = named(objects, "Gateway", "candled")["spec"]["listeners"][0]
    return first


MISTAKES_OF_COMPONENTS |= {
    "a gateway without tokens": (
        "eks-gateway",
        lambda o: container(daemon_of(o))["env"].remove(
            {"name": "CANDLED_TOKENS_FILE", "value": "/etc/candled/tokens/tokens"}
        ),
        "everyone outside may read",
    ),
    "a load balancer before a port in clear": (
        "eks-nlb",
        lambda o: container(daemon_of(o))["env"].remove(
            {"name": "CANDLED_GRPC_TLS_CERTIFICATE", "value": "/etc/candled/tls/tls.crt"}
        ),
        "tokens cross the internet in clear",
    ),
    "a load balancer for everyone": (
        "eks-nlb",
        lambda o: named(o, "Service", "candled-public")["spec"].pop("loadBalancerSourceRanges"),
        "admits the whole internet",
    ),
    "a listener in clear": (
        "eks-gateway",
        lambda o: listener(o).update(protocol="HTTP"),
        "grpc does not encrypt",
    ),
    "a listener's name": ("eks-gateway", lambda o: listener(o).update(name="rpc"), "no such listener"),
    "a host name": (
        "eks-gateway",
        lambda o: named(o, "GRPCRoute", "candled")["spec"].update(hostnames=["candled.example.org"]),
        "another name than its listener",
    ),
    "a route's port": (
        "eks-gateway",
        lambda o: named(o, "GRPCRoute", "candled")["spec"]["rules"][0]["backendRefs"][0].update(port=8080),
        "its backend has no such port, or it is not grpc",
    ),
    "a certificate's name": (
        "eks-nlb",
        lambda o: named(o, "Certificate", "candled")["spec"]["dnsNames"].pop(),
        "does not name *.candled-shards.candled.svc",
    ),
    "a certificate's secret": (
        "eks-nlb",
        lambda o: named(o, "Certificate", "candled")["spec"].update(secretName="tls"),
        "no pod uses its secret",
    ),
    "a backup's script": (
        "eks-gateway",
        lambda o: named(o, "CronJob", "candled-backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"][
            "volumes"
        ][0]["configMap"].update(name="candled-x"),
        "no such config map",
    ),
    "a backup's rights": (
        "eks-gateway",
        lambda o: named(o, "RoleBinding", "candled-backup")["subjects"][0].update(namespace="default"),
        "no such service account",
    ),
}


def edge_of(objects: list[Object]) -> Object:
    return named(objects, "Deployment", "candled-edge")


def ingest_of(objects: list[Object]) -> Object:
    return named(objects, "StatefulSet", "candled-ingest-0")


def variable(workload: Object, name: str) -> Object:
    (found,) = [each for each in container(workload)["env"] if each["name"] == name]
    thing: Object = found
    return thing


def configuration(objects: list[Object], old: str, new: str) -> None:
    """Change a line of the servers' configuration."""
    annotations = named(objects, "StatefulSet", "candled-nats")["spec"]["template"]["metadata"]["annotations"]
    assert old in annotations["candled/nats.conf"]
    annotations["candled/nats.conf"] = annotations["candled/nats.conf"].replace(old, new)


MISTAKES_OF_COMPONENTS |= {
    "an edge that reaches the exchange": (
        "cluster",
        lambda o: named(o, "NetworkPolicy", "candled-edge")["spec"]["egress"].append(
            named(o, "NetworkPolicy", "candled-ingest")["spec"]["egress"][1]
        ),
        "serves clients and may send to the internet",
    ),
    "an edge that stops before another is ready": (
        "cluster",
        lambda o: edge_of(o)["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
        "ends pods before others are ready",
    ),
    "an edge that stops at once": (
        "cluster",
        lambda o: container(edge_of(o)).pop("lifecycle"),
        "new connections still come while it stops",
    ),
    "a grace period without the wait before it": (
        "cluster",
        lambda o: pod(edge_of(o)).update(terminationGracePeriodSeconds=19),
        "would be killed before it has drained",
    ),
    "a number of edges beside the autoscaler's": (
        "cluster",
        lambda o: edge_of(o)["spec"].update(replicas=2),
        "each apply would undo what the autoscaler did",
    ),
    "an autoscaler of nothing": (
        "cluster",
        lambda o: named(o, "HorizontalPodAutoscaler", "candled-edge")["spec"]["scaleTargetRef"].update(name="x"),
        "has no autoscaler",
    ),
    "a lone ingester": (
        "cluster",
        lambda o: ingest_of(o)["spec"].update(replicas=1),
        "its loss stops the shard",
    ),
    "a whole request weight for each ingester": (
        "cluster",
        lambda o: variable(ingest_of(o), "CANDLED_REST_WEIGHT_PER_MINUTE").update(value="3000"),
        "all ingesters together may pass",
    ),
    "ingesters of one rank": (
        "cluster",
        lambda o: variable(ingest_of(o), "CANDLED_INGEST_RANK").update(
            valueFrom={"fieldRef": {"fieldPath": "metadata.uid"}}
        ),
        "a pod does not learn its rank",
    ),
    "a shard whose symbols another has": (
        "cluster",
        lambda o: o.append(copy.deepcopy(ingest_of(o))),
        "BTCUSDT is StatefulSet candled-ingest-0's too",
    ),
    "pods apart from others'": (
        "cluster",
        lambda o: pod(ingest_of(o))["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ][0]["labelSelector"]["matchLabels"].update({"candled/shard": "1"}),
        "by labels that are not theirs alone",
    ),
    "a server that is not there": (
        "cluster",
        lambda o: variable(edge_of(o), "CANDLED_BUS_URLS").update(value="nats://candled-nats:4222"),
        "are not the servers that there are",
    ),
    "a route to nobody": (
        "cluster",
        lambda o: configuration(o, "candled-nats-2.candled-nats:6222", "candled-nats-3.candled-nats:6222"),
        "its routes are not the servers that there are",
    ),
    "a log that is not on the disk": (
        "cluster",
        lambda o: configuration(o, "sync_interval: always", "sync_interval: 2m"),
        "acknowledges what is not on a disk",
    ),
    "a log outside the volume": (
        "cluster",
        lambda o: configuration(o, "store_dir: /data", "store_dir: /tmp"),
        "keeps the log outside its volume",
    ),
    "servers that anyone reaches": (
        "cluster",
        lambda o: named(o, "NetworkPolicy", "candled-nats")["spec"]["ingress"][0].pop("from"),
        "is reached by others",
    ),
    "more copies than servers": (
        "cluster",
        lambda o: named(o, "StatefulSet", "candled-nats")["spec"].update(replicas=1),
        "fewer servers than copies of the log",
    ),
    "no way to the bus": (
        "cluster-elsewhere",
        lambda o: o.remove(named(o, "NetworkPolicy", "candled-to-bus")),
        "no policy lets it reach nats://nats.messaging.svc:4222",
    ),
    "a role of another": (
        "cluster",
        lambda o: variable(edge_of(o), "CANDLED_ROLE").update(value="ingest"),
        "has the role ingest",
    ),
    "an edge's port in clear behind a load balancer": (
        "cluster-secured",
        lambda o: container(edge_of(o))["env"].remove(variable(edge_of(o), "CANDLED_GRPC_TLS_CERTIFICATE")),
        "tokens cross the internet in clear",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES_OF_COMPONENTS)
def test_a_mistake_planted_in_a_component_is_found(mistake: str, renderings: dict[str, str]) -> None:
    name, plant, sentence = MISTAKES_OF_COMPONENTS[mistake]
    objects = objects_of(renderings[name])

    plant(objects)

    assert [problem for problem in problems(objects) if sentence in problem]


COMPONENTS = ["monitoring", "shards", "tls", "tokens"]


def sorted_lists(value: Any) -> Any:
    """A value with its lists in one order, for comparing objects whose lists are sets by name."""
    if isinstance(value, dict):
        return {name: sorted_lists(part) for name, part in value.items()}
    if isinstance(value, list):
        return sorted(map(sorted_lists, value), key=repr)
    return value


def with_components(folder: Path, components: Sequence[str]) -> list[Object] | None:
    """The objects of the base with components in this order; None if kustomize refuses the order."""
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "candled",
        "resources": [os.path.relpath(K8S / "base", folder)],
        "components": [os.path.relpath(K8S / "components" / name, folder) for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    answer = subprocess.run(
        [find_tool("kubectl"), "kustomize", folder], capture_output=True, text=True, timeout=60
    )
    if answer.returncode != 0:
        assert "candled~1metrics failed" in answer.stderr or "readinessProbe/httpGet" in answer.stderr
        return None
    return objects_of(answer.stdout)


@pytest.mark.slow
def test_components_work_in_any_order(tmp_path: Path) -> None:
    """Every order of the components renders the same correct objects, or is refused."""
    first = with_components(tmp_path.resolve(), ["embedded-exchange", *COMPONENTS])
    assert first is not None
    assert problems(first) == []
    for number, order in enumerate(itertools.permutations(COMPONENTS)):
        whole = [*order, "embedded-exchange"] if number % 2 else ["embedded-exchange", *order]
        objects = with_components(tmp_path.resolve(), whole)
        if order.index("tokens") < order.index("monitoring"):
            assert objects is None, order
        else:
            assert sorted_lists(objects) == sorted_lists(first), order


@pytest.mark.parametrize(
    "order",
    [["access-gateway"], ["access-gateway", "tokens"], ["tokens", "access-nlb"], ["access-nlb", "tls", "tokens"]],
    ids=" ".join,
)
def test_access_without_protection_is_refused(order: list[str], tmp_path: Path) -> None:
    """kustomize renders no way in from outside without tokens and TLS before it."""
    assert with_components(tmp_path.resolve(), order) is None


def test_prometheus_sends_a_token_where_metrics_ask_for_one(renderings: dict[str, str]) -> None:
    (monitor,) = of_kind(objects_of(renderings["eks-secured"]), "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]

    assert endpoint["authorization"] == {"credentials": {"name": "candled-tokens", "key": "metrics"}}
