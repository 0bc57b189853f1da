"""What the agent's settings do, seen at an agent at work: proofs of ``tests/end_to_end/test_settings.py``."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hami_core.errors import DriverError
from tests.cluster.admitting import wait_for
from tests.node import kubelet as theirs
from tests.node.agents import CARD, World, an_agent, eventually
from tests.scheduler.daemons import KUBECONFIG

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hami_core.node.agent import Running
    from tests.cli.command import OnMachine


def at(act: Callable[[Running, World], Coroutine[Any, Any, None]], **values: object) -> None:
    """Act while an agent is at work under these settings."""

    async def acting() -> None:
        with TemporaryDirectory(prefix="hami-") as folder:
            world = World(Path(folder))
            async with an_agent(world, **{f"devicePlugin__{name}": value for name, value in values.items()}) as running:
                await act(running, world)

    asyncio.run(acting())


def the_agent_finds_the_kubelet_and_keeps_its_files_in_these_folders(on: OnMachine) -> None:
    library = on(None).folder / "libacme.so"
    library.write_bytes(b"library")

    async def act(running: Running, world: World) -> None:
        world.vendor.preload = (str(library),)
        await running.housekeeping.once()
        kubelet = theirs.Kubelet(Path(folder))
        await kubelet.start()
        await kubelet.until(lambda: kubelet.healthy(CARD))
        await kubelet.admit("pod", "main", {CARD: 1})
        _, mounts, _ = kubelet.prepared("pod", "main")
        assert all(path.startswith(f"{folder}/given/") for path in mounts.values())
        assert running.info.address.port == port
        await eventually(lambda: running.books.failure.startswith(f"{folder}/books/kubelet.sock"))
        await kubelet.kill()

    with TemporaryDirectory(prefix="hami-") as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        where = {"pluginPath": folder, "hostFolder": f"{folder}/given", "podResourcesPath": f"{folder}/books"}
        at(act, metricsBindAddress=f"127.0.0.1:{port}", **where)


def the_agent_looks_so_often_and_waits_so_long(on: OnMachine) -> None:
    """At the defaults of 5, 10 and 60 seconds each of these would take longer than anybody waits here."""

    async def act(running: Running, world: World) -> None:
        await eventually(lambda: world.schedulable() == {"card-0", "card-1"})
        world.vendor.sick = {"card-0": "lost"}
        await eventually(lambda: world.schedulable() == {"card-1"}, 4)
        world.vendor.sick = {}
        await eventually(lambda: world.schedulable() == {"card-0", "card-1"}, 4)
        world.vendor.cards["card-2"] = 4000
        await eventually(lambda: world.schedulable() == {"card-0", "card-1", "card-2"}, 4)
        world.vendor.health_fails = DriverError("acme", "hangs")
        await eventually(lambda: world.schedulable() == set(), 10)

    at(act, healthCheckSeconds=0.1, healthSettleSeconds=0.3, discoverySeconds=0.2, healthSilenceSeconds=1)


def the_agent_logs_from_this_level_on(on: OnMachine) -> None:
    node = on("t4-node")
    kubeconfig = node.write("gone", KUBECONFIG)

    def told(level: str, folder: Path) -> str:
        where = {"pluginPath": folder, "hostFolder": folder, "metricsBindAddress": "127.0.0.1:0", "logLevel": level}
        sets = [word for name, value in where.items() for word in ("--set", f"devicePlugin.{name}={value}")]
        serving = node.start(*sets, "node", "serve", "--kubeconfig", kubeconfig)
        wait_for((folder / "versions").exists, "installed")
        serving.signal(signal.SIGTERM)
        return serving.end().stderr

    for level, is_said in (("info", True), ("warning", False)):
        with TemporaryDirectory(prefix="hami-") as folder:
            assert ('"serving"' in told(level, Path(folder))) is is_said
