"""Turns the rendered manifests into what ``podman play kube`` runs; what it would reject or ignore is dropped."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

Object = dict[str, Any]

UNKNOWN_TO_PODMAN = ("topologySpreadConstraints", "serviceAccountName", "enableServiceLinks")
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
"""podman would run curl inside the container, where there is none."""


def playable(objects: Sequence[Object], image: str, host_port: Callable[[], int]) -> list[Object]:
    """The pods of the daemon and the exchange with their claims, running ``image``.

    A StatefulSet becomes its first pod with the name that Kubernetes gives it, and its claim; a Deployment its
    pod, under the name of the Service before it, since containers find each other by name here. ``host_port``
    gives a port of this machine for each port of a container.
    """
    result: list[Object] = []
    for thing in objects:
        if thing["kind"] == "StatefulSet":
            name = f"{thing['metadata']['name']}-0"
            pod = _pod(thing, name, image, host_port)
            for claim in thing["spec"]["volumeClaimTemplates"]:
                claimed = f"{claim['metadata']['name']}-{name}"
                result.append(_claim(claim, claimed))
                volume = {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": claimed}}
                pod["spec"]["volumes"].append(volume)
            result.append(pod)
        elif thing["kind"] == "Deployment":
            result.append(_pod(thing, thing["metadata"]["name"], image, host_port))
        elif thing["kind"] == "Pod":
            result.append(_pod({"spec": {"template": thing}}, thing["metadata"]["name"], image, host_port))
    return result


def _pod(workload: Object, name: str, image: str, host_port: Callable[[], int]) -> Object:
    spec = copy.deepcopy(workload["spec"]["template"]["spec"])
    for field in UNKNOWN_TO_PODMAN:
        spec.pop(field, None)
    for container in spec["containers"]:
        container["image"] = image
        for probe in PROBES:
            container.pop(probe, None)
        for port in container.get("ports", []):
            port["hostIP"], port["hostPort"] = "127.0.0.1", host_port()
    labels = workload["spec"]["template"]["metadata"]["labels"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _claim(template: Object, name: str) -> Object:
    metadata = {"name": name, "annotations": {"volume.podman.io/uid": "10001", "volume.podman.io/gid": "10001"}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}
