"""The chart: it renders what kustomize renders, under any name and namespace, and refuses wrong values."""

import json
import re
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.ops.conftest import CHART, SECURED, SOURCES, TWO_SHARDS, charted, helm_template
from tests.ops.cross_references import (
    POD_NAME,
    Object,
    container,
    daemons,
    of_kind,
    of_part,
    pod,
    problems,
    selectors_match_pods,
    settings,
    title,
    workloads,
)
from tests.ops.test_manifests import SNAPSHOT_CLASS, objects_of, sorted_lists

LABELS_OF_HELM = {
    "helm.sh/chart",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
}
ANNOTATIONS_OF_HELM = {"helm.sh/resource-policy"}


def without(value: Any, names: set[str]) -> Any:
    """A value without the named labels and annotations, at any depth."""
    if isinstance(value, dict):
        kept = {name: without(part, names) for name, part in value.items() if name not in names}
        return {name: part for name, part in kept.items() if not (name == "annotations" and part == {})}
    return [without(part, names) for part in value] if isinstance(value, list) else value


def comparable(objects: list[Object]) -> dict[str, Object]:
    """Objects by kind and name, without what only one way of installing adds."""
    result = {}
    for thing in objects:
        if thing["kind"] == "Namespace":
            continue  # helm makes it with --create-namespace
        plain = without(thing, LABELS_OF_HELM | ANNOTATIONS_OF_HELM)
        # kustomize hashes the names of ConfigMaps, and selects by one label less.
        text = re.sub(r"\b(candled-(?:dashboard|backup))-[a-z0-9]{10}\b", r"\1", yaml.safe_dump(plain))
        plain = yaml.safe_load(text.replace(",app.kubernetes.io/instance=candled", ""))
        result[title(plain)] = sorted_lists(plain)
    return result


@pytest.mark.parametrize("name", SOURCES)
def test_both_ways_install_the_same(name: str, renderings: dict[str, str]) -> None:
    """The chart renders the objects that kustomize renders, field by field."""
    expected = comparable(objects_of(renderings[name]))

    assert comparable(objects_of(renderings[f"helm-{name}"])) == expected


def test_a_planted_difference_is_found(renderings: dict[str, str]) -> None:
    """The comparison above does not pass over a changed probe."""
    changed = renderings["helm-base"].replace("failureThreshold: 150", "failureThreshold: 15")

    assert comparable(objects_of(changed)) != comparable(objects_of(renderings["base"]))


@pytest.mark.parametrize(
    ("release", "name"), [("spot", "spot-candled"), ("candled-spot", "candled-spot"), ("candled", "candled")]
)
def test_another_release_is_consistent(release: str, name: str) -> None:
    """Names, selectors and addresses follow the release and its namespace."""
    values = TWO_SHARDS | SECURED | {"monitoring": {"enabled": True}, "embeddedExchange": {"enabled": True}}
    objects = objects_of(charted(values, release=release, namespace="prices"))
    (daemon,) = daemons(objects)

    assert problems(objects) == []
    assert daemon["metadata"]["name"] == name
    assert settings(daemon)["CANDLED_SHARD_ADDRESS"] == f"{name}-{{shard}}.{name}-shards.prices.svc:50051"


def test_releases_do_not_select_each_other() -> None:
    """Two releases in one namespace have disjoint selectors."""
    first, second = (objects_of(charted({}, release=name)) for name in ("candled-a", "candled-b"))

    for objects in (first, second):
        assert problems(objects) == []
    assert problems([*first, *second]) == []


CLUSTER = {"mode": "cluster"} | TWO_SHARDS


def test_each_shard_has_ingesters_of_its_own() -> None:
    """Every shard is a StatefulSet of pods apart from each other, and edges serve all of them."""
    objects = objects_of(charted(CLUSTER | SECURED, release="spot", namespace="prices"))
    ingesters = of_part(objects, "ingest")

    assert problems(objects) == []
    assert [settings(each)["CANDLED_SYMBOLS"] for each in ingesters] == ["BTCUSDT,ETHUSDT", "PEPEUSDT"]
    assert [settings(each)["CANDLED_REST_WEIGHT_PER_MINUTE"] for each in ingesters] == ["750", "750"]
    assert [each["metadata"]["name"] for each in ingesters] == ["spot-candled-ingest-0", "spot-candled-ingest-1"]


def test_clusters_do_not_select_each_other() -> None:
    """Two clusters in one namespace, and a single daemon beside them, have disjoint selectors."""
    releases = {"candled-a": CLUSTER, "candled-b": CLUSTER, "candled-c": {}}
    objects = [each for name, values in releases.items() for each in objects_of(charted(values, release=name))]

    assert list(selectors_match_pods(objects)) == []


def test_one_server_needs_no_routes() -> None:
    """A trial on one machine runs one server, and pods that may share its node."""
    values = CLUSTER | {"bus": {"replicas": 1}, "ingesters": {"apart": "preferred"}}
    objects = objects_of(charted(values))
    (server,) = of_part(objects, "nats")
    annotations = server["spec"]["template"]["metadata"]["annotations"]

    assert problems(objects) == []
    assert "cluster {" not in annotations["candled/nats.conf"]
    assert settings(of_part(objects, "edge")[0])["CANDLED_BUS_URLS"] == "nats://candled-nats-0.candled-nats:4222"
    assert all("required" not in str(pod(each).get("affinity")) for each in workloads(objects))


def test_a_cluster_is_reached_from_outside() -> None:
    """The gateway leads to the edges, and one certificate names what clients inside call."""
    access = {
        "certificate": {"create": True, "issuerRef": {"kind": "ClusterIssuer", "name": "internal"}},
        "loadBalancer": {"enabled": True, "sourceRanges": ["203.0.113.0/24"]},
        "nodePort": {"enabled": True},
    }
    objects = objects_of(charted(CLUSTER | SECURED | access))
    services = {each["metadata"]["name"]: each["spec"]["selector"] for each in of_kind(objects, "Service")}

    assert problems(objects) == []
    for name in ("candled-public", "candled-from-this-machine", "candled"):
        assert services[name]["app.kubernetes.io/component"] == "edge"


@pytest.mark.parametrize(
    "access",
    [
        {
            "tokens": {"enabled": True},
            "gateway": {
                "enabled": True,
                "className": "envoy",
                "grpcHost": "candled.example.com",
                "chartHost": "chart.example.com",
                "clusterIssuer": "letsencrypt",
            },
            "shardAddress": "{shard}.candled.example.com:443",
        },
        SECURED
        | {
            "loadBalancer": {
                "enabled": True,
                "sourceRanges": ["203.0.113.0/24"],
                "chartCertificateArn": "arn:aws:acm:eu-central-1:123456789012:certificate/1",
            },
            "shardAddress": "{shard}.candled.example.com:50051",
        },
    ],
    ids=["gateway", "load balancer"],
)
def test_each_shard_is_reached_from_outside(access: dict[str, Any]) -> None:
    """Every shard has a Service that selects its pod alone."""
    objects = objects_of(charted(TWO_SHARDS | access))
    selected = [service["spec"]["selector"].get(POD_NAME) for service in objects if service["kind"] == "Service"]

    assert {"candled-0", "candled-1"} <= set(selected)
    assert [p for p in problems(objects) if "address that no pod has" not in p] == []


def test_the_snapshot_class_is_the_documented_one() -> None:
    """The class that the chart makes is that of ops/k8s/snapshot-class.yaml."""
    objects = objects_of(charted({"backup": {"enabled": True, "snapshotClass": {"create": True}}}))
    (made,) = [thing for thing in objects if thing["kind"] == "VolumeSnapshotClass"]

    assert without(made, LABELS_OF_HELM) == yaml.safe_load(SNAPSHOT_CLASS.read_text())


def test_another_exchange_is_one_value() -> None:
    """Its pods share the requests that it allows, and candled's own exchange speaks as it does."""
    values = {
        "exchange": "coinbase",
        "shards": [["BTC-USD"], ["ETH-USD"]],
        "embeddedExchange": {"enabled": True},
        "settings": {},
    }
    objects = objects_of(charted(values))
    (daemon,) = daemons(objects)
    own = next(thing for thing in objects if thing["kind"] == "Deployment")

    assert problems(objects) == []
    assert settings(daemon)["CANDLED_EXCHANGE"] == "coinbase"
    assert settings(daemon)["CANDLED_REST_WEIGHT_PER_MINUTE"] == "300"
    assert container(own)["args"][:3] == ["exchange", "--form", "coinbase"]
    assert container(own)["readinessProbe"]["httpGet"]["path"] == "/time"


def test_a_digest_replaces_the_tag() -> None:
    """An image by digest carries no tag."""
    digest = "sha256:" + "ab" * 32
    (daemon,) = daemons(objects_of(charted({"image": {"repository": "r.example.com/candled", "digest": digest}})))

    assert container(daemon)["image"] == f"r.example.com/candled@{digest}"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"tls": {"enable": True}}, "additional properties 'enable' not allowed"),
    "an unknown value at the top": ({"replicas": 2}, "additional properties 'replicas' not allowed"),
    "no shard": ({"shards": []}, "/shards"),
    "a shard without symbols": ({"shards": [["BTCUSDT"], []]}, "/shards/1"),
    "a symbol in two shards": ({"shards": [["BTCUSDT"], ["BTCUSDT"]]}, "name every symbol once"),
    "a symbol in small letters": ({"shards": [["btcusdt"]]}, "/shards/0/0"),
    "a version that changes": ({"image": {"tag": "latest"}}, "/image/tag"),
    "a version in the name": ({"image": {"repository": "r.example.com:5000/candled:1"}}, "/image/repository"),
    "two writers": ({"storage": {"accessMode": "ReadWriteMany"}}, "/storage/accessMode"),
    "a size without a unit": ({"storage": {"size": "10"}}, "/storage/size"),
    "a weight that bans the address": ({"restWeightPerMinute": 6000}, "/restWeightPerMinute"),
    "a weight that Coinbase does not allow": (
        {"exchange": "coinbase", "shards": [["BTC-USD"]], "restWeightPerMinute": 3000},
        "restWeightPerMinute: Coinbase allows 600",
    ),
    "an exchange that is not read": ({"exchange": "kraken"}, "/exchange"),
    "a setting with another prefix": ({"settings": {"LOG_LEVEL": "debug"}}, "invalid propertyName 'LOG_LEVEL'"),
    "a setting that a value makes": ({"settings": {"CANDLED_SHARD": "1"}}, "invalid propertyName 'CANDLED_SHARD'"),
    "a setting that is no text": ({"settings": {"CANDLED_CONNECTIONS": 2}}, "/settings/CANDLED_CONNECTIONS"),
    "two addresses of the exchange": (
        {"embeddedExchange": {"enabled": True}, "settings": {"CANDLED_REST_URLS": "http://127.0.0.1:1"}},
        "settings.CANDLED_REST_URLS: embeddedExchange.enabled sets it",
    ),
    "a gateway without tokens": ({"gateway": {"enabled": True}}, "gateway.enabled: set tokens.enabled too"),
    "a gateway without a class": (
        {"gateway": {"enabled": True}, "tokens": {"enabled": True}},
        "gateway.className: it has no default",
    ),
    "a gateway to a port that encrypts": ({"gateway": {"enabled": True}} | SECURED, "set tls.enabled to false"),
    "a load balancer in clear": (
        {"loadBalancer": {"enabled": True}, "tokens": {"enabled": True}},
        "loadBalancer.enabled: set tls.enabled and tokens.enabled too",
    ),
    "a load balancer for everyone": (
        {"loadBalancer": {"enabled": True}} | SECURED,
        "loadBalancer.sourceRanges: list the addresses",
    ),
    "the whole internet": ({"loadBalancer": {"sourceRanges": ["0.0.0.0/0"]}}, "/loadBalancer/sourceRanges/0"),
    "a redirect that leads nowhere from outside": (
        TWO_SHARDS | SECURED | {"loadBalancer": {"enabled": True, "sourceRanges": ["203.0.113.0/24"]}},
        "shardAddress: clients outside the cluster cannot follow",
    ),
    "two shards in one history": (
        TWO_SHARDS | {"history": {"url": "s3://example/candled"}},
        "history.url: each shard writes a history of its own",
    ),
    "two places of the history": (
        {"history": {"url": "s3://example/candled"}, "settings": {"CANDLED_HISTORY_URL": "s3://example/other"}},
        "settings.CANDLED_HISTORY_URL: history.url sets it",
    ),
    "a history in no store": ({"history": {"url": "/mnt/history"}}, "/history/url"),
    "no memory limit": ({"resources": {"limits": {"memory": None}}}, "/resources/limits"),
    "a pattern without a number": ({"shardAddress": "candled.example.com:50051"}, "/shardAddress"),
    "a certificate that nobody uses": ({"certificate": {"create": True}}, "set tls.enabled too"),
    "a mode that is none": ({"mode": "edge"}, "/mode"),
    "an even number of servers": ({"mode": "cluster", "bus": {"replicas": 2}}, "/bus/replicas"),
    "a login in a URL": ({"mode": "cluster", "bus": {"urls": ["nats://user:word@nats:4222"]}}, "/bus/urls/0"),
    "a bus that no policy reaches": ({"mode": "cluster", "bus": {"urls": ["nats://nats:4222"]}}, "bus.peers: say"),
    "certificates of servers without": ({"mode": "cluster", "bus": {"authority": True}}, "bus.authority: the"),
    "a role beside the mode": ({"settings": {"CANDLED_ROLE": "edge"}}, "invalid propertyName 'CANDLED_ROLE'"),
    "snapshots of no volume": ({"mode": "cluster", "backup": {"enabled": True}}, "backup.enabled: ingesters"),
    "addresses of shards at edges": (
        {"mode": "cluster", "shardAddress": "{shard}.example.com:443"},
        "shardAddress: every edge serves every symbol",
    ),
    "more edges than the most": ({"mode": "cluster", "edges": {"replicas": {"min": 20}}}, "edges.replicas: max"),
    "a certificate of nobody": (
        {"certificate": {"create": True}, "tls": {"enabled": True}},
        "certificate.issuerRef: name the issuer",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_wrong_value_is_refused(mistake: str) -> None:
    """helm names the wrong value and renders nothing."""
    values, sentence = REFUSED[mistake]
    answer = helm_template(values)

    assert answer.returncode != 0
    assert sentence in answer.stderr


def test_the_defaults_fit_the_schema(tool: Callable[[str], str]) -> None:
    """helm lint finds nothing in the chart and its own values."""
    answer = subprocess.run([tool("helm"), "lint", "--strict", CHART], capture_output=True, text=True, timeout=60)

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_value_has_a_schema() -> None:
    """A value that the schema does not describe would be taken unchecked."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())

    def undescribed(values: dict[str, Any], schema: Any, path: str) -> list[str]:
        found = []
        for name, value in values.items():
            known = schema.get("properties", {})
            if name not in known and "additionalProperties" not in schema and "propertyNames" not in schema:
                found.append(f"{path}{name}")
            if isinstance(value, dict) and name in known and known[name].get("properties"):
                found += undescribed(value, known[name], f"{path}{name}.")
        return found

    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert undescribed(values, schema, "") == []
    assert set(schema["properties"]) - {"global"} == set(values)


def cluster_with(size: str) -> type[BaseHTTPRequestHandler]:
    """As much of a Kubernetes API as ``lookup`` asks: one StatefulSet whose claims have that size."""
    resource = {"name": "statefulsets", "namespaced": True, "kind": "StatefulSet", "verbs": ["get"]}
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}
    answers: dict[str, Any] = {
        "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.4"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
        "/apis": {
            "kind": "APIGroupList",
            "groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}],
        },
        "/apis/apps/v1": {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [resource]},
        "/apis/apps/v1/namespaces/candled/statefulsets/candled": {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "candled"},
            "spec": {"volumeClaimTemplates": [claim]},
        },
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(urlsplit(self.path).path)
            text = json.dumps(answer or {"kind": "Status", "reason": "NotFound", "code": 404}).encode()
            self.send_response(200 if answer else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.mark.parametrize(("size", "accepted"), [("10Gi", True), ("50Gi", False)])
def test_a_changed_size_is_refused_before_the_upgrade(
    size: str, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a StatefulSet in the cluster, another size of its claims ends helm with what to do."""
    with ThreadingHTTPServer(("127.0.0.1", 0), cluster_with("10Gi")) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{http.server_port}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}],
            "current-context": "c",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        monkeypatch.setenv("HOME", str(tmp_path))
        values = {"storage": {"size": size}}
        answer = helm_template(
            values, "--dry-run=server", "--disable-openapi-validation", "--namespace", "candled"
        )
        http.shutdown()
        thread.join()

    # What was rendered then fails on its way to the stand-in, which knows no other kinds.
    refusals = re.findall(
        r"execution error at .*?: (storage\.size: the claims of the StatefulSet have \S+),", answer.stderr
    )
    assert refusals == ([] if accepted else ["storage.size: the claims of the StatefulSet have 10Gi"])
    assert ("no matches for kind" in answer.stderr) == accepted
