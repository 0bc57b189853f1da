"""Two schedulers at once: one leads, the other is ready, and what the deposed one still sends is refused by the API server."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.cluster.faults.mischief import Hold
from tests.cluster.faults.scene import CLEAN, Behind, Scene, pair
from tests.cluster.scheduling import SHARE, a_pod, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.testing.cluster import ControlPlane


TAKEOVER = 5.0  # seconds, on a machine that does nothing else
BUSY = 6.0  # as many again, for a machine that does


@pytest.fixture
def pairs(plane: ControlPlane) -> Iterator[tuple[Behind, Behind]]:
    """The one that leads, and the one that stands by."""
    with ExitStack() as both:
        first = both.enter_context(pair(plane, "first", keep=False))
        second = both.enter_context(pair(plane, "second", keep=False, leads=False))
        yield first, second


def test_the_standby_takes_over_from_a_pair_that_dies(world: Scene, pairs: tuple[Behind, Behind]) -> None:
    first, second = pairs
    world.burst(10, SHARE)
    wait_for(lambda: world.bound() >= 2, "some bound")

    first.kill()
    died = time.monotonic()
    wait_for(second.leads, f"taken over: {second.state()}")
    took = time.monotonic() - died
    world.burst(10, SHARE, "next")
    world.all_bound(60)

    assert (took < TAKEOVER + BUSY, world.verdict(second)) == (True, CLEAN)


def test_a_pair_that_sleeps_and_wakes_up_deposed_binds_nothing(world: Scene, pairs: tuple[Behind, Behind]) -> None:
    first, second = pairs
    world.burst(10, SHARE)
    wait_for(lambda: world.bound() >= 2, "some bound")
    for part in (first.extender, first.scheduler):
        first.plane.pause(part)
    wait_for(second.leads, f"taken over: {second.state()}")

    for part in (first.extender, first.scheduler):
        first.plane[part].send(signal.SIGCONT)
    world.burst(10, SHARE, "next")
    world.all_bound(60)

    assert (first.leads(), world.verdict(second)) == (False, CLEAN)


def test_a_binding_of_a_dead_leader_that_arrives_late_is_refused(world: Scene, pairs: tuple[Behind, Behind]) -> None:
    first, second = pairs
    hold = Hold()
    first.proxy.when("POST", "/binding", hold)
    world.burst(20, SHARE)
    assert hold.arrived.wait(30)
    first.kill()
    wait_for(second.leads, f"taken over: {second.state()}")
    world.all_bound(60)

    hold.let_go()
    sent = [one for one in first.proxy.exchanges if "/binding?" in one.target]
    wait_for(lambda: all(one.answered for one in sent), "the late Bindings answered")

    assert ({one.answered for one in sent} <= {403, 409}, world.verdict(second)) == (True, CLEAN)


def test_a_leader_that_does_not_know_that_it_is_deposed_binds_nothing(world: Scene, pairs: tuple[Behind, Behind]) -> None:
    """Its watch of the Lease is frozen, and somebody asks it to bind: the fence alone holds."""
    first, second = pairs
    first.proxy.freeze_watches()
    first.plane.pause(first.scheduler)
    wait_for(second.leads, f"taken over: {second.state()}")
    world.create({**(pod := a_pod("asked", SHARE)), "spec": {**pod["spec"], "schedulerName": "nobody"}})
    asked = world.pods()[0]
    nodes = [node.name for node in world.there]

    believes = first.leads()
    filtered = first.ask("filter", {"Pod": asked, "NodeNames": nodes})
    named = {"PodName": "asked", "PodNamespace": world.namespace, "PodUID": asked["metadata"]["uid"], "Node": nodes[0]}
    told = first.ask("bind", named)

    assert (believes, bool(filtered["NodeNames"]), world.bound()) == (True, True, 0)
    assert "and only it binds" in told["Error"]
    assert world.verdict().doubles == ()
