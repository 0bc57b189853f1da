"""The extender is killed between each pair of steps of a bind; whoever starts next finds nothing lost and nothing doubled.

    filter answered, prioritize answered, bind received, placed, the write begun, sent, carried out, answered, settled,
    answered to kube-scheduler, seen by the watch

Points inside the process are reached by ``faults/stops.py``, those on the way to the API server by the proxy.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cluster.faults import stops
from tests.cluster.faults.mischief import Hold
from tests.cluster.faults.scene import CLEAN, Behind, Scene
from tests.cluster.scheduling import SHARE, wait_for

RUNNER = str(Path(stops.__file__))
INSIDE = {
    "filter has decided": "hami_scheduler.server:Extender.filter:after",
    "prioritize has answered": "hami_scheduler.server:Extender.prioritize:after",
    "bind is received": "hami_scheduler.binder:Binder.bind:before",
    "the pod is placed": "hami_scheduler.cluster:Cluster.begin:after",
    "the write begins": "hami_scheduler.api:Api.bind:before",
    "the API server has answered": "hami_scheduler.api:Api.bind:after",
    "the bind is settled": "hami_scheduler.cluster:Cluster.settle:after",
    "kube-scheduler is answered": "hami_scheduler.server:Extender.bind:after",
    "the watch shows the pod": "hami_scheduler.watching:Pods._bound:before",
}


def started_again(one: Behind, *runner: str) -> None:
    """kill -9, and a new one that leads."""
    one.plane.kill(one.extender)
    one.runner = runner
    one.start_extender()
    wait_for(one.leads, f"leading again: {one.state()}")


@pytest.mark.parametrize("point", INSIDE.values(), ids=INSIDE)
def test_killed_inside(world: Scene, one: Behind, tmp_path: Path, point: str) -> None:
    started_again(one, sys.executable, RUNNER, point, str(tmp_path))
    world.burst(8, SHARE, "before")
    world.all_bound(60)

    (tmp_path / stops.ARMED).touch()
    world.burst(12, SHARE)
    wait_for((tmp_path / stops.STOPPED).exists, "stopped")
    started_again(one)
    world.all_bound(60)

    assert world.verdict(one) == CLEAN


@pytest.mark.parametrize("carried_out", [False, True], ids=["the request is sent", "the request is carried out"])
def test_killed_while_the_binding_is_on_its_way(world: Scene, one: Behind, carried_out: bool) -> None:
    """What was sent arrives after its sender's death."""
    world.burst(8, SHARE, "before")
    world.all_bound(60)
    hold = Hold(carried_out=carried_out)
    one.proxy.when("POST", "/binding", hold)

    world.burst(12, SHARE)
    assert hold.arrived.wait(30)
    one.plane.kill(one.extender)
    one.proxy.calm()
    hold.let_go()
    started_again(one)
    world.all_bound(60)

    assert world.verdict(one) == CLEAN
