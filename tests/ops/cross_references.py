"""What a schema cannot see in a set of Kubernetes objects: names, labels, ports and settings that must agree.

Each check takes the objects and yields sentences, one for each mistake.
"""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import attrs

from candled.domain.shards import parse_shards
from candled.errors import SettingsError
from candled.settings import DaemonSettings, ExchangeSettings
from candled.settings_sources import load_settings

Object = dict[str, Any]
Problems = Iterator[str]

DRAIN_SECONDS = 10
"""How long the daemon takes at most to end its streams and commit its journal."""

REST_WEIGHT = 3000
"""Request weight a minute that all pods behind one address may use together: half of the exchange's limit."""

PROBE_PATHS = {"daemon": {"/healthz", "/readyz"}, "exchange": {"/api/v3/ping", "/api/v3/time"}}
METRICS_PATH = "/metrics"
PROBE_SERVICES = {"", "candled.v1.CandleService"}

CHECKS: list[Callable[[list[Object]], Problems]] = []


def check(function: Callable[[list[Object]], Problems]) -> Callable[[list[Object]], Problems]:
    CHECKS.append(function)
    return function


def problems(objects: list[Object]) -> list[str]:
    return [problem for function in CHECKS for problem in function(objects)]


def title(thing: Object) -> str:
    return f"{thing['kind']} {thing['metadata']['name']}"


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [thing for thing in objects if thing["kind"] in kinds]


def workloads(objects: list[Object]) -> list[Object]:
    return of_kind(objects, "StatefulSet", "Deployment")


def pod(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Object) -> Object:
    (only,) = pod(workload)["containers"]
    thing: Object = only
    return thing


def part(workload: Object) -> str:
    return str(workload["spec"]["template"]["metadata"]["labels"].get("app.kubernetes.io/component"))


def daemons(objects: list[Object]) -> list[Object]:
    return [workload for workload in workloads(objects) if part(workload) == "daemon"]


def selected(selector: Object, objects: list[Object]) -> list[Object]:
    """The workloads whose pods carry every label of the selector."""
    wanted = selector.get("matchLabels", {}).items()
    return [w for w in workloads(objects) if wanted <= w["spec"]["template"]["metadata"]["labels"].items()]


def port_names(workload: Object) -> set[str]:
    return {port["name"] for port in container(workload)["ports"]}


def port_numbers(workload: Object) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(workload)["ports"]}


def settings(workload: Object, objects: list[Object]) -> dict[str, Any]:
    """The environment of a container; what comes from the pod's own fields is shown as its path."""
    values: dict[str, Any] = {}
    for source in container(workload).get("envFrom", []):
        for config in of_kind(objects, "ConfigMap"):
            if config["metadata"]["name"] == source.get("configMapRef", {}).get("name"):
                values |= config["data"]
    for variable in container(workload).get("env", []):
        values[variable["name"]] = variable.get("value", variable.get("valueFrom"))
    return values


@check
def selectors_match_pods(objects: list[Object]) -> Problems:
    for workload in workloads(objects):
        if workload not in selected(workload["spec"]["selector"], objects):
            yield f"{title(workload)} does not select its own pods"
        for spread in pod(workload).get("topologySpreadConstraints", []):
            if workload not in selected(spread["labelSelector"], objects):
                yield f"{title(workload)} spreads pods by labels that its own do not carry"
    for service in of_kind(objects, "Service"):
        if len(selected({"matchLabels": service["spec"]["selector"]}, objects)) != 1:
            yield f"{title(service)} must select the pods of one workload"
    for budget in of_kind(objects, "PodDisruptionBudget"):
        if len(selected(budget["spec"]["selector"], objects)) != 1:
            yield f"{title(budget)} must select the pods of one workload"
    for policy in of_kind(objects, "NetworkPolicy"):
        if not selected(policy["spec"]["podSelector"], objects):
            yield f"{title(policy)} selects no pod"


@check
def each_daemon_is_guarded(objects: list[Object]) -> Problems:
    for workload in daemons(objects):
        for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
            guards = of_kind(objects, kind)
            if not any(workload in selected(guard["spec"][field], objects) for guard in guards):
                yield f"{title(workload)} has no {kind}"
    for policy in of_kind(objects, "NetworkPolicy"):
        for direction in policy["spec"]["policyTypes"]:
            if direction.lower() not in policy["spec"]:
                yield f"{title(policy)} names {direction} and says nothing of it"


@check
def a_lone_pod_can_be_moved_and_keeps_its_volume(objects: list[Object]) -> Problems:
    for budget in of_kind(objects, "PodDisruptionBudget"):
        if budget["spec"].get("maxUnavailable") != 1:
            yield f"{title(budget)} would hold up the drain of a node, or let two shards go at once"
    for thing in of_kind(objects, "StatefulSet"):
        policy = thing["spec"].get("persistentVolumeClaimRetentionPolicy", {})
        if "Delete" in policy.values():
            yield f"{title(thing)}: its history goes with it"


PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
"""No exchange is there, but neighbours and a cloud's metadata service are."""


@check
def the_way_out_leads_to_names_and_the_exchange_alone(objects: list[Object]) -> Problems:
    for workload in daemons(objects):
        policies = [
            p for p in of_kind(objects, "NetworkPolicy") if workload in selected(p["spec"]["podSelector"], objects)
        ]
        rules = [rule for policy in policies for rule in policy["spec"].get("egress", [])]
        asked = [
            peer["podSelector"].get("matchLabels")
            for rule in rules
            if {("UDP", 53), ("TCP", 53)} <= {(p.get("protocol", "TCP"), p["port"]) for p in rule.get("ports", [])}
            for peer in rule.get("to", [])
        ]
        if {"k8s-app": "kube-dns"} not in asked:
            yield f"{title(workload)} cannot ask for names"
        open_ports: set[int] = set()
        for rule in rules:
            if not rule.get("to") or not rule.get("ports"):
                yield f"{title(workload)} may send anywhere, or to any port"
            for peer in rule.get("to", []):
                if "ipBlock" in peer:
                    open_ports |= {port["port"] for port in rule["ports"]}
                    if missing := set(PRIVATE) - set(peer["ipBlock"].get("except", [])):
                        yield f"{title(workload)} may send to private addresses: {sorted(missing)}"
        defaults = attrs.fields(DaemonSettings)
        for url in (*defaults.stream_urls.default, *defaults.rest_urls.default):
            parts = urlsplit(url)
            if (parts.port or 443) not in open_ports:
                yield f"{title(workload)} does not reach {url}"


@check
def ports_exist(objects: list[Object]) -> Problems:
    for service in of_kind(objects, "Service"):
        for workload in selected({"matchLabels": service["spec"]["selector"]}, objects):
            for port in service["spec"]["ports"]:
                if port.get("targetPort", port["port"]) not in port_names(workload):
                    yield f"{title(service)} sends to a port that {title(workload)} does not name"
                elif port["port"] != port_numbers(workload)[port["targetPort"]]:
                    yield f"{title(service)} answers on another number than {title(workload)}"
    for policy in of_kind(objects, "NetworkPolicy"):
        for workload in selected(policy["spec"]["podSelector"], objects):
            for rule in policy["spec"].get("ingress", []):
                for port in rule.get("ports", []):
                    if port["port"] not in port_names(workload):
                        yield f"{title(policy)} admits to a port that {title(workload)} does not name"
        for rule in policy["spec"].get("egress", []):
            for peer in rule.get("to", []):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    numbers = {port["port"] for port in rule["ports"]}
                    targets = selected(peer["podSelector"], objects)
                    if not targets or not all(numbers <= set(port_numbers(t).values()) for t in targets):
                        yield f"{title(policy)} lets out to a pod or port that is not there"


@check
def probes_ask_what_the_process_answers(objects: list[Object]) -> Problems:
    for workload in workloads(objects):
        numbers = port_numbers(workload)
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container(workload).get(kind)
            if probe is None:
                if part(workload) == "daemon":
                    yield f"{title(workload)} has no {kind}"
                continue
            if "grpc" in probe:
                if probe["grpc"]["port"] != numbers.get("grpc"):
                    yield f"{title(workload)}: {kind} asks a port that is not gRPC's"
                if probe["grpc"].get("service", "") not in PROBE_SERVICES:
                    yield f"{title(workload)}: {kind} asks a service that has no health"
            else:
                if probe["httpGet"]["port"] not in numbers:
                    yield f"{title(workload)}: {kind} asks a port that is not there"
                if probe["httpGet"]["path"] not in PROBE_PATHS[part(workload)]:
                    yield f"{title(workload)}: {kind} asks a path that is not served"
            if "grpc" in probe and "CANDLED_GRPC_TLS_CERTIFICATE" in settings(workload, objects):
                yield f"{title(workload)}: {kind} speaks no TLS, and the port does"
            if kind == "livenessProbe" and probe.get("httpGet", {}).get("path") == "/readyz":
                yield f"{title(workload)}: a stale feed would restart the daemon"


@check
def volumes_are_mounted_and_mounts_have_volumes(objects: list[Object]) -> Problems:
    for workload in workloads(objects):
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        there = claims | {volume["name"] for volume in pod(workload).get("volumes", [])}
        mounted = {mount["name"] for mount in container(workload).get("volumeMounts", [])}
        for name in sorted(there ^ mounted):
            yield f"{title(workload)}: {name} is {'not mounted' if name in there else 'mounted and no volume'}"
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            if len(claim["spec"]["accessModes"]) != 1 or claim["spec"]["accessModes"][0] not in {
                "ReadWriteOnce",
                "ReadWriteOncePod",
            }:
                yield f"{title(workload)}: two writers could share {claim['metadata']['name']}"
            storage_class = claim["spec"].get("storageClassName")
            classes = {made["metadata"]["name"] for made in of_kind(objects, "StorageClass")}
            if storage_class is not None and storage_class not in classes:
                yield f"{title(workload)}: no storage class {storage_class}"
        if part(workload) == "daemon":
            mounts = [m["mountPath"] for m in container(workload)["volumeMounts"] if m["name"] in claims]
            data_dir = PurePosixPath(settings(workload, objects)["CANDLED_DATA_DIR"])
            if not any(PurePosixPath(mount) in data_dir.parents for mount in mounts):
                yield f"{title(workload)}: the data directory is not in a folder of the claim's volume"
            if "/tmp" not in {mount["mountPath"] for mount in container(workload)["volumeMounts"]}:
                yield f"{title(workload)}: /tmp cannot be written"


@check
def references_have_objects(objects: list[Object]) -> Problems:
    names = {(thing["kind"], thing["metadata"]["name"]) for thing in objects}
    for workload in workloads(objects):
        if ("ServiceAccount", pod(workload)["serviceAccountName"]) not in names:
            yield f"{title(workload)}: no such service account"
        for source in container(workload).get("envFrom", []):
            if ("ConfigMap", source["configMapRef"]["name"]) not in names:
                yield f"{title(workload)}: no such config map"
        for volume in pod(workload).get("volumes", []):
            if "secret" in volume and volume["secret"]["secretName"] not in SECRETS:
                yield f"{title(workload)}: no such secret"
            if "secret" in volume and volume["secret"]["defaultMode"] & 0o337:
                yield f"{title(workload)}: everybody may read a secret, or somebody write it"
        if part(workload) == "daemon":
            mounts = [PurePosixPath(mount["mountPath"]) for mount in container(workload)["volumeMounts"]]
            for name, value in settings(workload, objects).items():
                path = PurePosixPath(value) if isinstance(value, str) and value.startswith("/") else None
                if path is not None and not any(mount in path.parents for mount in mounts):
                    yield f"{title(workload)}: {name} names a file that no volume holds"
    for monitor in of_kind(objects, "PodMonitor"):
        for workload in selected(monitor["spec"]["selector"], objects) or [None]:
            for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                if workload is None or endpoint["port"] not in port_names(workload):
                    yield f"{title(monitor)} finds no pod, or no port of it"
                if endpoint["path"] != METRICS_PATH:
                    yield f"{title(monitor)} asks another path than {METRICS_PATH}"
    for thing in of_kind(objects, "StatefulSet"):
        headless = [s for s in of_kind(objects, "Service") if s["spec"].get("clusterIP") == "None"]
        if thing["spec"]["serviceName"] not in {service["metadata"]["name"] for service in headless}:
            yield f"{title(thing)}: its service is not headless, so its pods have no names"
    if len({thing["metadata"].get("namespace") for thing in objects if thing["kind"] not in CLUSTER_WIDE}) != 1:
        yield "the objects lie in different namespaces"


CLUSTER_WIDE = {"Namespace", "StorageClass"}


SECRETS = {"candled-tls", "candled-tokens"}
"""Made by whoever deploys, and so in no manifest."""


@check
def settings_are_known(objects: list[Object]) -> Problems:
    known = {f"CANDLED_{field.name.upper()}" for field in attrs.fields(DaemonSettings)}
    for workload in daemons(objects):
        values = settings(workload, objects)
        for name in sorted(values.keys() - known):
            yield f"{title(workload)}: the daemon has no setting {name}"
        numbers = port_numbers(workload)
        for name, port in (("CANDLED_GRPC_ADDRESS", "grpc"), ("CANDLED_HTTP_ADDRESS", "http")):
            if values.get(name) != f"0.0.0.0:{numbers[port]}":
                yield f"{title(workload)}: {name} does not listen on the pod's {port} port"
        given = {name: value for name, value in values.items() if isinstance(value, str)}
        try:
            load_settings(DaemonSettings, environment=given)
        except SettingsError as error:
            yield f"{title(workload)}: the daemon would not start: {error}"
        annotations = workload["spec"]["template"]["metadata"]["annotations"]
        if annotations.get("prometheus.io/port") != str(numbers["http"]):
            yield f"{title(workload)}: Prometheus is sent to another port than http"
        if annotations.get("prometheus.io/path") != METRICS_PATH:
            yield f"{title(workload)}: Prometheus is sent to another path than {METRICS_PATH}"
        if container(workload)["args"] != ["run"]:
            yield f"{title(workload)} does not run the daemon"
    known = {f"--{field.name.replace('_', '-')}" for field in attrs.fields(ExchangeSettings)}
    for workload in workloads(objects):
        if part(workload) == "exchange":
            for option in container(workload)["args"]:
                if option.startswith("--") and option not in known:
                    yield f"{title(workload)}: the exchange has no option {option}"


@check
def embedded_exchange_is_reached(objects: list[Object]) -> Problems:
    exchanges = {
        f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
        for service in of_kind(objects, "Service")
        if service["spec"]["selector"].get("app.kubernetes.io/component") == "exchange"
    }
    for workload in daemons(objects):
        values = settings(workload, objects)
        for name, scheme in (("CANDLED_STREAM_URLS", "ws"), ("CANDLED_REST_URLS", "http")):
            if exchanges and values.get(name) not in {f"{scheme}://{address}" for address in exchanges}:
                yield f"{title(workload)}: {name} does not reach the embedded exchange"


@check
def shards_cover_every_symbol_once(objects: list[Object]) -> Problems:
    for workload in daemons(objects):
        values = settings(workload, objects)
        replicas = workload["spec"]["replicas"]
        shards, parts = 1, ()
        if "CANDLED_SHARDS" in values:
            try:
                parts = parse_shards(values["CANDLED_SHARDS"]).shards
                shards = len(parts)
            except ValueError as error:
                yield f"{title(workload)}: {error}"
            field = values.get("CANDLED_SHARD", {}).get("fieldRef", {}).get("fieldPath")
            if field != "metadata.labels['apps.kubernetes.io/pod-index']":
                yield f"{title(workload)}: a pod does not learn its shard"
            address = values.get("CANDLED_SHARD_ADDRESS")
            name, service = workload["metadata"]["name"], workload["spec"]["serviceName"]
            if address != f"{name}-{{shard}}.{service}:{port_numbers(workload)['grpc']}":
                yield f"{title(workload)}: clients are sent to an address that no pod has"
            if {s for shard in parts for s in shard} != set(values["CANDLED_SYMBOLS"].split(",")):
                yield f"{title(workload)}: the shards have other symbols than CANDLED_SYMBOLS"
        if replicas != shards:
            yield f"{title(workload)} has {replicas} pods for {shards} shards"
        if replicas * int(values.get("CANDLED_REST_WEIGHT_PER_MINUTE", REST_WEIGHT)) > REST_WEIGHT:
            yield f"{title(workload)}: its pods together may pass the exchange's request weight"


@check
def pods_are_confined(objects: list[Object]) -> Problems:
    for workload in workloads(objects):
        spec, own = pod(workload), container(workload)["securityContext"]
        if spec["automountServiceAccountToken"] or spec["enableServiceLinks"]:
            yield f"{title(workload)}: Kubernetes would put a token or service variables into its pods"
        outer = spec["securityContext"]
        if not outer["runAsNonRoot"] or outer["seccompProfile"] != {"type": "RuntimeDefault"}:
            yield f"{title(workload)} may run as root or call what it likes"
        if not own["readOnlyRootFilesystem"] or own["allowPrivilegeEscalation"]:
            yield f"{title(workload)} may write to its root or gain privileges"
        if own["capabilities"] != {"drop": ["ALL"]}:
            yield f"{title(workload)} keeps capabilities"
        if "memory" not in container(workload)["resources"]["limits"]:
            yield f"{title(workload)} has no memory limit"


@check
def drain_has_time(objects: list[Object]) -> Problems:
    for workload in daemons(objects):
        if pod(workload)["terminationGracePeriodSeconds"] < DRAIN_SECONDS + 5:
            yield f"{title(workload)} would be killed before it has drained"


@check
def images_are_pinned(objects: list[Object]) -> Problems:
    images = {container(workload)["image"] for workload in workloads(objects)}
    if len(images) != 1:
        yield f"one image is meant, not {sorted(images)}"
    for image in images:
        tag = image.rpartition("/")[2].partition(":")[2]
        if tag in {"", "latest"}:
            yield f"{image} names no version"


def image_user(containerfile: Path) -> str:
    """The USER of the last stage."""
    lines = containerfile.read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith("USER ")][-1]
