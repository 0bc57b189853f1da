"""What people are told about one pod: where it fits, why it waits, whether it ever can, or where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from hami_core import names
from hami_core.errors import ValidationError
from hami_scheduler.binding import Outcome
from tests.core.fleet import CARD, CORES, MEMORY, a_container
from tests.scheduler.world import a_node, a_pod, a_quota, a_world, seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.scheduler.world import World


def placed(world: World, uid: str, node: str, memory: int, **changes: Any) -> dict[str, Any]:
    """A pod that holds so much there, as the watch shows it."""
    pod = a_pod(uid, memory=memory, **changes)
    world.filter(pod, node)
    begun = world.begin(pod, node)
    world.cluster.settle(uid, Outcome.BOUND)
    world.cluster.pods_changed([("MODIFIED", seen(pod, node, begun.annotations))])
    return pod


def share(node: str, device: int, memory: int, container: str = "main", physical: int = 8000) -> dict[str, Any]:
    return {
        "container": container,
        "kind": "acme",
        "device": f"{node}-d{device}",
        "model": "One",
        "memory": memory,
        "physical": physical,
        "cores": 0,
        "exclusive": False,
    }


def prepared(pod: dict[str, Any]) -> dict[str, Any]:
    pod["metadata"]["labels"] = {names.PREPARED: "true"}
    pod["spec"]["schedulerName"] = "hami-scheduler"
    return pod


def test_a_pod_that_fits_is_told_where_and_which_devices() -> None:
    world = a_world(a_node("n0"), a_node("n1"), a_node("n2", 1000))
    placed(world, "other", "n1", 2000)

    found = world.cluster.explain(prepared(a_pod("a", memory=3000)))

    assert found == {
        "pod": {"namespace": "default", "name": "pod-a", "uid": "a"},
        "answer": "fits",
        "sentence": "it fits on 2 of 3 nodes, best on n1",
        "asks": [
            {
                "container": "main",
                "kind": "acme",
                "count": 1,
                "memory": 3000,
                "percent": None,
                "cores": 0,
                "defaulted": ["cores"],
            }
        ],
        "notes": [],
        "nodes": 3,
        "fitting": 2,
        "places": [
            {"node": "n1", "shares": [share("n1", 0, 3000)]},
            {"node": "n0", "shares": [share("n0", 0, 3000)]},
        ],
        "closest": [],
        "since": "",
    }


def test_a_pod_that_waits_is_told_what_the_closest_nodes_lack_and_who_holds_it() -> None:
    world = a_world(a_node("n0"), a_node("n1"), a_node("n2", 1000))
    placed(world, "big", "n0", 6000)
    placed(world, "small", "n1", 5500, namespace="ml")

    found = world.cluster.explain(a_pod("a", memory=3000))

    assert (found["answer"], found["fitting"], found["places"]) == ("waits", 0, [])
    assert found["sentence"] == (
        "0/3 nodes: 2 lack a device with 3000 MiB free (largest 2500; acme.example/memory), "
        "1 lacks a device with 3000 MiB in all (largest 1000; acme.example/memory)"
    )
    assert found["closest"] == [
        {
            "node": "n1",
            "refusal": 'container "main": 3000 MiB asked, 2500 free on the emptiest of 1 device (acme.example/memory)',
            "holders": [{"namespace": "ml", "name": "pod-small", **share("n1", 0, 5500)}],
        },
        {
            "node": "n0",
            "refusal": 'container "main": 3000 MiB asked, 2000 free on the emptiest of 1 device (acme.example/memory)',
            "holders": [{"namespace": "default", "name": "pod-big", **share("n0", 0, 6000)}],
        },
        {
            "node": "n2",
            "refusal": 'container "main": 3000 MiB asked, 1000 in all on the largest of 1 device (acme.example/memory)',
            "holders": [],
        },
    ]


def test_a_pod_that_no_node_could_hold_even_idle_is_told_so() -> None:
    world = a_world(a_node("n0"), a_node("n1", 9000))
    placed(world, "other", "n1", 6000)

    found = world.cluster.explain(a_pod("a", memory=9500))

    assert found["answer"] == "never"
    assert found["sentence"] == (
        "no node could hold it, even idle: 0/2 nodes: 2 lack a device with 9500 MiB in all (largest 9000; acme.example/memory)"
    )


def test_a_device_out_of_service_may_come_back() -> None:
    node = a_node("n0")
    own = {**(node.metadata.annotations or {}), names.DEVICE_CORDON: "n0-d0"}
    world = a_world(a_node("n0", annotations=own))

    found = world.cluster.explain(a_pod("a"))

    assert (found["answer"], found["sentence"]) == ("waits", "0/1 nodes: 1 cordoned")


def test_a_cluster_without_a_device_is_waited_for() -> None:
    found = a_world(a_node("n0", annotations={})).cluster.explain(a_pod("a"))

    assert (found["answer"], found["sentence"], found["closest"]) == ("waits", "0/1 nodes: 1 no device published", [])


def test_a_pod_that_is_placed_is_told_where_and_since_when() -> None:
    world = a_world(a_node("n0"))
    pod = placed(world, "a", "n0", 3000)
    pod["spec"]["nodeName"] = "n0"
    at = "2026-11-25T17:00:00Z"
    pod["status"] = {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}]}

    found = world.cluster.explain(pod)

    assert (found["answer"], found["sentence"], found["since"]) == ("placed", "it is on node n0", at)
    assert found["places"] == [{"node": "n0", "shares": [share("n0", 0, 3000)]}]


def test_room_that_is_held_for_a_pod_is_no_reason_why_it_waits() -> None:
    world = a_world(a_node("n0"))
    pod = a_pod("a", memory=6000)
    world.filter(pod, "n0")

    found = world.cluster.explain(pod)

    assert (found["answer"], found["sentence"]) == ("fits", "room is held for it on node n0")


def test_a_pod_on_a_node_without_a_grant_is_told_that_it_sees_nothing() -> None:
    pod = a_pod("a", nodeName="n0")

    found = a_world(a_node("n0")).cluster.explain(pod)

    assert found["sentence"] == "it is on node n0 without a grant, so its containers see no device"


def test_a_grant_that_cannot_be_read_is_said_on_both_sides() -> None:
    world = a_world(a_node("n0"))
    broken = a_pod("broken", nodeName="n0")
    world.cluster.pods_changed([("ADDED", seen(broken, "n0", {names.grant_key("main"): "hami-limits 9"}))])

    mine = world.cluster.explain(broken)
    other = world.cluster.explain(a_pod("a"))

    assert mine["sentence"].startswith("its grant cannot be read, so its node gets nothing new: pod default/pod-broken")
    assert other["sentence"] == "0/1 nodes: 1 closed: a grant on it cannot be read"
    assert other["closest"][0]["refusal"].startswith("pod default/pod-broken on node n0: ")


def test_a_quota_that_stands_in_the_way_is_told() -> None:
    world = a_world(a_node("n0"), quotas=[a_quota(limits_memory="2k")])

    found = world.cluster.explain(a_pod("a", memory=3000))

    assert found["sentence"] == (
        "0/1 nodes: 1 beyond the namespace's quota; "
        'ResourceQuota "default/quota": limits.acme.example/memory: 2000 MiB allowed, 0 MiB used, 3000 MiB more asked'
    )
    assert "2000 MiB" in found["closest"][0]["refusal"]


def test_a_pod_that_has_ended_holds_nothing() -> None:
    pod = a_pod("a", nodeName="n0") | {"status": {"phase": "Succeeded"}}

    assert a_world(a_node("n0")).cluster.explain(pod)["sentence"] == "it has ended on node n0, and holds nothing"


def test_a_pod_that_asks_for_nothing_is_told_what_could_be_asked_for() -> None:
    found = a_world(a_node("n0")).cluster.explain(a_pod("a", a_container(limits={"cpu": 1})))

    assert found["answer"] == "nothing"
    assert found["sentence"].startswith(f"it asks for none of {CARD}, {MEMORY}")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"labels": {}}, "admission has not prepared it, so nothing is granted to it; create it anew"),
        ({"schedulerName": "volcano"}, "spec.schedulerName: volcano grants no shares; hami-scheduler does"),
    ],
)
def test_what_keeps_a_pod_of_the_cluster_from_its_grant_is_noted(changes: Mapping[str, Any], note: str) -> None:
    pod = prepared(a_pod("a"))
    pod["metadata"] |= {"labels": changes.get("labels", pod["metadata"]["labels"])}
    pod["spec"] |= {"schedulerName": changes.get("schedulerName", "hami-scheduler")}

    assert a_world(a_node("n0")).cluster.explain(pod)["notes"] == [note]


def test_a_pod_that_fits_where_kube_scheduler_does_not_want_it_is_told_of_its_last_answer() -> None:
    world, pod = a_world(a_node("free"), a_node("small", 1000)), prepared(a_pod("a"))
    waits = world.cluster.filter(pod, ["small"])

    found = world.cluster.explain(pod)

    assert found["answer"] == "fits"
    assert found["notes"] == [f"when kube-scheduler last asked, of the nodes that had passed its own tests: {waits.why}"]


def test_a_manifest_needs_no_name_and_is_not_expected_to_be_prepared() -> None:
    found = a_world(a_node("n0")).cluster.explain({"spec": a_pod("a")["spec"]})

    assert (found["answer"], found["notes"]) == ("fits", [])


def test_a_pod_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValidationError, match="3Gi"):
        a_world().cluster.explain(a_pod("a", a_container(limits={CARD: 1, MEMORY: "3Gi", CORES: 1})))


def test_nothing_is_held_or_changed_by_asking() -> None:
    world = a_world(a_node("n0"), a_node("n1", 1000))
    before = world.used(), world.cluster.counts()

    for memory in (3000, 9000):
        world.cluster.explain(a_pod("a", memory=memory))

    assert (world.used(), evolve(world.cluster.counts())) == before
