"""Objects that cannot be decoded: nothing of what they may hold or forbid looks free."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from hami_core import plugins
from hami_core.settings import resolve
from hami_core.sharing import CoreSettings
from hami_scheduler import standins
from hami_scheduler.leadership import Leadership, Phase
from tests.scheduler.test_watching import bound, told
from tests.scheduler.world import Plugin, a_node, a_pod, a_quota, a_world

FAULT = ValueError("no object")
LOADED = plugins.load([plugins.Found("acme", "acme", "0", Plugin)], block="")
CATALOGUE = plugins.catalogue(LOADED, resolve({"core": CoreSettings}, []))


def raw(name: str, version: str = "", **parts: Any) -> bytes:
    meta = {"name": name, "namespace": "default", "uid": name, "resourceVersion": version, "labels": 5}
    return json.dumps({"metadata": meta, **parts}).encode()


def test_the_node_of_a_pod_that_cannot_be_decoded_gets_nothing_new_until_it_is_gone() -> None:
    world = a_world(a_node("n0"), a_node("n1"))
    world.cluster.pods_replaced([bound("a")])
    pod = standins.pod(raw("a", spec={"nodeName": "n0"}, status={"phase": "Running"}), FAULT)

    world.cluster.pods_replaced([pod])

    assert world.filter(a_pod("b"), "n0", "n1") == ("n1",)
    world.cluster.pods_changed([("DELETED", pod)])
    assert world.filter(a_pod("b"), "n0", "n1") == ("n0", "n1")


def test_a_pod_that_can_be_decoded_again_opens_its_node() -> None:
    world = a_world(a_node("n0"))
    world.cluster.pods_changed([("ADDED", standins.pod(raw("a", spec={"nodeName": "n0"}), FAULT))])

    world.cluster.pods_changed([("MODIFIED", bound("a", annotations=told("a")))])

    assert (world.used(), world.filter(a_pod("b"), "n0")) == ({"n0": 3000}, ("n0",))


def test_a_node_that_cannot_be_decoded_has_no_device() -> None:
    world = a_world(a_node("n0"))

    world.cluster.nodes_changed([("MODIFIED", standins.node(CATALOGUE, raw("n0"), FAULT))])

    assert world.filter(a_pod(), "n0") == ()
    assert "n0" in world.cluster.unreadable_inventories()


def test_a_quota_that_cannot_be_decoded_allows_nothing() -> None:
    world = a_world(a_node("n0"), quotas=[a_quota(limits_memory="1M")])

    world.cluster.quotas_changed([("MODIFIED", standins.quota(CATALOGUE, raw("quota"), FAULT))])

    assert world.filter(a_pod(), "n0") == ()


def test_a_lease_that_cannot_be_decoded_is_nobodys() -> None:
    leadership = Leadership("gpu-1", "mine").seen(standins.lease(raw("hami-scheduler"), FAULT), 0)

    assert (leadership.phase, leadership.holder) == (Phase.STANDBY, "")


@pytest.mark.parametrize("found", [b"", b"7", b"{}", b'{"metadata":{"name":3}}', b"[" * 100_000], ids=range(5))
@pytest.mark.parametrize("stand_in", [standins.pod, standins.lease, partial(standins.node, CATALOGUE)])
def test_what_says_not_even_which_it_is_ends_the_watch(found: bytes, stand_in: Any) -> None:
    with pytest.raises(ValueError, match="no object"):
        stand_in(found, FAULT)
