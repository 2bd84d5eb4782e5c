"""The script that takes snapshots, against a stand-in of the Kubernetes API."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest

from tests.ops.conftest import K8S

SCRIPT = K8S / "components" / "backup" / "snapshot.py"
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1/namespaces/prices/volumesnapshots"
CONTENTS = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents/"


@attrs.define
class Cluster:
    """What the stand-in holds, and what it was asked for."""

    claims: list[str] = attrs.field(factory=list)
    snapshots: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    deletion: dict[str, str] = attrs.field(factory=dict)
    token: str = "secret"
    refuse: str = ""
    """Method that is refused."""

    def add(self, claim: str, hour: int, *, ready: bool = True) -> str:
        """A snapshot of an earlier run."""
        name = f"{claim}-20261128-{hour:02}0000"
        self.snapshots[name] = {
            "metadata": {
                "name": name,
                "labels": {"candled/claim": claim},
                "creationTimestamp": f"2026-11-28T{hour:02}:00:00Z",
            },
            "status": {"readyToUse": ready, "boundVolumeSnapshotContentName": f"content-{name}"},
        }
        return name

    def answer(self, method: str, url: str, body: Any) -> Any:
        """What the API answers; None for 404."""
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        match method:
            case "GET" if path == "/api/v1/namespaces/prices/persistentvolumeclaims":
                assert query == {"labelSelector": ["app.kubernetes.io/name=candled"]}
                return {"items": [{"metadata": {"name": name}} for name in self.claims]}
            case "GET" if path == SNAPSHOTS:
                return {"items": list(self.snapshots.values())}
            case "POST" if path == SNAPSHOTS:
                name = body["metadata"]["name"]
                body["metadata"]["creationTimestamp"] = "2026-11-29T00:00:00Z"
                self.snapshots[name] = body
                return body
            case "PATCH" if path.startswith(CONTENTS):
                self.deletion[path.removeprefix(CONTENTS)] = body["spec"]["deletionPolicy"]
                return {}
            case "DELETE" if path.startswith(SNAPSHOTS):
                return self.snapshots.pop(path.rpartition("/")[2])
        return None


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(claims=["data-candled-0"])


@pytest.fixture
def server(cluster: Cluster) -> Iterator[str]:
    """The stand-in, at a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            allowed = self.headers["Authorization"] == f"Bearer {cluster.token}" and self.command != cluster.refuse
            result = cluster.answer(self.command, self.path, body) if allowed else None
            text = json.dumps(result if result is not None else {"message": "no"}).encode()
            self.send_response(200 if result is not None else 403)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 (names that http.server looks for)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def run(server: str, folder: Path, *, keep: int = 3) -> subprocess.CompletedProcess[str]:
    (folder / "token").write_text("secret\n")
    (folder / "namespace").write_text("prices")
    environment = {
        **os.environ,
        "SERVER": server,
        "ACCOUNT": str(folder),
        "CLAIMS": "app.kubernetes.io/name=candled",
        "SNAPSHOT_CLASS": "candled",
        "KEEP": str(keep),
    }
    return subprocess.run(
        [sys.executable, "-I", SCRIPT], env=environment, capture_output=True, text=True, timeout=30
    )


def test_each_claim_gets_a_snapshot(cluster: Cluster, server: str, tmp_path: Path) -> None:
    """A run takes one snapshot of every shard's claim, of the class that it was given."""
    cluster.claims = ["data-candled-0", "data-candled-1"]

    done = run(server, tmp_path)

    assert done.returncode == 0, done.stderr
    specs = [snapshot["spec"] for snapshot in cluster.snapshots.values()]
    assert [spec["source"]["persistentVolumeClaimName"] for spec in specs] == cluster.claims
    assert {spec["volumeSnapshotClassName"] for spec in specs} == {"candled"}


def test_the_oldest_beyond_the_number_go(cluster: Cluster, server: str, tmp_path: Path) -> None:
    """With the new one, as many as KEEP stay; what goes is deleted in the storage system too."""
    names = [cluster.add("data-candled-0", hour) for hour in range(4)]

    done = run(server, tmp_path, keep=3)

    assert done.returncode == 0, done.stderr
    assert names[2] in cluster.snapshots
    assert names[3] in cluster.snapshots
    assert cluster.deletion == {f"content-{name}": "Delete" for name in names[:2]}
    assert len(cluster.snapshots) == 3


def test_a_broken_snapshot_pushes_no_good_one_out(cluster: Cluster, server: str, tmp_path: Path) -> None:
    """Snapshots that never became ready do not count as kept, and the run fails for them."""
    good = [cluster.add("data-candled-0", hour) for hour in range(2)]
    broken = [cluster.add("data-candled-0", hour, ready=False) for hour in (2, 3)]

    done = run(server, tmp_path, keep=3)

    assert set(good) <= set(cluster.snapshots)
    assert done.returncode == 1
    assert f"Not ready since an earlier run: {', '.join(broken)}." in done.stderr


def test_snapshots_of_a_lost_claim_stay(cluster: Cluster, server: str, tmp_path: Path) -> None:
    """What is left of a claim that is gone may be the only copy of its history."""
    lost = [cluster.add("data-candled-7", hour) for hour in range(9)]

    assert run(server, tmp_path, keep=1).returncode == 0
    assert set(lost) <= set(cluster.snapshots)


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_refusal_fails_the_run(method: str, cluster: Cluster, server: str, tmp_path: Path) -> None:
    """Whatever the API refuses, the job fails with its answer and no traceback."""
    cluster.refuse = method
    for hour in range(3):
        cluster.add("data-candled-0", hour)

    done = run(server, tmp_path, keep=1)

    assert done.returncode == 1
    assert "answered 403" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_claim_fails_the_run(cluster: Cluster, server: str, tmp_path: Path) -> None:
    """A selector that finds nothing would otherwise pass for a backup."""
    cluster.claims = []

    done = run(server, tmp_path)

    assert done.returncode == 1
    assert "No claim has the labels" in done.stderr
