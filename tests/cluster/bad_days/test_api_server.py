"""Bad days on the real parts: whatever happens, nothing is granted twice, nothing leaks, no pod is stuck."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hami_core.testing.cluster.control_plane import APISERVER
from tests.cluster.faults.mischief import (
    ClosedWatch,
    Delay,
    Drip,
    HalfAnswer,
    Instead,
    LateAnswer,
    LostAnswer,
    LostRequest,
)
from tests.cluster.faults.scene import CLEAN, Behind, Scene
from tests.cluster.scheduling import SHARE, a_pod, wait_for

if TYPE_CHECKING:
    from hami_core.testing.cluster import ControlPlane
    from tests.cluster.faults.mischief import Fault

BINDING = "/binding"
LISTS = r"/api/v1/(pods|nodes|resourcequotas)\?(?!.*watch=)"
WATCHES = "watch="


# --- Bindings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Instead(409), id="409"),
        pytest.param(Instead(410), id="410"),
        pytest.param(Instead(429, retry_after=1), id="429"),
        pytest.param(Instead(500), id="500"),
        pytest.param(Instead(503), id="503"),
        pytest.param(LostRequest(), id="the request is lost"),
        pytest.param(LostAnswer(), id="the answer is lost"),
        pytest.param(HalfAnswer(), id="the answer breaks off"),
        pytest.param(LateAnswer(6), id="the answer comes too late"),
        pytest.param(Delay(6), id="the request comes too late"),
        pytest.param(Drip(0.01), id="the answer drips"),
    ],
)
def test_what_befalls_bindings_delays_pods_and_does_no_more(world: Scene, one: Behind, fault: Fault) -> None:
    rule = one.proxy.when("POST", BINDING, fault, times=5)

    world.burst(20, SHARE)
    world.all_bound(60)

    assert (rule.hits, world.verdict(one)) == (5, CLEAN)


def test_a_full_cluster_is_not_overfilled_by_answers_that_are_lost(world: Scene, one: Behind) -> None:
    """Every second answer is lost, and there are more pods than room: who doubts must not give away what may be taken."""
    one.proxy.when("POST", BINDING, LostAnswer(), chance=0.5)

    world.burst(30, SHARE)
    wait_for(lambda: world.bound() >= 20, "full", 60)
    one.proxy.calm()
    found = world.verdict(one)

    assert (world.bound(), found.doubles, found.leaks) == (20, (), ())


def test_a_pod_that_is_deleted_while_its_binding_is_in_doubt_leaves_its_room(world: Scene, one: Behind) -> None:
    one.proxy.when("POST", BINDING, LostAnswer(), times=10)
    world.burst(20, SHARE)
    wait_for(lambda: world.bound() >= 5, "some bound")

    world.delete(*(f"pod-{n}" for n in range(20)))
    world.burst(20, SHARE, "next")
    world.all_bound(60)

    assert world.verdict(one) == CLEAN


# --- Lists and watches -----------------------------------------------------------------------------------------------


def test_watches_that_are_closed_all_the_time_are_taken_up_again(world: Scene, one: Behind) -> None:
    one.proxy.close_watches()
    rule = one.proxy.when("GET", WATCHES, ClosedWatch(0.3))

    world.burst(20, SHARE)
    world.all_bound(60)
    world.delete(*(f"pod-{n}" for n in range(10)))
    world.burst(10, SHARE, "next")
    world.all_bound(60)
    wait_for(lambda: rule.hits > 8, "closed again and again", 60)

    assert world.verdict(one) == CLEAN


@pytest.mark.parametrize("status", [410, 429, 500])
def test_watches_and_lists_that_are_refused_are_asked_for_again(world: Scene, one: Behind, status: int) -> None:
    rules = [one.proxy.when("GET", where, Instead(status), times=4) for where in (WATCHES, LISTS)]
    one.proxy.close_watches()

    world.burst(20, SHARE)
    world.all_bound(60)
    wait_for(lambda: rules[0].hits == 4, "refused four times", 60)

    assert world.verdict(one) == CLEAN


def test_connections_that_break_again_and_again_lose_nothing(world: Scene, one: Behind) -> None:
    world.burst(20, SHARE)
    for _ in range(5):
        one.proxy.cut_connections()
        time.sleep(0.3)  # the fault itself: how often they break
    world.all_bound(60)

    assert world.verdict(one) == CLEAN


def test_a_frozen_watch_hides_what_has_ended_for_a_while_and_oversells_nothing(world: Scene, one: Behind) -> None:
    """Books that are behind are full for longer; they are never emptier than the world."""
    world.burst(20, SHARE)
    world.all_bound(60)
    one.proxy.freeze_watches()
    world.delete(*(f"pod-{n}" for n in range(10)))
    world.burst(10, SHARE, "next")
    time.sleep(2)  # the fault itself
    behind = world.verdict()

    one.proxy.calm()
    one.proxy.cut_connections()
    world.all_bound(60)

    assert (behind.doubles, world.verdict(one)) == ((), CLEAN)


def test_a_slow_api_server_makes_all_slow_and_nothing_wrong(world: Scene, one: Behind) -> None:
    one.proxy.when("*", "", Delay(0.05, 1.0))

    world.burst(20, SHARE)
    world.all_bound(90)

    assert world.verdict(one) == CLEAN


# --- Gone ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [4, pytest.param(30, marks=pytest.mark.long)])
def test_an_api_server_that_the_extender_cannot_reach_for_a_while(world: Scene, one: Behind, seconds: int) -> None:
    world.burst(8, SHARE)
    with one.proxy.gone():
        world.burst(8, SHARE, "meanwhile")
        world.delete("pod-0", "pod-1")
        time.sleep(seconds)  # the fault itself
        alive = one.get("/healthz")
    world.all_bound(60)

    assert (alive != b"", world.verdict(one)) == (True, CLEAN)


@pytest.mark.parametrize("seconds", [0, pytest.param(30, marks=pytest.mark.long)])
def test_an_api_server_that_is_killed_and_comes_back(world: Scene, one: Behind, plane: ControlPlane, seconds: int) -> None:
    world.burst(16, SHARE)
    wait_for(lambda: world.bound() >= 2, "some bound")
    plane.kill(APISERVER)
    time.sleep(seconds)  # the fault itself
    plane.restart_apiserver()
    wait_for(one.leads, "leading again", 60)
    world.create(*(a_pod(f"after-{n}", SHARE) for n in range(4)))
    world.all_bound(90)

    assert world.verdict(one) == CLEAN
