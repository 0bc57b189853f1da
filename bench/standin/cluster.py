"""A whole cluster behind the stand-in: nodes that publish eight GPUs, and running pods with grants as a Binding writes them.

``python -m bench.standin.cluster NODES EACH``: serves so many nodes with so many pods on each.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bench.standin import objects
from bench.standin.server import Resource, Single, resource, serve
from hami_core import names
from hami_core.model import SHARE, Share
from hami_core.testing.cluster.nodes import Simulated
from hami_scheduler import grants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.testing.cluster.nodes import FakeNode

HOST = "standin"  # who leads, by the Lease: scheduler.identity
HOLDER = f"{HOST}_kube-scheduler"
MODEL, MEMORY, DEVICES = "NVIDIA H100", 81920, 8
LEASES = "/apis/coordination.k8s.io/v1/namespaces/hami-system/leases"


def resources(nodes: int, each: int) -> dict[str, Resource | Single]:
    """By path, everything that the scheduler lists."""
    simulated = Simulated()
    fleet = [simulated.node(objects.node_name(n), memory=MEMORY, model=MODEL, devices=DEVICES) for n in range(nodes)]
    return {
        "/api/v1/nodes": resource("NodeList", (objects.node(n, simulated.annotations(one)) for n, one in enumerate(fleet))),
        "/api/v1/pods": resource("PodList", _pods(simulated, fleet, each)),
        "/api/v1/resourcequotas": resource("ResourceQuotaList", []),
        LEASES: Single("LeaseList", _lease()),
    }


def _pods(simulated: Simulated, fleet: list[FakeNode], each: int) -> Iterator[dict[str, Any]]:
    """In turn on every node, and there on every device."""
    for number in range(len(fleet) * each):
        turn, n = divmod(number, len(fleet))
        share = Share("main", "nvidia", fleet[n].devices[turn % DEVICES], 3000, MEMORY, 10, SHARE)
        told = grants.written(simulated.plugins.hook, simulated.catalogue, simulated.settings, objects.uid(number), [share])
        yield objects.pod(number, fleet[n].name, {**told, names.TERM: f"{HOLDER}/0"})


def _lease() -> dict[str, Any]:
    spec = {
        "holderIdentity": HOLDER,
        "leaseTransitions": 0,
        "leaseDurationSeconds": 3,
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }
    meta = {"name": names.SCHEDULER, "namespace": "hami-system", "uid": "lease", "resourceVersion": "1"}
    return {"metadata": meta, "spec": spec}


if __name__ == "__main__":
    serve(resources(int(sys.argv[1]), int(sys.argv[2])))
