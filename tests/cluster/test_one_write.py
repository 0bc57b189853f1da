"""The audit log of a thousand pods: for each of them hami asks the API server for exactly one thing, its Binding."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from hami_core.testing.cluster import ControlPlane
from tests.cluster.faults import audit, history
from tests.cluster.faults.scene import CLEAN, installed, pair, scene
from tests.cluster.scheduling import SHARE, USER

if TYPE_CHECKING:
    import pytest

    from hami_core.testing.cluster.audit import Entry
    from hami_core.testing.cluster.nodes import Simulated

PODS, NODES = 1000, 64
KUBE_SCHEDULER = "kube-scheduler"


def of_hami(entry: Entry) -> bool:
    """Ours, not that of the kube-scheduler beside us: they are one service account."""
    return entry.user == USER and not entry.agent.startswith(KUBE_SCHEDULER)


def test_a_thousand_pods_cost_a_thousand_writes_and_no_read(simulated: Simulated, capsys: pytest.CaptureFixture[str]) -> None:
    with ControlPlane() as plane:
        installed(plane)
        plane.make_namespace("thousand")
        with scene(plane, simulated, "thousand") as world, pair(plane) as one:
            world.add_nodes(NODES)
            before = len(list(plane.audited()))

            world.burst(PODS, SHARE)
            world.all_bound(300)

            log = [entry for entry in list(plane.audited())[before:] if of_hami(entry)]
            verdict = world.verdict(one)
    asked = Counter((entry.verb, entry.resource, entry.status) for entry in log)
    by_pod = Counter(Counter(entry.body["metadata"]["uid"] for entry in log if entry.resource == "pods/binding").values())
    with capsys.disabled():
        print(table(asked, by_pod))  # noqa: T201

    single = [entry for entry in log if entry.verb not in {"list", "watch"} and entry.resource != "pods/binding"]
    bindings = [one for one in history.bindings(log) if one.certain]
    assert (single, by_pod, len(bindings), audit.doubles(bindings), verdict) == ([], {1: PODS}, PODS, [], CLEAN)


def table(asked: Counter[tuple[str, str, int]], by_pod: Counter[int]) -> str:
    """Everything that hami asked for, and how often a pod was written."""
    lines = [f"{verb:<8}{resource:<20}{status:>5}{times:>8}" for (verb, resource, status), times in sorted(asked.items())]
    pods = [f"pods with {count} Binding: {pods}" for count, pods in sorted(by_pod.items())]
    head = f"{'verb':<8}{'resource':<20}{'code':>5}{'times':>8}"
    return "\n".join(["", f"What hami asked the API server for, {PODS} pods:", head, *lines, *pods])


def test_the_table_shows_verbs_and_pods() -> None:
    shown = table(Counter({("create", "pods/binding", 201): 3}), Counter({1: 3}))

    assert re.search(r"create +pods/binding +201 +3\npods with 1 Binding: 3$", shown)
