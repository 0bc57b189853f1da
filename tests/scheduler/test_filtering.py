"""Filter and prioritize: who is kept, in which order, what is held for a while, and why others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core import names
from hami_core.errors import ValidationError
from hami_scheduler.filtering import best, levels
from tests.core.fleet import CARD, MEMORY, PERCENT, a_container
from tests.scheduler.world import KEY, a_node, a_pod, a_quota, a_world, seen


def test_a_pod_that_asks_nothing_of_ours_passes_untouched() -> None:
    world = a_world(a_node())

    filtered = world.cluster.filter(a_pod("a", a_container(limits={"cpu": 1})), ["n0", "anything"])

    assert (filtered.ours, filtered.kept, filtered.failed) == (False, ("n0", "anything"), {})


def test_a_full_node_is_dropped_and_the_fullest_that_fits_comes_first() -> None:
    world = a_world(a_node("empty"), a_node("half"), a_node("full"))
    for uid, node, memory in (("x", "half", 4000), ("y", "full", 8000)):
        pod = a_pod(uid, memory=memory)
        world.filter(pod, node)
        world.begin(pod, node)

    assert world.filter(a_pod(), "empty", "half", "full") == ("half", "empty")


def test_only_offered_nodes_are_kept_each_once() -> None:
    world = a_world(a_node("n0"), a_node("n1"))

    assert world.filter(a_pod(), "n1", "n1", "nowhere") == ("n1",)


def test_equals_are_kept_by_name_whatever_the_order_in_which_they_came() -> None:
    one = a_world(*(a_node(name) for name in "cab"))
    other = a_world(*(a_node(name) for name in "bca"))

    assert one.filter(a_pod(), *"cab") == other.filter(a_pod(), *"abc") == ("a", "b", "c")


@pytest.mark.parametrize(("setting", "kept"), [(1, ("a",)), (2, ("a", "b")), ("all", ("a", "b", "c"))])
def test_as_many_nodes_are_kept_as_the_setting_says(setting: object, kept: tuple[str, ...]) -> None:
    world = a_world(*(a_node(name) for name in "abc"), scheduler_extender_nodesReturned=setting)

    assert world.filter(a_pod(), *"abc") == kept


def test_refused_nodes_are_named_with_few_words_where_none_is_kept() -> None:
    world = a_world(a_node("small", 1000), a_node("bare", annotations={}))

    filtered = world.cluster.filter(a_pod(), ["small", "bare", "unheard-of"])

    assert filtered.failed == {
        "small": "devices too small",
        "bare": "no device published",
        "unheard-of": "no device published",
    }
    assert filtered.why is not None
    assert filtered.why.counts == {"no device published": 2, "devices too small": 1}


def test_nobody_is_told_why_others_fail_where_a_node_is_kept() -> None:
    world = a_world(a_node("small", 1000), a_node("large"))

    filtered = world.cluster.filter(a_pod(), ["small", "large"])

    assert (filtered.kept, filtered.failed, filtered.why) == (("large",), {}, None)


def test_a_burst_cannot_oversell_a_node_between_filter_and_bind() -> None:
    world = a_world(a_node("n0", 8000))

    kept = [world.filter(a_pod(uid), "n0") for uid in "abc"]

    assert kept == [("n0",), ("n0",), ()]


def test_a_pods_own_hold_does_not_count_against_it() -> None:
    world = a_world(a_node("n0", 3000))
    world.filter(a_pod("a"), "n0")

    assert world.filter(a_pod("a"), "n0") == ("n0",)
    assert world.used() == {"n0": 3000}


def test_what_is_held_for_a_while_is_given_back_after_it() -> None:
    world = a_world(a_node("n0"), scheduler_extender_holdSeconds=5)
    world.filter(a_pod("a"), "n0")

    world.clock.time += 5
    expired = world.cluster.expire()

    assert (expired, world.used(), world.cluster.counts().likely) == (1, {"n0": 0}, 0)


def test_a_pod_that_is_being_bound_is_kept_on_that_node_alone() -> None:
    world = a_world(a_node("n0"), a_node("n1"))
    pod = a_pod()
    world.filter(pod, "n0", "n1")
    world.begin(pod, "n0")

    assert world.filter(pod, "n0", "n1") == ("n0",)
    assert world.cluster.filter(pod, ["n1"]).failed == {"n1": "the pod is being bound to another node"}


def test_a_pod_that_changed_is_read_again() -> None:
    world = a_world(a_node("n0"))
    world.filter(a_pod("a", memory=9000), "n0")

    assert world.filter(a_pod("a", memory=1000), "n0") == ("n0",)


def test_a_pod_that_cannot_be_meant_is_the_users_error() -> None:
    world = a_world(a_node("n0"))
    pod = a_pod("a", a_container(limits={CARD: 1, MEMORY: "3Gi"}))

    with pytest.raises(ValidationError, match=r"acme.example/memory: 3Gi .*give MiB as a plain number \(3072\)"):
        world.cluster.filter(pod, ["n0"])


@pytest.mark.parametrize("meta", [{"uid": ""}, {}, None])
def test_a_pod_without_an_identity_is_refused(meta: Any) -> None:
    with pytest.raises(ValidationError):
        a_world(a_node()).cluster.filter({**a_pod(), "metadata": meta}, ["n0"])


def test_who_waits_is_known_with_the_reason_until_it_fits() -> None:
    world = a_world(a_node("n0", 1000))
    world.filter(a_pod("a"), "n0")
    before = [(one.uid, one.name, one.why.counts) for one in world.cluster.waiting()]

    world.cluster.nodes_changed([("MODIFIED", a_node("n0", 8000))])
    world.filter(a_pod("a"), "n0")

    assert before == [("a", "pod-a", {"devices too small": 1})]
    assert list(world.cluster.waiting()) == []


# --- Prioritize. ---


def test_ranks_become_levels_for_the_nodes_that_are_kept() -> None:
    world = a_world(*(a_node(name) for name in "abc"))
    other = a_pod("x")
    world.filter(other, "b")
    world.begin(other, "b")
    world.filter(a_pod("a"), *"abc")

    assert world.cluster.prioritize("a", ["a", "b", "c", "d"]) == {"a": 0, "b": 10, "c": 0, "d": 0}


def test_of_a_pod_that_was_not_filtered_all_nodes_are_equal() -> None:
    assert a_world(a_node()).cluster.prioritize("a", ["n0"]) == {"n0": 0}


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([], []),
        ([0.5], [10]),
        ([0.5, 0.5], [10, 10]),
        ([0.9, 0.5, 0.5, 0.1], [10, 5, 5, 0]),
        ([float(-n) for n in range(16)], [10, 9, 8, 8, 7, 6, 6, 5, 4, 4, 3, 2, 2, 1, 0, 0]),
    ],
)
def test_equal_ranks_get_equal_levels_and_the_best_alone_the_highest(ranks: list[float], expected: list[int]) -> None:
    assert levels(ranks) == expected


@given(st.lists(st.sampled_from((0.0, 0.25, 0.5, 1.0)), max_size=12), st.integers(0, 6), st.randoms())
def test_the_best_few_are_the_head_of_all_in_order(ranks: list[float], most: int, dice: Any) -> None:
    order = list(range(len(ranks)))
    dice.shuffle(order)
    rows = np.array([row for row in range(len(ranks)) if dice.random() < 0.8], np.int64)

    found = best(rows, np.array(ranks), np.array(order, np.int64), most)

    every = sorted(rows.tolist(), key=lambda row: (-ranks[row], order[row]))
    assert found.tolist() == (every[:most] if most else every)


# --- Nodes. ---


def test_a_node_whose_inventory_cannot_be_read_has_nothing_and_says_so() -> None:
    world = a_world(a_node("n0"), a_node("n1"))

    world.cluster.nodes_changed([("MODIFIED", a_node("n0", annotations={KEY: '{"v": 2}'}))])

    assert world.cluster.filter(a_pod(), ["n0"]).failed == {"n0": "its device inventory cannot be read"}
    assert world.cluster.unreadable_inventories() == {
        "n0": {"acme": f"{KEY} @ $.v: version 2 is unknown, this build reads version 1"}
    }
    assert world.filter(a_pod("b"), "n0", "n1") == ("n1",)


def text(kind: str = "acme", devices: str = "", offered: str = "") -> str:
    """An inventory as JSON, right or wrong."""
    inventory = f'{{"kind": "{kind}", "devices": [{devices}]}}'
    return f'{{"v": 1, "inventory": {inventory}, "capacities": [["share", [{offered}]]]}}'


def offer(memory: str = "1", extra: str = "") -> str:
    return f'{{"device": "d", "model": "", "slots": 1, "memory": {memory}, "physical": 1, "extra": [{extra}]}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"v": 1}',
        text(kind="other"),
        text(devices='{"id": "a,b", "index": 0, "model": "", "memory": 1}'),
        text(offered=f"{offer()}, {offer()}"),
        text(offered=offer(memory="99999999999999999999")),
        text(offered=offer(memory='"1"')),
        text(offered=offer(extra='["warp", 1e300]')),
    ],
)
def test_no_inventory_ends_the_scheduler(text: str) -> None:
    world = a_world(a_node("n0"), a_node("n1", annotations={KEY: text}))

    assert list(world.cluster.unreadable_inventories()) == ["n1"]
    assert world.filter(a_pod(), "n0", "n1") == ("n0",)


def test_what_only_a_newer_splitting_decides_by_is_passed_over() -> None:
    """A node may be upgraded first."""
    device = '{"id": "d", "index": 0, "model": "", "memory": 8000}'
    newer = offer(memory="8000", extra='["warp", 9.0]').replace('"physical": 1', '"physical": 8000')
    world = a_world(a_node("n0", annotations={KEY: text(devices=device, offered=newer)}))

    assert world.filter(a_pod(), "n0") == ("n0",)


def test_a_node_that_is_readable_again_is_used_again() -> None:
    world = a_world(a_node("n0", annotations={KEY: "?"}))

    world.cluster.nodes_changed([("MODIFIED", a_node("n0"))])

    assert (world.filter(a_pod(), "n0"), world.cluster.unreadable_inventories()) == (("n0",), {})


def test_devices_that_are_cordoned_get_nothing_new() -> None:
    node = a_node("n0")
    assert node.metadata.annotations is not None
    node.metadata.annotations[names.DEVICE_CORDON] = "n0-d0"
    world = a_world(node)

    assert world.cluster.filter(a_pod(), ["n0"]).failed == {"n0": "too few devices in service"}


def test_a_node_that_is_gone_is_not_kept() -> None:
    world = a_world(a_node("n0"), a_node("n1"))

    world.cluster.nodes_replaced([a_node("n1")])

    assert world.filter(a_pod(), "n0", "n1") == ("n1",)


def test_a_change_of_a_nodes_devices_gives_up_what_was_likely_there() -> None:
    world = a_world(a_node("n0", 8000, 8000))
    world.filter(a_pod(), "n0")

    world.cluster.nodes_changed([("MODIFIED", a_node("n0", 8000))])

    assert world.used() == {"n0": 0}


def test_an_inventory_that_shrinks_leaves_what_is_granted_on_the_books() -> None:
    world = a_world(a_node("n0", 8000, 8000))
    pod = a_pod("a", memory=8000)
    world.filter(pod, "n0")
    told = world.begin(pod, "n0").annotations
    world.cluster.pods_changed([("MODIFIED", seen(pod, "n0", told))])

    world.cluster.nodes_changed([("MODIFIED", a_node("n0", annotations={}))])
    gone = world.used()
    world.cluster.nodes_changed([("MODIFIED", a_node("n0", 8000, 8000))])

    assert (gone, world.used()) == ({}, {"n0": 8000})


# --- Quotas. ---


def test_a_node_is_kept_only_where_the_namespaces_quota_allows_it() -> None:
    """Half of a small device is within it, half of a large one is not."""
    world = a_world(a_node("large", 16000), a_node("small", 8000), quotas=[a_quota(limits_memory="5000")])

    assert world.filter(a_pod("a", a_container(limits={CARD: 1, PERCENT: 50})), "large", "small") == ("small",)


def test_a_quota_that_is_used_up_is_why_a_pod_waits() -> None:
    world = a_world(a_node("n0"), quotas=[a_quota("q", limits_memory="5k")])
    world.filter(a_pod("a"), "n0")

    filtered = world.cluster.filter(a_pod("b"), ["n0"])

    assert filtered.failed == {"n0": "beyond the namespace's quota"}
    told = 'ResourceQuota "default/q": limits.acme.example/memory: 5000 MiB allowed, 3000 MiB used, 3000 MiB more asked'
    assert str(filtered.why).endswith(f"0/1 nodes: 1 beyond the namespace's quota; {told}")


def test_only_the_limit_that_stands_in_the_way_is_told() -> None:
    world = a_world(a_node("n0"), quotas=[a_quota("q", limits_memory="2k", limits_card="8", limits_cores="400")])

    filtered = world.cluster.filter(a_pod("a"), ["n0"])

    assert str(filtered.why).count("ResourceQuota") == 1


def test_another_namespace_is_not_concerned() -> None:
    world = a_world(a_node("n0"), quotas=[a_quota(limits_memory="0")])

    assert world.filter(a_pod("a", namespace="other"), "n0") == ("n0",)


def test_a_limit_that_cannot_be_read_allows_nothing() -> None:
    world = a_world(a_node("n0"), quotas=[a_quota("q", limits_memory="30Gi")])

    filtered = world.cluster.filter(a_pod(), ["n0"])

    fault = (
        'ResourceQuota "default/q", spec.hard: limits.acme.example/memory: 30Gi: give MiB as a plain number (30720); '
        "until then nothing new is granted in this namespace"
    )
    assert filtered.kept == ()
    assert str(filtered.why).endswith(fault)
    assert world.cluster.unreadable_quotas() == (("default", fault),)


def test_a_plugin_whose_fit_and_place_disagree_is_not_taken_for_a_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hami_core.placement.place", lambda *_: ())
    world = a_world(a_node("n0"))

    filtered = world.cluster.filter(a_pod(), ["n0"])

    assert filtered.failed == {"n0": "fits by its plugin's word, and has no place"}


@pytest.mark.parametrize("labels", [None, {}, {names.PREPARED: "false"}])
def test_a_pod_that_admission_has_not_prepared_gets_no_node_and_no_room(labels: Any) -> None:
    """It would be bound and see no device, and no watch would ever show what it holds."""
    world = a_world(a_node("n0"))
    pod = a_pod("a")
    pod["metadata"]["labels"] = labels

    filtered = world.cluster.filter(pod, ["n0"])

    sentence = "admission has not prepared the pod, so nothing is granted to it; create it anew"
    assert (filtered.kept, filtered.failed, filtered.ours) == ((), {"n0": sentence}, False)
    assert (str(world.try_to_begin(pod, "n0")), world.used()) == (sentence, {"n0": 0})


def test_a_pod_cannot_keep_the_scheduler_busy_with_containers_without_number() -> None:
    world = a_world(a_node("n0", *[80_000] * 8))

    def asking(number: int) -> dict[str, Any]:
        return a_pod(f"u{number}", *(a_container(f"c{n}", limits={CARD: 1, MEMORY: 100}) for n in range(number)))

    assert world.filter(asking(64), "n0") == ("n0",)
    with pytest.raises(ValidationError, match=r"spec\.containers: 65: at most 64 containers of a pod"):
        world.filter(asking(65), "n0")
