"""Take a snapshot of each of candled's claims, and delete the oldest beyond a number.

Runs in the image of candled as a CronJob, with the standard library alone. Environment:
  CLAIMS          label selector of the claims
  SNAPSHOT_CLASS  VolumeSnapshotClass to take snapshots with
  KEEP            snapshots of each claim that are kept
Exits with 1 if the API refuses something, or if a snapshot of an earlier run has not become ready.
"""

import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ACCOUNT = Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
SERVER = os.environ.get("SERVER", "https://kubernetes.default.svc")
SNAPSHOTS = "apis/snapshot.storage.k8s.io/v1"
CLAIM_LABEL = "candled/claim"


Object = dict[str, Any]


def call(method: str, path: str, body: Object | None = None, *, query: dict[str, str] | None = None) -> Object:
    """Send a request to the Kubernetes API.

    Returns:
        The object in the answer.

    Raises:
        urllib.error.HTTPError: the API refused; the body of the answer says why.
    """
    content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
    request = urllib.request.Request(  # noqa: S310 (the address is this cluster's)
        f"{SERVER}/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else ""),
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": content_type,
        },
    )
    authority = ACCOUNT / "ca.crt"
    context = ssl.create_default_context(cafile=str(authority)) if SERVER.startswith("https:") else None
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
        result: Object = json.load(answer)
    return result


def superfluous(snapshots: list[Object], keep: int) -> list[Object]:
    """Choose what to delete of one claim's snapshots.

    Only snapshots that are ready count as kept: a broken one must not push out a good one. One that is not ready
    is deleted once ``keep`` newer ones are ready.

    Args:
        snapshots: VolumeSnapshot objects of one claim.
        keep: how many stay.
    """
    newest_first = sorted(snapshots, key=lambda s: s["metadata"]["creationTimestamp"], reverse=True)
    ready = 0
    result = []
    for snapshot in newest_first:
        if ready >= keep:
            result.append(snapshot)
        ready += is_ready(snapshot)
    return result


def is_ready(snapshot: Object) -> bool:
    """Whether a volume can be made from it."""
    return bool(snapshot.get("status", {}).get("readyToUse"))


def delete(snapshot: Object, namespace: str) -> None:
    """Delete a snapshot here and in the storage system, although its class retains what is there."""
    name = snapshot["metadata"]["name"]
    content = snapshot.get("status", {}).get("boundVolumeSnapshotContentName")
    if content:
        change = {"spec": {"deletionPolicy": "Delete"}}
        call("PATCH", f"{SNAPSHOTS}/volumesnapshotcontents/{content}", change)
    call("DELETE", f"{SNAPSHOTS}/namespaces/{namespace}/volumesnapshots/{name}")
    print(f"deleted {name}", flush=True)


def main() -> None:
    """Take one snapshot of each claim and delete what is superfluous."""
    namespace = (ACCOUNT / "namespace").read_text().strip()
    keep = int(os.environ["KEEP"])
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = f"{SNAPSHOTS}/namespaces/{namespace}/volumesnapshots"
    claims = call(
        "GET",
        f"api/v1/namespaces/{namespace}/persistentvolumeclaims",
        query={"labelSelector": os.environ["CLAIMS"]},
    )
    before = call("GET", folder, query={"labelSelector": CLAIM_LABEL})["items"]
    stuck = [s["metadata"]["name"] for s in before if not is_ready(s)]
    for claim in claims["items"]:
        name = claim["metadata"]["name"]
        labels = {"app.kubernetes.io/name": "candled", CLAIM_LABEL: name}
        snapshot = {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": f"{name}-{now}", "labels": labels},
            "spec": {
                "volumeSnapshotClassName": os.environ["SNAPSHOT_CLASS"],
                "source": {"persistentVolumeClaimName": name},
            },
        }
        call("POST", folder, snapshot)
        print(f"took {name}-{now}", flush=True)
        # Snapshots of claims that are gone are left alone: they may be all that is left of a history.
        for old in superfluous([s for s in before if s["metadata"]["labels"][CLAIM_LABEL] == name], keep - 1):
            delete(old, namespace)
    if stuck:
        sys.exit(f"Not ready since an earlier run: {', '.join(stuck)}. kubectl describe volumesnapshot says why.")
    if not claims["items"]:
        sys.exit(f"No claim has the labels {os.environ['CLAIMS']}: nothing was taken.")


if __name__ == "__main__":
    try:
        main()
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.url} answered {error.code}: {error.read().decode(errors='replace')[:500]}")
