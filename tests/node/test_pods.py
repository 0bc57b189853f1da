from __future__ import annotations

import json
from typing import Any

import msgspec

from hami_core import names
from hami_core.model import Share
from hami_core.node.pods import NodePod, Pods
from hami_core.node.tokens import Token
from tests.node.agents import a_pod

NEW: dict[str, Any] = {"phase": "Pending", "begun": None}


def read(manifest: dict[str, Any]) -> NodePod:
    return msgspec.json.decode(json.dumps(manifest), type=NodePod)


def share(device: str, container: str = "main") -> Share:
    return Share(container, "acme", device, 1000, 8000, 0)


def pods(*manifests: dict[str, Any]) -> Pods:
    found = Pods()
    found.replaced([read(one) for one in manifests])
    return found


def test_every_container_that_lives_may_have_a_region() -> None:
    one = a_pod("a", share("x"), share("y", "beside"))
    one["spec"]["initContainers"] = [{"name": "first"}]

    assert pods(one, a_pod("over", phase="Failed")).regions() == {"uid-a_main", "uid-a_beside", "uid-a_first"}


def test_a_pod_that_ends_or_is_deleted_has_none() -> None:
    found = pods(a_pod("a"), a_pod("b"), a_pod("c"))

    found.changed([("MODIFIED", read(a_pod("a", phase="Succeeded"))), ("DELETED", read(a_pod("b")))])

    assert found.regions() == {"uid-c_main"}


def test_a_new_list_is_all_there_is() -> None:
    found = pods(a_pod("a", share("x"), **NEW))

    found.replaced([read(a_pod("b"))])

    assert found.regions() == {"uid-b_main"}
    assert found.waiting("acme") == []


def test_the_oldest_is_the_one_that_the_kubelet_took_on_first() -> None:
    found = pods(a_pod("a", begun="2026-01-02T00:00:00Z"), a_pod("b", begun="2026-01-01T00:00:00Z"), a_pod("new", begun=None))

    assert found.oldest(now=9e9) == 1767225600.0
    assert pods(a_pod("new", begun=None)).oldest(now=9e9) == 9e9


def test_a_time_that_is_none_is_older_than_all() -> None:
    assert pods(a_pod("a", begun="soon")).oldest(now=9e9) == 0


def test_holders_of_a_device_are_those_that_were_granted_a_share_of_it() -> None:
    found = pods(a_pod("a", share("x")), a_pod("b", share("y")), a_pod("c"))

    assert [pod.metadata.name for pod in found.holders("acme", "x")] == ["a"]
    assert found.holders("other", "x") == []


def test_who_waits_is_known_by_grant_until_the_kubelet_has_taken_the_pod_on() -> None:
    found = pods(a_pod("a", share("x"), share("y"), share("z", "beside"), **NEW), a_pod("runs", share("x")))

    assert found.waiting("acme") == [("x", "y"), ("z",)]
    found.changed([("MODIFIED", read(a_pod("a", share("x"))))])
    assert found.waiting("acme") == []


def test_who_got_just_these_tokens_waits_no_longer() -> None:
    found = pods(a_pod("a", share("x"), **NEW), a_pod("b", share("x"), **NEW), a_pod("c", share("y"), **NEW))

    found.served("acme", [Token("x", 3)])
    assert found.waiting("acme") == [("x",), ("y",)]
    found.served("acme", [Token("z", 0)])
    assert found.waiting("acme") == [("x",), ("y",)]


def test_a_grant_that_cannot_be_read_grants_nothing() -> None:
    manifest = a_pod("a", **NEW)
    manifest["metadata"]["annotations"] = {names.grant_key("main"): "hami-limits 1\ngrant"}

    assert pods(manifest).waiting("acme") == []


def test_a_grant_that_comes_later_counts() -> None:
    found = pods(a_pod("a", **NEW))

    found.changed([("MODIFIED", read(a_pod("a", share("x"), **NEW)))])

    assert next(iter(found.granted()))[2].devices == ("x",)
