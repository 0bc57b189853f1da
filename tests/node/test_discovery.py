"""The agent and real drivers, of a simulated machine: what fails there, and what hangs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hami_core import plugins, site
from hami_core.asking import Drivers
from tests.cli.command import on
from tests.node.agents import QUICK, World, eventually, parts, paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_core.node.agent import Running
    from tests.cli.command import Node, OnMachine

__all__ = ["on"]

pytestmark = pytest.mark.slow
GPU = "nvidia.com/gpu"
DEADLINE = 3.0
NINE = """
schema = "hami-mock/v1"
machine = "nine"
driver = {version = "580.65.06", nvml = "13.580.65.06", cuda = 13000}
defaults = {profile = "t4"}
""" + "".join(f'[[gpus]]\nindex = {index}\nbus = "0000:{index + 16:02X}:00.0"\n' for index in range(9))


@pytest.fixture
def nine(on: OnMachine) -> Node:
    """Nine GPUs of ten slots each."""
    node = on(None)
    node.machine = str(node.folder / node.write("nine.toml", NINE))
    return node


def settled(node: Node, folder: Path) -> site.Site:
    values = {**QUICK, **paths(folder), "devicePlugin.discoverySeconds": 60, "devicePlugin.healthRecoverySeconds": 1}
    root = node.folder.parent / "state"
    return site.settle(plugins.load(block=""), [("test", {**values, "driver.deadlineSeconds": DEADLINE})], node.machine, root)


def at(node: Node, folder: Path, act: Callable[[Running, World], object]) -> None:
    """What the agent does on that machine."""
    where, world = settled(node, folder), World(folder)

    async def acting() -> None:
        drivers = Drivers(where.plugins, DEADLINE)
        try:
            async with parts(world, where, drivers) as running:
                await act(running, world)  # type: ignore[misc]
        finally:
            drivers.close()

    asyncio.run(acting())


def healthy(running: Running) -> dict[str, int]:
    """How many tokens of each device may be given out."""
    found: dict[str, int] = {}
    if GPU in running.offers.resources():
        for one in running.offers.current(GPU).devices:
            device = one.token.partition("::")[0]
            found[device] = found.get(device, 0) + int(one.healthy)
    return found


def took(running: Running, question: str) -> float:
    """Seconds of all questions of that name so far."""
    name = "hami_node_driver_question_duration_seconds_sum"
    return running.work.registry.get_sample_value(name, {"question": question}) or 0.0


@pytest.mark.parametrize("call", ["nvmlDeviceGetName", "nvmlDeviceGetUUID"])
def test_a_ninth_gpu_that_hangs_costs_its_time_and_hides_no_other(nine: Node, folder: Path, call: str) -> None:
    nine.ask("mock", "fault", "add", "hang", "--gpu", "8", "--call", call)

    async def act(running: Running, world: World) -> None:
        await eventually(lambda: running.looking.complete, 30)
        assert took(running, "discover") < DEADLINE
        assert took(running, "health") < DEADLINE
        assert sorted(healthy(running).values())[-8:] == [10] * 8
        assert sum(healthy(running).values()) == 80
        await eventually(lambda: running.publisher.published)

    at(nine, folder, act)


def test_a_driver_that_hangs_as_a_whole_stops_nobody_else(nine: Node, folder: Path) -> None:
    nine.ask("mock", "fault", "add", "hang", "--call", "nvmlInit*")

    async def act(running: Running, world: World) -> None:
        await eventually(lambda: running.looking.complete, 30)
        assert healthy(running) == {}
        assert any("gave no answer within 3 s" in failure for failure in running.ready()["failures"])

    at(nine, folder, act)


def test_a_gpu_that_is_lost_is_out_at_once_and_returns(nine: Node, folder: Path) -> None:
    async def act(running: Running, world: World) -> None:
        await eventually(lambda: sum(healthy(running).values()) == 90, 30)
        await asyncio.to_thread(nine.ask, "mock", "lose", "2")
        await eventually(lambda: sum(healthy(running).values()) == 80)
        assert len(healthy(running)) == 9
        await asyncio.to_thread(nine.ask, "mock", "restore", "2")
        await eventually(lambda: sum(healthy(running).values()) == 90, 20)

    at(nine, folder, act)
