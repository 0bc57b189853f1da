"""Begin and settle: room becomes firm before a Binding is sent, and ends only when it is known what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_core import names
from hami_scheduler.binding import Begun, Outcome, Refusal
from tests.core.fleet import CARD, CORES, MEMORY, a_container
from tests.scheduler.world import TERM, World, a_node, a_pod, a_quota, a_world, seen

if TYPE_CHECKING:
    from typing import Any

LIMITS = """\
hami-limits 1
grant a/main
[hami]
share kind=acme splitting=share device=n0-d0 memory=3000 physical=8000 cores=0 overhead=0 phases=0
[acme]
device n0-d0 memory=3145728000 physical=8388608000 cores=0
priority=1
end
"""


def a_filtered(world: World, pod: dict[str, Any], *nodes: str) -> dict[str, Any]:
    """The pod, once kube-scheduler has asked for it."""
    world.filter(pod, *nodes)
    return pod


def test_a_binding_carries_the_limits_the_visible_devices_and_the_term() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")

    assert world.begin(pod, "n0").annotations == {
        names.grant_key("main"): LIMITS,
        names.visible_key("acme", "main"): "n0-d0",
        names.TERM: TERM,
    }


def test_each_container_gets_a_grant_of_its_own() -> None:
    world = a_world(a_node("n0"))
    containers = [a_container(name, limits={CARD: 1, MEMORY: memory}) for name, memory in (("a", 1000), ("b", 2000))]
    pod = a_filtered(world, a_pod("u", *containers), "n0")

    told = world.begin(pod, "n0").annotations

    assert [told[names.grant_key(name)].split("\n")[1] for name in "ab"] == ["grant u/a", "grant u/b"]


def test_the_room_that_was_held_is_used_as_it_is() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    held = world.cluster.holds()[0].holding.shares

    begun = world.begin(pod, "n0")

    assert begun.shares == held
    assert (world.used(), world.cluster.counts().likely, world.cluster.counts().binding) == ({"n0": 3000}, 0, 1)


def test_another_node_moves_the_room_there() -> None:
    world = a_world(a_node("n0"), a_node("n1"))
    pod = a_filtered(world, a_pod("a"), "n0", "n1")

    world.begin(pod, "n1")

    assert world.used() == {"n0": 0, "n1": 3000}


def test_room_is_taken_anew_when_its_time_was_over() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    world.clock.time += 60
    world.cluster.expire()

    assert world.begin(pod, "n0").shares
    assert world.used() == {"n0": 3000}


def test_beginning_again_on_the_same_node_is_the_same_answer_under_the_term_that_asks() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    first = world.begin(pod, "n0")

    again = world.cluster.begin("a", "default", "pod-a", "n0", "host_2/2")

    assert again == Begun({**first.annotations, names.TERM: "host_2/2"}, first.shares)
    assert world.used() == {"n0": 3000}


def test_a_pod_is_not_bound_to_two_nodes() -> None:
    world = a_world(a_node("n0"), a_node("n1"))
    pod = a_filtered(world, a_pod("a"), "n0", "n1")
    world.begin(pod, "n0")

    assert world.try_to_begin(pod, "n1") == Refusal("the pod is being bound to node n0")


def test_of_a_pod_that_is_bound_nothing_is_left_to_write() -> None:
    world = a_world(a_node("n0"), a_node("n1"))
    pod = a_filtered(world, a_pod("a"), "n0", "n1")
    begun = world.begin(pod, "n0")
    world.cluster.pods_changed([("MODIFIED", seen(pod, "n0", begun.annotations))])

    here, there = world.begin(pod, "n0"), world.try_to_begin(pod, "n1")

    assert (here.bound, here.annotations, len(here.shares)) == (True, {}, 1)
    assert there == Refusal("the pod is bound to node n0 already")


def test_of_a_pod_that_was_never_filtered_nothing_is_known() -> None:
    refusal = a_world(a_node("n0")).try_to_begin(a_pod(), "n0")

    assert str(refusal).startswith("nothing is known of this pod here")


def test_the_pod_is_the_one_of_its_uid() -> None:
    world = a_world(a_node("n0"))
    a_filtered(world, a_pod("a"), "n0")

    assert world.cluster.begin("a", "default", "other", "n0", TERM) == Refusal("the pod of this uid is default/pod-a")


def test_a_node_that_has_no_room_any_more_is_refused_with_the_numbers() -> None:
    world = a_world(a_node("n0", 5000), a_node("n1", 5000))
    late = a_filtered(world, a_pod("late"), "n0", "n1")
    early = a_filtered(world, a_pod("early"), "n1")
    world.begin(early, "n1")

    refusal = world.try_to_begin(late, "n1")

    assert str(refusal) == (
        'node n1 cannot hold the pod any more: container "main": 3000 MiB asked, '
        "2000 free on the emptiest of 1 device (acme.example/memory)"
    )
    assert world.used() == {"n0": 0, "n1": 3000}


def test_a_node_that_is_gone_is_refused() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    world.cluster.nodes_replaced([])

    assert world.try_to_begin(pod, "n0") == Refusal("node n0 has published no device")


def test_a_quota_that_shrank_since_is_refused_and_nothing_stays_held() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    world.cluster.quotas_replaced([a_quota("q", limits_memory="2000")])

    assert str(world.try_to_begin(pod, "n0")).endswith(
        'ResourceQuota "default/q": limits.acme.example/memory: 2000 MiB allowed, 0 MiB used, 3000 MiB more asked'
    )
    assert world.used() == {"n0": 0}


def test_annotations_that_would_be_too_large_are_refused_before_they_are_sent() -> None:
    world = a_world(a_node("n0"))
    pod = a_pod("a")
    pod["metadata"]["annotations"] = {"own": "x" * (256 * 1024 - 100)}
    a_filtered(world, pod, "n0")

    assert "annotations would have 262" in str(world.try_to_begin(pod, "n0"))
    assert world.used() == {"n0": 0}


def test_an_init_container_and_a_main_one_share_their_room_in_time() -> None:
    world = a_world(a_node("n0", 8000))
    inits = [a_container("setup", limits={CARD: 1, MEMORY: 6000})]
    pod = a_filtered(world, a_pod("a", a_container("main", limits={CARD: 1, MEMORY: 5000}), initContainers=inits), "n0")

    world.begin(pod, "n0")

    assert world.used() == {"n0": 6000}
    assert world.cluster.by_namespace() == {("default", "acme"): (1, 6000, 0)}


def test_a_device_for_oneself_is_shared_with_nobody() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a", a_container(limits={CARD: 1, MEMORY: 10, CORES: 100})), "n0")
    world.begin(pod, "n0")

    assert world.filter(a_pod("b", memory=10), "n0") == ()


# --- Settle. ---


@pytest.mark.parametrize(("outcome", "used"), [(Outcome.BOUND, 3000), (Outcome.REFUSED, 0), (Outcome.UNKNOWN, 3000)])
def test_what_is_held_after_a_binding(outcome: Outcome, used: int) -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    world.begin(pod, "n0")

    world.cluster.settle("a", outcome)
    world.clock.time += 3600
    world.cluster.expire()

    assert world.used() == {"n0": used}


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNKNOWN])
def test_what_the_api_server_has_bound_stays_bound(outcome: Outcome) -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    world.begin(pod, "n0")
    world.cluster.settle("a", Outcome.BOUND)

    world.cluster.settle("a", outcome)

    assert (world.used(), world.cluster.counts().bound) == ({"n0": 3000}, 1)


def test_settling_what_was_never_begun_changes_nothing() -> None:
    world = a_world(a_node("n0"))
    a_filtered(world, a_pod("a"), "n0")

    world.cluster.settle("a", Outcome.REFUSED)
    world.cluster.settle("b", Outcome.BOUND)

    assert (world.used(), world.cluster.counts().likely) == ({"n0": 3000}, 1)


def test_a_refusal_while_another_binding_of_the_pod_may_be_on_its_way_releases_nothing() -> None:
    """The first answer is lost; the second Binding is refused, perhaps because the first was carried out."""
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    world.begin(pod, "n0")
    world.cluster.settle("a", Outcome.UNKNOWN)
    world.begin(pod, "n0")

    world.cluster.settle("a", Outcome.REFUSED)
    before = world.used()
    world.cluster.settle("a", Outcome.REFUSED)

    assert (before, world.used()) == ({"n0": 3000}, {"n0": 0})


def test_a_refusal_that_comes_after_the_watch_has_shown_the_pod_is_too_late() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    begun = world.begin(pod, "n0")
    world.cluster.settle("a", Outcome.UNKNOWN)
    world.cluster.pods_changed([("MODIFIED", seen(pod, "n0", begun.annotations))])

    world.cluster.settle("a", Outcome.REFUSED)

    assert world.used() == {"n0": 3000}


# --- Reads. ---


@pytest.mark.parametrize(("node", "used"), [("", 0), ("n0", 3000), ("n1", 0)])
def test_a_read_after_a_lost_answer_tells_whether_the_room_stays(node: str, used: int) -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    begun = world.begin(pod, "n0")
    world.cluster.settle("a", Outcome.UNKNOWN)

    world.cluster.read("a", seen(pod, node, begun.annotations if node else {}))

    assert (world.used(), list(world.cluster.doubts())) == ({"n0": used}, [])


def test_a_pod_that_a_read_does_not_find_holds_nothing() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    world.begin(pod, "n0")
    world.cluster.settle("a", Outcome.UNKNOWN)

    world.cluster.read("a", None)

    assert world.used() == {"n0": 0}


def test_another_pod_of_the_same_name_is_not_the_one() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    begun = world.begin(pod, "n0")
    world.cluster.settle("a", Outcome.UNKNOWN)

    world.cluster.read("a", seen(a_pod("b"), "n0", begun.annotations))

    assert world.used() == {"n0": 0}


def test_a_pod_that_the_watch_does_not_show_after_it_was_bound_is_in_doubt() -> None:
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a"), "n0")
    world.begin(pod, "n0")
    world.cluster.settle("a", Outcome.BOUND)
    early = list(world.cluster.doubts())

    world.clock.time += 30

    assert (early, [(doubt.uid, doubt.name) for doubt in world.cluster.doubts()]) == ([], [("a", "pod-a")])


def test_a_pod_that_wants_none_of_what_it_names_is_bound_without_a_grant() -> None:
    """kube-scheduler leaves every pod to us that names one of our resources."""
    world = a_world(a_node("n0"))
    pod = a_filtered(world, a_pod("a", a_container(limits={CARD: 0})), "n0")

    begun = world.begin(pod, "n0")
    world.cluster.settle("a", Outcome.BOUND)

    assert (begun.annotations, begun.shares, begun.bound) == ({}, (), False)
    assert (world.used(), world.cluster.counts().bound) == ({"n0": 0}, 0)
