"""Nodes and pods as large as a real API server sends them: with managed fields, images, owners and conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hami_core import names

if TYPE_CHECKING:
    from collections.abc import Mapping

SINCE = "2026-01-01T00:00:00Z"


def node_name(number: int) -> str:
    """Of a node."""
    return f"node-{number:05}"


def uid(number: int) -> str:
    """Of the pod or node of this number."""
    return f"{number:08x}-1c4b-4a59-8f21-8bde2fa8f792"


def pod(number: int, node: str, annotations: Mapping[str, str], version: int = 0) -> dict[str, Any]:
    """A running pod of a Deployment with one share: 3.4 KB."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "trainer", "uid": uid(number), "controller": True}
    meta = _meta(
        f"trainer-{number % 97}-6d4cf56db6-{number:05d}",
        number,
        version or 1000 + number,
        generateName="trainer-6d4cf56db6-",
        namespace=f"team-{number % 40}",
        labels={"app": f"trainer-{number % 97}", "pod-template-hash": "6d4cf56db6", names.PREPARED: "true"},
        annotations=dict(annotations),
        ownerReferences=[owner],
        managedFields=[_managed("kube-controller-manager", 20), _managed("kubelet", 24)],
    )
    container = {
        "name": "main",
        "image": "registry.example/team/trainer:1.17",
        "command": ["python", "train.py"],
        "resources": {"limits": {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "3k"}, "requests": {"nvidia.com/gpu": "1"}},
    }
    condition = {"status": "True", "lastProbeTime": None, "lastTransitionTime": SINCE}
    status = {
        "phase": "Running",
        "conditions": [{"type": kind, **condition} for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")],
        "hostIP": "10.0.0.1",
        "podIP": "10.1.0.1",
        "startTime": SINCE,
        "qosClass": "BestEffort",
    }
    return {
        "metadata": meta,
        "spec": {"containers": [container], "nodeName": node, "schedulerName": "hami-scheduler"},
        "status": status,
    }


def node(number: int, annotations: Mapping[str, str]) -> dict[str, Any]:
    """A node of 10 KB with the annotation of eight devices: fifty images are in its status."""
    name = node_name(number)
    meta = _meta(
        name,
        number,
        500 + number,
        labels={"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number % 3}", "pool": "gpu"},
        annotations=dict(annotations),
        managedFields=[_managed("kubelet", 25)],
    )
    images = [{"names": [f"registry.example/image-{n}@sha256:{n:064x}"], "sizeBytes": 10**8 + n} for n in range(50)]
    amounts = {"cpu": "96", "memory": "1056Gi", "pods": "110", "nvidia.com/gpu": "80"}
    return {"metadata": meta, "spec": {}, "status": {"capacity": amounts, "allocatable": amounts, "images": images}}


def _meta(name: str, number: int, version: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "uid": uid(number), "resourceVersion": str(version), "creationTimestamp": SINCE, **more}


def _managed(manager: str, fields: int) -> dict[str, Any]:
    known: dict[str, Any] = {f"f:field{n}": {".": {}, "f:value": {}} for n in range(fields)}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": known},
    }
