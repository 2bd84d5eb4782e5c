"""What a schema cannot see in a set of Kubernetes objects: names, labels, ports and settings that must agree.

Each check takes the objects and yields sentences, one for each mistake.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import attrs

from candled.config.settings import DaemonSettings, ExchangeSettings
from candled.config.shards import parse_shards
from candled.config.sources import load_settings
from candled.errors import SettingsError
from candled.feed.registry import find_adapter
from tests.ops.conftest import CLUSTER_WIDE

Object = dict[str, Any]

POD_NAME = "statefulset.kubernetes.io/pod-name"
"""A label that the controller gives to each pod."""
Problems = Iterator[str]

DRAIN_SECONDS = 10
"""How long the daemon takes at most to end its streams and commit its journal."""

REST_WEIGHTS = {"binance": 3000, "coinbase": 600}
"""Request weight a minute that all pods behind one address may use together: by exchange."""

DAEMON_PATHS = {"/healthz", "/readyz"}
EXCHANGE_PATHS = {"binance": {"/api/v3/ping", "/api/v3/time"}, "coinbase": {"/time"}}
"""Of candled's own exchange, by the form that it speaks."""
METRICS_PATH = "/metrics"
NATS_PATHS = {"/healthz", "/healthz?js-enabled-only=true", "/healthz?js-server-only=true"}
"""Of nats-server's monitoring port: with its part of the log, with JetStream on, with JetStream ready."""
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
    """Everything that makes pods; a CronJob in the form of the others, which is that of its jobs."""
    jobs = []
    for job in of_kind(objects, "CronJob"):
        template = job["spec"]["jobTemplate"]["spec"]["template"]
        selector = {"matchLabels": template["metadata"]["labels"]}
        jobs.append({**job, "spec": {"selector": selector, "template": template}})
    return of_kind(objects, "StatefulSet", "Deployment") + jobs


def pod(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Object) -> Object:
    (only,) = pod(workload)["containers"]
    thing: Object = only
    return thing


def part(workload: Object) -> str:
    return str(workload["spec"]["template"]["metadata"]["labels"].get("app.kubernetes.io/component"))


def probe_paths(workload: Object) -> set[str]:
    """What a workload answers over HTTP, of which it may be asked whether it is well."""
    if part(workload) in RUNS_CANDLED:
        return DAEMON_PATHS
    if part(workload) == "nats":
        return NATS_PATHS
    args: list[str] = container(workload)["args"]
    return EXCHANGE_PATHS[args[args.index("--form") + 1]]


RUNS_CANDLED = {"daemon", "ingest", "edge"}
"""What a pod of each mode is called that runs the daemon, in whatever role."""


def of_part(objects: list[Object], *parts: str) -> list[Object]:
    return [workload for workload in workloads(objects) if part(workload) in parts]


def daemons(objects: list[Object]) -> list[Object]:
    """The daemons that do everything themselves."""
    return of_part(objects, "daemon")


def processes(objects: list[Object]) -> list[Object]:
    """Everything that runs the daemon, in whatever role."""
    return of_part(objects, *RUNS_CANDLED)


def fronts(objects: list[Object]) -> list[Object]:
    """Those that serve clients."""
    return of_part(objects, "daemon", "edge")


def selected(selector: Object, objects: list[Object]) -> list[Object]:
    """The workloads whose pods carry every label of the selector."""
    return [w for w in workloads(objects) if _fits(selector, w["spec"]["template"]["metadata"]["labels"])]


def _fits(selector: Object, labels: dict[str, str]) -> bool:
    wanted = {n: v for n, v in selector.get("matchLabels", {}).items() if n != POD_NAME}
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In", expression
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return wanted.items() <= labels.items()


def port_names(workload: Object) -> set[str]:
    return {port["name"] for port in container(workload).get("ports", [])}


def port_numbers(workload: Object) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(workload).get("ports", [])}


def namespace(workload: Object) -> str:
    """The namespace of an object; one that names none goes to the namespace of the command that applies it."""
    return str(workload["metadata"].get("namespace", "default"))


def settings(workload: Object) -> dict[str, Any]:
    """The environment of a container as Kubernetes expands it.

    Returns:
        Values by name. What comes from a field of the pod is the reference to that field, except the namespace,
        which is known. ``$(NAME)`` is replaced if NAME stands before, as the kubelet does it.
    """
    values: dict[str, Any] = {}
    for variable in container(workload).get("env", []):
        value = variable.get("value", variable.get("valueFrom"))
        if isinstance(value, str):
            for name in re.findall(r"\$\((\w+)\)", value):
                if isinstance(values.get(name), str):
                    value = value.replace(f"$({name})", values[name])
        elif value == {"fieldRef": {"fieldPath": "metadata.namespace"}}:
            value = namespace(workload)
        values[variable["name"]] = value
    return values


@check
def selectors_match_pods(objects: list[Object]) -> Problems:
    for workload in workloads(objects):
        if workload not in selected(workload["spec"]["selector"], objects):
            yield f"{title(workload)} does not select its own pods"
        for spread in pod(workload).get("topologySpreadConstraints", []):
            if workload not in selected(spread["labelSelector"], objects):
                yield f"{title(workload)} spreads pods by labels that its own do not carry"
        for term in apart(workload):
            if selected(term["labelSelector"], objects) != [workload]:
                yield f"{title(workload)} keeps its pods apart by labels that are not theirs alone"
    for service in of_kind(objects, "Service"):
        # Shards of ingesters are StatefulSets of one kind.
        if len({part(each) for each in selected({"matchLabels": service["spec"]["selector"]}, objects)}) != 1:
            yield f"{title(service)} must select the pods of one workload"
    for budget in of_kind(objects, "PodDisruptionBudget"):
        if len(selected(budget["spec"]["selector"], objects)) != 1:
            yield f"{title(budget)} must select the pods of one workload"
    for policy in of_kind(objects, "NetworkPolicy"):
        if not selected(policy["spec"]["podSelector"], objects):
            yield f"{title(policy)} selects no pod"


def apart(workload: Object) -> list[Object]:
    """The terms that keep pods of a workload on different nodes."""
    rules = pod(workload).get("affinity", {}).get("podAntiAffinity", {})
    preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution", [])
    required: list[Object] = rules.get("requiredDuringSchedulingIgnoredDuringExecution", [])
    return [*required, *(each["podAffinityTerm"] for each in preferred)]


@check
def each_daemon_is_guarded(objects: list[Object]) -> Problems:
    for workload in [*processes(objects), *of_part(objects, "nats")]:
        for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
            guards = of_kind(objects, kind)
            if not any(workload in selected(guard["spec"][field], objects) for guard in guards):
                yield f"{title(workload)} has no {kind}"
        policies = [
            p for p in of_kind(objects, "NetworkPolicy") if workload in selected(p["spec"]["podSelector"], objects)
        ]
        admitted = {
            port["port"]
            for p in policies
            for rule in p["spec"].get("ingress", [])
            for port in rule.get("ports", [])
        }
        for name in sorted(port_names(workload) - admitted - FOR_PROBES):
            yield f"{title(workload)}: no NetworkPolicy admits anyone to {name}"
    for policy in of_kind(objects, "NetworkPolicy"):
        for direction in {"Ingress", "Egress"} - set(policy["spec"]["policyTypes"]):
            if direction.lower() in policy["spec"]:
                yield f"{title(policy)} has rules for {direction} and does not name it"


FOR_PROBES = {"monitor"}
"""Ports that only the node asks, which no policy stops."""


def emptiness(value: Any, path: str) -> Problems:
    """Paths of empty lists and nulls below a value."""
    if value is None or value == []:
        yield path
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from emptiness(part, f"{path}.{name}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from emptiness(part, f"{path}[{index}]")


@check
def what_is_applied_is_what_is_stored(objects: list[Object]) -> Problems:
    """The API server drops empty lists and nulls: ``kubectl diff`` would show them for ever, and each apply counts
    as a change."""
    for thing in objects:
        for path in emptiness(thing, ""):
            yield f"{title(thing)}: the server drops the empty {path.lstrip('.')}"


@check
def a_restart_finds_the_settings_of_its_revision(objects: list[Object]) -> Problems:
    """A ConfigMap that pods refer to can be pruned or changed while pods of the old revision still need it."""
    for workload in workloads(objects):
        if "envFrom" in container(workload):
            yield f"{title(workload)}: its settings can be pruned under a pod that restarts"
        for variable in container(workload).get("env", []):
            if {"configMapKeyRef", "secretKeyRef"} & set(variable.get("valueFrom", {})):
                yield f"{title(workload)}: {variable['name']} can be pruned under a pod that restarts"
        for volume in pod(workload).get("volumes", []):
            # A job is over within minutes.
            if "configMap" in volume and workload["kind"] != "CronJob":
                yield f"{title(workload)}: {volume['name']} can be pruned under a pod that restarts"


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
POD_IDENTITY = {"169.254.170.23/32", "fd00:ec2::23/128"}
"""The agent on the node that gives a pod the keys of its own role, and nothing else."""


@check
def the_way_out_leads_to_names_and_the_exchange_alone(objects: list[Object]) -> Problems:
    for workload in processes(objects):
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
                if peer.get("ipBlock", {}).get("cidr") in POD_IDENTITY and rule.get("ports") == [{"port": 80}]:
                    continue
                if "ipBlock" in peer:
                    open_ports |= {port["port"] for port in rule["ports"]}
                    if missing := set(PRIVATE) - set(peer["ipBlock"].get("except", [])):
                        yield f"{title(workload)} may send to private addresses: {sorted(missing)}"
        if part(workload) == "edge":
            if open_ports:
                yield f"{title(workload)} serves clients and may send to the internet"
            continue
        defaults = find_adapter(DaemonSettings().exchange).defaults
        for url in (*defaults.stream_urls, *defaults.rest_urls):
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
                elif port["port"] not in {443, port_numbers(workload)[port["targetPort"]]}:
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
                if part(workload) in {*RUNS_CANDLED, "nats"}:
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
                if probe["httpGet"]["path"] not in probe_paths(workload):
                    yield f"{title(workload)}: {kind} asks a path that is not served"
            if "grpc" in probe and "CANDLED_GRPC_TLS_CERTIFICATE" in settings(workload):
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
            data_dir = PurePosixPath(settings(workload)["CANDLED_DATA_DIR"])
            if not any(PurePosixPath(mount) in data_dir.parents for mount in mounts):
                yield f"{title(workload)}: the data directory is not in a folder of the claim's volume"
        paths = {mount["mountPath"] for mount in container(workload)["volumeMounts"]}
        if part(workload) in RUNS_CANDLED and "/tmp" not in paths:
            yield f"{title(workload)}: /tmp cannot be written"


@check
def references_have_objects(objects: list[Object]) -> Problems:
    names = {(thing["kind"], thing["metadata"]["name"]) for thing in objects}
    for workload in workloads(objects):
        if ("ServiceAccount", pod(workload)["serviceAccountName"]) not in names:
            yield f"{title(workload)}: no such service account"
        for volume in pod(workload).get("volumes", []):
            if "secret" in volume and volume["secret"]["secretName"] not in SECRETS:
                yield f"{title(workload)}: no such secret"
            if "configMap" in volume and ("ConfigMap", volume["configMap"]["name"]) not in names:
                yield f"{title(workload)}: no such config map"
            if "secret" in volume and volume["secret"]["defaultMode"] & 0o337:
                yield f"{title(workload)}: everybody may read a secret, or somebody write it"
        if part(workload) in RUNS_CANDLED:
            mounts = [PurePosixPath(mount["mountPath"]) for mount in container(workload)["volumeMounts"]]
            for name, value in settings(workload).items():
                path = PurePosixPath(value) if isinstance(value, str) and value.startswith("/") else None
                if path is not None and not any(mount in path.parents for mount in mounts):
                    yield f"{title(workload)}: {name} names a file that no volume holds"
    for monitor in of_kind(objects, "PodMonitor"):
        watched: list[Object | None] = [*selected(monitor["spec"]["selector"], objects)]
        for each in watched or [None]:
            for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                if each is None or endpoint["port"] not in port_names(each):
                    yield f"{title(monitor)} finds no pod, or no port of it"
                if endpoint["path"] != METRICS_PATH:
                    yield f"{title(monitor)} asks another path than {METRICS_PATH}"
                wanted = each is not None and "CANDLED_TOKENS_FILE" in settings(each)
                if wanted != ("authorization" in endpoint):
                    yield f"{title(monitor)} {'sends no token' if wanted else 'sends a token to nobody'}"
    for thing in of_kind(objects, "StatefulSet"):
        headless = [s for s in of_kind(objects, "Service") if s["spec"].get("clusterIP") == "None"]
        if thing["spec"]["serviceName"] not in {service["metadata"]["name"] for service in headless}:
            yield f"{title(thing)}: its service is not headless, so its pods have no names"
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        if (binding["roleRef"]["kind"], binding["roleRef"]["name"]) not in names:
            yield f"{title(binding)}: no such role"
        for subject in binding["subjects"]:
            accounts = {(a["metadata"]["name"], namespace(a)) for a in of_kind(objects, "ServiceAccount")}
            if (subject["name"], subject["namespace"]) not in accounts:
                yield f"{title(binding)}: no such service account"
    if len({thing["metadata"].get("namespace") for thing in objects if thing["kind"] not in CLUSTER_WIDE}) != 1:
        yield "the objects lie in different namespaces"


SECRETS = {"candled-tls", "candled-tokens", "candled-bus"}
"""Made by whoever deploys, and so in no manifest."""


@check
def settings_are_known(objects: list[Object]) -> Problems:
    known = {f"CANDLED_{field.name.upper()}" for field in attrs.fields(DaemonSettings)}
    for workload in processes(objects):
        values = settings(workload)
        for name in sorted(values.keys() - known - {"POD_NAMESPACE"}):
            yield f"{title(workload)}: the daemon has no setting {name}"
        numbers = port_numbers(workload)
        for name, port in (("CANDLED_GRPC_ADDRESS", "grpc"), ("CANDLED_HTTP_ADDRESS", "http")):
            if port == "grpc" and part(workload) == "ingest":
                continue  # nobody asks it for bars
            if values.get(name) != f"0.0.0.0:{numbers[port]}":
                yield f"{title(workload)}: {name} does not listen on the pod's {port} port"
        given = {name: value for name, value in values.items() if isinstance(value, str) and name in known}
        for name, value in given.items():
            if "$(" in value:
                yield f"{title(workload)}: {name} uses a variable that is not defined before it"
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
    for workload in of_part(objects, "daemon", "ingest"):
        values = settings(workload)
        for name, scheme in (("CANDLED_STREAM_URLS", "ws"), ("CANDLED_REST_URLS", "http")):
            if exchanges and values.get(name) not in {f"{scheme}://{address}" for address in exchanges}:
                yield f"{title(workload)}: {name} does not reach the embedded exchange"


@check
def shards_cover_every_symbol_once(objects: list[Object]) -> Problems:
    for workload in daemons(objects):
        values = settings(workload)
        replicas = workload["spec"]["replicas"]
        shards = 1
        parts: tuple[tuple[str, ...], ...] = ()
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
            host = f"{name}-{{shard}}.{service}.{namespace(workload)}.svc"
            if address != f"{host}:{port_numbers(workload)['grpc']}":
                yield f"{title(workload)}: clients are sent to an address that no pod has"
            if {s for shard in parts for s in shard} != set(values["CANDLED_SYMBOLS"].split(",")):
                yield f"{title(workload)}: the shards have other symbols than CANDLED_SYMBOLS"
        if replicas != shards:
            yield f"{title(workload)} has {replicas} pods for {shards} shards"
        most = REST_WEIGHTS[values["CANDLED_EXCHANGE"]]
        if replicas * int(values.get("CANDLED_REST_WEIGHT_PER_MINUTE", most)) > most:
            yield f"{title(workload)}: its pods together may pass the exchange's request weight"


@check
def ingesters_share_the_symbols_and_the_weight(objects: list[Object]) -> Problems:
    weight, most = 0, 0
    seen: dict[str, str] = {}
    for workload in of_part(objects, "ingest"):
        values = settings(workload)
        if values.get("CANDLED_INGEST_RANK") != {
            "fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}
        }:
            yield f"{title(workload)}: a pod does not learn its rank"
        if workload["spec"]["replicas"] < 2:
            yield f"{title(workload)}: with one ingester, its loss stops the shard"
        for symbol in values["CANDLED_SYMBOLS"].split(","):
            if symbol in seen:
                yield f"{title(workload)}: {symbol} is {seen[symbol]}'s too"
            seen[symbol] = title(workload)
        most = REST_WEIGHTS[values["CANDLED_EXCHANGE"]]
        weight += workload["spec"]["replicas"] * int(values.get("CANDLED_REST_WEIGHT_PER_MINUTE", most))
    if weight > most:
        yield "all ingesters together may pass the exchange's request weight"


@check
def the_bus_is_reached_and_has_a_quorum(objects: list[Object]) -> Problems:
    servers = of_part(objects, "nats")
    names = {
        f"{server['metadata']['name']}-{number}.{server['spec']['serviceName']}"
        for server in servers
        for number in range(server["spec"]["replicas"])
    }
    for workload in of_part(objects, "ingest", "edge"):
        values = settings(workload)
        if values["CANDLED_ROLE"] != part(workload):
            yield f"{title(workload)} has the role {values['CANDLED_ROLE']}"
        urls = values.get("CANDLED_BUS_URLS", "").split(",")
        if servers and set(urls) != {f"nats://{name}:4222" for name in names}:
            yield f"{title(workload)}: CANDLED_BUS_URLS are not the servers that there are"
        if int(values.get("CANDLED_BUS_REPLICAS", 0)) > len(names or {1, 2, 3}):
            yield f"{title(workload)}: fewer servers than copies of the log"
        rules = [
            rule
            for policy in of_kind(objects, "NetworkPolicy")
            if workload in selected(policy["spec"]["podSelector"], objects)
            for rule in policy["spec"].get("egress", [])
        ]
        for url in urls:
            if not any({"port": urlsplit(url).port or 4222} in rule["ports"] for rule in rules):
                yield f"{title(workload)}: no policy lets it reach {url or 'a bus'}"
    for server in servers:
        config = server["spec"]["template"]["metadata"]["annotations"]["candled/nats.conf"]
        if not re.search(r"^ *sync_interval: always$", config, re.MULTILINE):
            yield f"{title(server)} acknowledges what is not on a disk"
        if len(names) > 1 and set(re.findall(r"nats://(\S+):6222", config)) != names:
            yield f"{title(server)}: its routes are not the servers that there are"
        doors = [
            rule
            for policy in of_kind(objects, "NetworkPolicy")
            if server in selected(policy["spec"]["podSelector"], objects)
            for rule in policy["spec"].get("ingress", [])
        ]
        callers = [peer for rule in doors for peer in rule.get("from", [{"namespaceSelector": {}}])]
        admitted = {part(each) for peer in callers for each in selected(peer.get("podSelector", {}), objects)}
        if admitted != {"ingest", "edge", "nats"} or any("namespaceSelector" in peer for peer in callers):
            yield f"{title(server)} is reached by others than {sorted(admitted)}"
        mounts = {mount["name"]: mount["mountPath"] for mount in container(server)["volumeMounts"]}
        if mounts.get("data") not in re.findall(r"store_dir: (\S+)", config):
            yield f"{title(server)} keeps the log outside its volume"


@check
def an_upgrade_takes_no_edge_before_its_successor_is_ready(objects: list[Object]) -> Problems:
    scalers = {
        (scaler["spec"]["scaleTargetRef"]["kind"], scaler["spec"]["scaleTargetRef"]["name"])
        for scaler in of_kind(objects, "HorizontalPodAutoscaler")
    }
    for workload in of_part(objects, "edge"):
        if workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
            yield f"{title(workload)} ends pods before others are ready"
        if (workload["kind"], workload["metadata"]["name"]) not in scalers:
            yield f"{title(workload)} has no autoscaler"
        if "replicas" in workload["spec"]:
            yield f"{title(workload)}: each apply would undo what the autoscaler did"
        if "preStop" not in container(workload).get("lifecycle", {}):
            yield f"{title(workload)}: new connections still come while it stops"


@check
def outside_is_let_in_with_a_token_and_encrypted(objects: list[Object]) -> Problems:
    """Whatever is reached from outside the cluster asks for a token, encrypts, and names who may come."""
    gateways = of_kind(objects, "Gateway")
    balancers = [s for s in of_kind(objects, "Service") if s["spec"].get("type") == "LoadBalancer"]
    for workload in fronts(objects):
        values = settings(workload)
        if (gateways or balancers) and "CANDLED_TOKENS_FILE" not in values:
            yield f"{title(workload)}: everyone outside may read"
        if balancers and "CANDLED_GRPC_TLS_CERTIFICATE" not in values:
            yield f"{title(workload)}: tokens cross the internet in clear"
        if gateways and "CANDLED_GRPC_TLS_CERTIFICATE" in values:
            yield f"{title(workload)}: the gateway speaks in clear to a port that does not"
    for balancer in balancers:
        admitted = balancer["spec"].get("loadBalancerSourceRanges", [])
        if not admitted or "0.0.0.0/0" in admitted:
            yield f"{title(balancer)} admits the whole internet"
    for gateway in gateways:
        for listener in gateway["spec"]["listeners"]:
            if listener["protocol"] != "HTTPS" or not listener["tls"]["certificateRefs"]:
                yield f"{title(gateway)}: {listener['name']} does not encrypt"


@check
def routes_lead_from_a_listener_to_a_port(objects: list[Object]) -> Problems:
    """Routes belong to a listener of their name, and their backends are there."""
    listeners = {
        (gateway["metadata"]["name"], listener["name"]): listener["hostname"]
        for gateway in of_kind(objects, "Gateway")
        for listener in gateway["spec"]["listeners"]
    }
    ports = {
        (service["metadata"]["name"], port["port"]): port["name"]
        for service in of_kind(objects, "Service")
        for port in service["spec"]["ports"]
    }
    routed = set()
    for route in of_kind(objects, "GRPCRoute", "HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            listener = (parent["name"], parent["sectionName"])
            routed.add(listener)
            if listener not in listeners:
                yield f"{title(route)}: no such listener"
            elif route["spec"]["hostnames"] != [listeners[listener]]:
                yield f"{title(route)} answers to another name than its listener"
        wanted = "grpc" if route["kind"] == "GRPCRoute" else "http"
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                if ports.get((backend["name"], backend["port"])) != wanted:
                    yield f"{title(route)}: its backend has no such port, or it is not {wanted}"
    for name, section in sorted(listeners.keys() - routed):
        yield f"Gateway {name}: nothing is routed from {section}"


@check
def a_certificate_names_what_clients_call(objects: list[Object]) -> Problems:
    """cert-manager's certificate is the one that the daemon uses, with the names of its Services."""
    for certificate in of_kind(objects, "Certificate"):
        used = {v["secret"]["secretName"] for w in fronts(objects) for v in pod(w)["volumes"] if "secret" in v}
        if certificate["spec"]["secretName"] not in used:
            yield f"{title(certificate)}: no pod uses its secret"
        for workload in fronts(objects):
            zone = f"{namespace(workload)}.svc"
            services = {
                service["metadata"]["name"]: service["spec"].get("clusterIP") == "None"
                for service in of_kind(objects, "Service")
                if service["spec"]["selector"].get("app.kubernetes.io/component") == part(workload)
                and service["spec"].get("type", "ClusterIP") == "ClusterIP"
            }
            # A StatefulSet's pods have names below their Service's; an edge has none of its own.
            called = {
                f"{'*.' if headless and part(workload) == 'daemon' else ''}{name}.{zone}"
                for name, headless in services.items()
            }
            for name in sorted(called - set(certificate["spec"]["dnsNames"])):
                yield f"{title(certificate)} does not name {name}"


@check
def pods_are_confined(objects: list[Object]) -> Problems:
    for workload in workloads(objects):
        spec, own = pod(workload), container(workload)["securityContext"]
        asks_the_api = part(workload) == "backup"
        if spec["automountServiceAccountToken"] != asks_the_api or spec["enableServiceLinks"]:
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
def nothing_of_the_node_is_shared(objects: list[Object]) -> Problems:
    """A pod takes no process, folder, port or kernel setting of its node."""
    for workload in workloads(objects):
        spec = pod(workload)
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(field):
                yield f"{title(workload)}: {field} gives it what is the node's"
        for volume in spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{title(workload)}: {volume['name']} is a folder of the node"
        for port in container(workload).get("ports", []):
            if "hostPort" in port:
                yield f"{title(workload)}: {port['name']} takes a port of the node"
        if spec["securityContext"].get("sysctls"):
            yield f"{title(workload)} changes settings of the kernel"


@check
def a_name_stands_once(objects: list[Object]) -> Problems:
    """Of two variables of one name the last counts, and an apply may keep the other."""
    for workload in workloads(objects):
        lists = {
            "variable": [variable["name"] for variable in container(workload).get("env", [])],
            "port": [port["name"] for port in container(workload).get("ports", [])],
            "port number": [port["containerPort"] for port in container(workload).get("ports", [])],
            "mount": [mount["mountPath"] for mount in container(workload).get("volumeMounts", [])],
            "volume": [volume["name"] for volume in pod(workload).get("volumes", [])],
        }
        for what, names in lists.items():
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield f"{title(workload)} has the {what} {name} twice"
    keys = [(thing["kind"], namespace(thing), thing["metadata"]["name"]) for thing in objects]
    for kind, _, name in sorted({key for key in keys if keys.count(key) > 1}):
        yield f"{kind} {name} is there twice"


@check
def pods_of_a_set_do_not_die_together(objects: list[Object]) -> Problems:
    for workload in daemons(objects):
        keys = {spread["topologyKey"] for spread in pod(workload).get("topologySpreadConstraints", [])}
        if missing := {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} - keys:
            yield f"{title(workload)}: nothing spreads its pods over {sorted(missing)}"


@check
def drain_has_time(objects: list[Object]) -> Problems:
    for workload in processes(objects):
        before = container(workload).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if pod(workload)["terminationGracePeriodSeconds"] < before + DRAIN_SECONDS + 5:
            yield f"{title(workload)} would be killed before it has drained"


@check
def images_are_pinned(objects: list[Object]) -> Problems:
    images = {container(workload)["image"] for workload in workloads(objects) if part(workload) != "nats"}
    if len(images) != 1:
        yield f"one image is meant, not {sorted(images)}"
    for image in sorted(images | {container(workload)["image"] for workload in of_part(objects, "nats")}):
        tag = image.rpartition("/")[2].partition(":")[2]
        if tag in {"", "latest"}:
            yield f"{image} names no version"


def image_user(containerfile: Path) -> str:
    """The USER of the last stage."""
    lines = containerfile.read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith("USER ")][-1]
