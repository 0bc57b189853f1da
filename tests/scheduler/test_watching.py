"""What the watch of pods does to the books: confirmed, corrected, released, and never moved by what is old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core import names, wire
from hami_core.model import Share
from hami_scheduler.binding import Outcome
from tests.scheduler.world import World, a_node, a_pod, a_world, seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.kube.objects import Pod


def told(uid: str, device: str = "n0-d0", memory: int = 3000, owner: str = "") -> Mapping[str, str]:
    """The annotations of a pod that was granted a share of a device."""
    share = Share("main", "acme", device, memory, 8000, 0)
    return {names.grant_key("main"): wire.limits_text(names.grant_id(owner or uid, "main"), [share], [])}


def bound(uid: str = "a", node: str = "n0", **changes: Any) -> Pod:
    annotations = changes.pop("annotations", None) or told(uid, f"{node}-d0")
    return seen(a_pod(uid), node, annotations, **changes)


def a_begun(world: World, pod: dict[str, Any], node: str = "n0") -> Mapping[str, str]:
    world.filter(pod, node)
    return world.begin(pod, node).annotations


def test_listed_pods_hold_what_their_annotations_say() -> None:
    world = a_world(a_node("n0"), a_node("n1"))

    world.cluster.pods_replaced([bound("a"), bound("b", "n1"), seen(a_pod("c"))])

    assert (world.used(), world.cluster.counts().holdings, world.cluster.counts().pods) == ({"n0": 3000, "n1": 3000}, 2, 3)


def test_pods_may_be_listed_before_their_nodes() -> None:
    world = a_world()

    world.cluster.pods_replaced([bound("a")])
    world.cluster.nodes_replaced([a_node("n0")])

    assert world.used() == {"n0": 3000}


def test_a_pod_that_is_shown_as_it_was_granted_is_confirmed() -> None:
    world = a_world(a_node("n0"))
    pod = a_pod("a")
    annotations = a_begun(world, pod)
    world.cluster.settle("a", Outcome.BOUND)

    world.cluster.pods_changed([("MODIFIED", seen(pod, "n0", annotations))])

    counts = world.cluster.counts()
    assert (world.used(), counts.holdings, counts.bound) == ({"n0": 3000}, 1, 0)


def test_annotations_win_over_what_we_thought() -> None:
    """Another leader has granted the pod another share."""
    world = a_world(a_node("n0"), a_node("n1"))
    pod = a_pod("a")
    a_begun(world, pod)

    world.cluster.pods_changed([("MODIFIED", seen(pod, "n1", told("a", "n1-d0", memory=500)))])
    world.cluster.settle("a", Outcome.REFUSED)

    assert world.used() == {"n0": 0, "n1": 500}


def test_a_grant_that_is_changed_is_counted_as_it_is_now() -> None:
    world = a_world(a_node("n0"))
    world.cluster.pods_replaced([bound("a")])

    world.cluster.pods_changed([("MODIFIED", bound("a", annotations=told("a", memory=1000)))])

    assert world.used() == {"n0": 1000}


@pytest.mark.parametrize("end", ["Succeeded", "Failed", "DELETED", "unlabelled"])
def test_a_pod_that_has_ended_gives_back_what_it_held(end: str) -> None:
    world = a_world(a_node("n0"))
    world.cluster.pods_replaced([bound("a")])
    last = bound("a", phase=end if end in {"Succeeded", "Failed"} else "Running", label="" if end == "unlabelled" else "true")

    world.cluster.pods_changed([("DELETED" if end == "DELETED" else "MODIFIED", last)])

    assert (world.used(), world.cluster.by_namespace()) == ({"n0": 0}, {})


def test_a_terminating_pod_holds_until_it_is_gone() -> None:
    world = a_world(a_node("n0"))
    pod = bound("a")
    pod.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"

    world.cluster.pods_changed([("MODIFIED", pod)])

    assert world.used() == {"n0": 3000}


def test_a_pod_without_a_grant_holds_nothing() -> None:
    world = a_world(a_node("n0"))

    world.cluster.pods_changed([("ADDED", seen(a_pod("a"), "n0"))])

    assert world.used() == {"n0": 0}


def test_a_pod_that_no_list_has_any_more_holds_nothing() -> None:
    world = a_world(a_node("n0"))
    world.cluster.pods_replaced([bound("a"), bound("b")])

    world.cluster.pods_replaced([bound("b")])

    assert world.used() == {"n0": 3000}


@pytest.mark.parametrize("outcome", [None, Outcome.BOUND, Outcome.UNKNOWN])
def test_a_list_that_is_older_than_a_binding_takes_nothing_back(outcome: Outcome | None) -> None:
    world = a_world(a_node("n0"))
    pod = a_pod("a")
    world.cluster.pods_changed([("ADDED", seen(pod))])
    a_begun(world, pod)
    if outcome:
        world.cluster.settle("a", outcome)

    world.cluster.pods_replaced([])
    world.cluster.pods_replaced([seen(pod)])

    assert world.used() == {"n0": 3000}


def test_a_pod_that_is_deleted_between_begin_and_the_watch_gives_back_its_room() -> None:
    world = a_world(a_node("n0"))
    pod = a_pod("a")
    a_begun(world, pod)

    world.cluster.pods_changed([("DELETED", seen(pod))])
    world.cluster.settle("a", Outcome.UNKNOWN)

    assert (world.used(), world.cluster.holds()) == ({"n0": 0}, ())
    assert "nothing is known" in str(world.try_to_begin(pod, "n0"))


def test_a_pod_that_comes_again_under_its_name_is_another() -> None:
    world = a_world(a_node("n0"))
    world.cluster.pods_replaced([bound("a")])
    again = a_pod("b")
    again["metadata"]["name"] = "pod-a"

    world.cluster.pods_changed([("DELETED", bound("a")), ("ADDED", seen(again, "n0", told("b", memory=100)))])

    assert world.used() == {"n0": 100}


# --- What is late, or comes twice. ---


def test_events_that_come_twice_count_once() -> None:
    world = a_world(a_node("n0"))
    event = ("MODIFIED", bound("a"))

    world.cluster.pods_changed([event, event])

    assert world.used() == {"n0": 3000}


def test_an_event_that_is_older_than_the_end_of_its_pod_changes_nothing() -> None:
    world = a_world(a_node("n0"))
    running, ended, deleted = bound("a"), bound("a", phase="Succeeded"), bound("a", phase="Succeeded")

    world.cluster.pods_changed([("MODIFIED", ended), ("MODIFIED", running)])
    after_its_end = world.used()
    world.cluster.pods_changed([("DELETED", deleted), ("MODIFIED", running)])

    assert (after_its_end, world.used(), world.cluster.counts().pods) == ({"n0": 0}, {"n0": 0}, 0)


def test_of_two_ends_of_a_pod_the_later_one_counts() -> None:
    world = a_world(a_node("n0"))
    early, running, late = bound("a"), bound("a"), bound("a")

    world.cluster.pods_changed([("DELETED", late), ("DELETED", early), ("MODIFIED", running)])

    assert world.used() == {"n0": 0}


def test_after_a_store_is_put_back_the_books_are_what_it_says() -> None:
    """Versions begin anew at what they were: a list tells, whatever was watched before."""
    world = a_world(a_node("n0"), a_node("n1"))
    waiting, running = seen(a_pod("a")), bound("b", "n1")
    world.cluster.pods_changed([("ADDED", bound("a")), ("ADDED", running), ("DELETED", bound("b", "n1"))])

    world.cluster.pods_replaced([waiting, running])

    assert world.used() == {"n0": 0, "n1": 3000}
    assert world.filter(a_pod("a"), "n0", "n1") == ("n1", "n0")


def test_a_pod_that_gets_its_label_back_holds_again() -> None:
    world = a_world(a_node("n0"))
    world.cluster.pods_changed([("ADDED", bound("a")), ("DELETED", bound("a", label=""))])

    world.cluster.pods_changed([("ADDED", bound("a"))])

    assert world.used() == {"n0": 3000}


def test_a_list_is_read_again_only_where_a_pod_has_changed() -> None:
    world = a_world(a_node("n0"))
    pod = bound("a")
    world.cluster.pods_replaced([pod])
    pod.metadata.annotations = {"grant.hami.io/main": "would be read with an error"}

    world.cluster.pods_replaced([pod])

    assert world.cluster.unreadable_grants() == {}


# --- Grants that cannot be read. ---


@pytest.mark.parametrize(
    ("annotations", "fault"),
    [
        ({"grant.hami.io/main": "hami-limits 2\nend\n"}, "grant.hami.io/main @ line 1: 'hami-limits 2' is not 'hami-limits 1'"),
        ({"grant.hami.io/main": "hami-limits 1\ngrant a/main\n"}, "grant.hami.io/main @ line 3: the text is truncated"),
        ({"grant.hami.io/main": ""}, "grant.hami.io/main @ line 1: '' is not 'hami-limits 1'"),
        (told("a", owner="b"), "line 2: 'grant b/main' is not the grant of this pod, a/main"),
    ],
)
def test_a_grant_that_cannot_be_read_closes_its_node_until_its_pod_ends(annotations: Mapping[str, str], fault: str) -> None:
    world = a_world(a_node("n0"), a_node("n1"))

    world.cluster.pods_changed([("MODIFIED", bound("a", annotations=annotations))])
    closed = world.filter(a_pod("b"), "n0", "n1"), world.cluster.filter(a_pod("c"), ["n0"]).failed
    (node, why), *_ = world.cluster.unreadable_grants().values()
    world.cluster.pods_changed([("DELETED", bound("a"))])

    assert closed == (("n1",), {"n0": "closed: a grant on it cannot be read"})
    assert node == "n0"
    assert why.startswith("pod default/pod-a on node n0: ")
    assert fault in why
    assert world.filter(a_pod("d"), "n0") == ("n0",)


def test_a_grant_that_becomes_readable_opens_its_node() -> None:
    world = a_world(a_node("n0"))
    world.cluster.pods_changed([("MODIFIED", bound("a", annotations={"grant.hami.io/main": "?"}))])

    world.cluster.pods_changed([("MODIFIED", bound("a"))])

    assert (world.cluster.unreadable_grants(), world.used()) == ({}, {"n0": 3000})


def test_a_node_that_is_closed_between_filter_and_bind_is_refused() -> None:
    world = a_world(a_node("n0"))
    pod = a_pod("b")
    world.filter(pod, "n0")
    world.cluster.pods_changed([("MODIFIED", bound("a", annotations={"grant.hami.io/main": "?"}))])

    assert str(world.try_to_begin(pod, "n0")) == "node n0 gets nothing new: a grant on it cannot be read"


def test_a_pod_with_a_grant_that_cannot_be_read_is_bound_all_the_same() -> None:
    world = a_world(a_node("n0"), a_node("n1"))
    world.cluster.pods_changed([("MODIFIED", bound("a", annotations={"grant.hami.io/main": "?"}))])

    assert world.filter(a_pod("a"), "n0", "n1") == ("n0",)
    assert "bound already, with a grant that cannot be read" in str(world.try_to_begin(a_pod("a"), "n1"))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(("memory=3000", "physical=8000", "cores=0", "phases=0", "device=n0-d0", "kind=acme", "overhead=0")),
    st.sampled_from(("", "-1", "9" * 25, "1,", "x", "0x10", "nan")) | st.text(max_size=5),
)
def test_no_grant_ends_the_scheduler(word: str, value: str) -> None:
    """Whatever its annotations say, a pod holds something, or closes its node."""
    world = a_world(a_node("n0"))
    key, text = next(iter(told("a").items()))

    world.cluster.pods_changed(
        [("ADDED", bound("a", annotations={key: text.replace(word, f"{word.partition('=')[0]}={value}")}))]
    )

    assert world.cluster.counts().holdings + world.cluster.counts().unreadable_grants == 1
    assert (np.abs(world.cluster.by_node()[0].memory_used) < 2**62).all()
