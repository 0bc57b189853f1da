"""Registration: at first, after every kind of loss, and while the kubelet or a neighbour does not behave."""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from hami_core.errors import UserError
from hami_core.kube.backoff import Pace
from hami_core.node import kubelet
from hami_core.node.kubelet import Kubelet, Patience, sweep
from hami_core.node.offers import Offers
from tests.node.plugged import CHIP, ELSE, OTHER, QUICK, Agent, Books, Node, a_node, an_offer, eventually

if TYPE_CHECKING:
    from pathlib import Path

EVERY = {one.token for one in an_offer().devices}


def test_what_is_offered_is_registered_and_watched(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(sick=1)) as node:
            devices = node.kubelet.endpoints[CHIP].devices
            assert {name: (one.health, [at.ID for at in one.topology.nodes]) for name, one in devices.items()} == {
                "a::0": ("Unhealthy", [0]),
                "a::1": ("Unhealthy", [0]),
                "a::2": ("Unhealthy", [0]),
                "b::0": ("Healthy", [1]),
                "b::1": ("Healthy", [1]),
                "b::2": ("Healthy", [1]),
            }
            assert [name for _, name in node.kubelet.registrations] == node.sockets()

    asyncio.run(story())


@pytest.mark.parametrize("numa", [None, -1])
def test_a_device_of_no_known_place_has_no_topology(folder: Path, numa: int | None) -> None:
    async def story() -> None:
        offer = an_offer()
        async with a_node(folder, evolve(offer, devices=(evolve(offer.devices[0], numa=numa),))) as node:
            assert not node.kubelet.endpoints[CHIP].devices["a::0"].HasField("topology")

    asyncio.run(story())


def test_a_device_that_falls_sick_leaves_at_once_and_comes_back(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            node.offers.put(an_offer(sick=1))
            await node.kubelet.until(lambda: node.kubelet.healthy(CHIP) == {"b::0", "b::1", "b::2"})
            assert node.kubelet.capacity(CHIP) == 6
            node.offers.put(an_offer())
            await node.kubelet.until(lambda: node.kubelet.healthy(CHIP) == EVERY)
            assert len(node.kubelet.registrations) == 1

    asyncio.run(story())


def test_a_retired_resource_has_no_capacity(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            node.offers.retire(CHIP)
            await node.kubelet.until(lambda: node.kubelet.capacity(CHIP) == 0)

    asyncio.run(story())


def test_a_resource_that_comes_later_is_registered_by_itself(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            node.offers.put(an_offer(kind=ELSE))
            await node.kubelet.until(lambda: node.kubelet.healthy(OTHER) == EVERY)
            assert [resource for resource, _ in node.kubelet.registrations] == [CHIP, OTHER]

    asyncio.run(story())


def test_no_devices_at_all_are_an_empty_list(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder) as node:
            node.offers.put(an_offer(devices=0))
            await node.kubelet.until(lambda: CHIP in node.kubelet.endpoints and node.kubelet.endpoints[CHIP].lists)
            assert node.kubelet.capacity(CHIP) == 0

    asyncio.run(story())


def test_a_kubelet_that_starts_anew_is_not_kept_waiting(folder: Path) -> None:
    async def story() -> None:
        slow = evolve(QUICK, pace=Pace(first=60, cap=60))  # so that only the new kubelet's socket can end a wait in time
        async with a_node(folder, an_offer(), an_offer(kind=ELSE), patience=slow) as node:
            before = set(node.sockets())
            await node.kubelet.kill()
            await eventually(lambda: not any(one.registered for one in node.ours.standings.values()))
            await node.kubelet.start()
            await node.kubelet.until(lambda: node.kubelet.healthy(CHIP) == node.kubelet.healthy(OTHER) == EVERY)
            assert before.isdisjoint(node.sockets())

    asyncio.run(story())


def test_what_the_last_kubelet_refused_is_not_counted_against_a_new_one(folder: Path) -> None:
    async def story() -> None:
        steep = evolve(QUICK, pace=Pace(first=0.01, factor=1000, cap=60))  # the second wait is five seconds or more
        async with a_node(folder, an_offer(), patience=steep) as node:
            await node.kubelet.kill()
            await eventually(lambda: "UNAVAILABLE" in node.ours.standings[CHIP].failure)
            node.kubelet.refusals = 1
            await node.kubelet.start()
            await node.kubelet.until(lambda: node.kubelet.healthy(CHIP), seconds=4)

    asyncio.run(story())


def test_a_registration_that_lasted_has_not_failed(folder: Path) -> None:
    async def story() -> None:
        steep = evolve(QUICK, good=0, pace=Pace(first=0.01, factor=1000, cap=60))
        async with a_node(folder, an_offer(), patience=steep) as node:
            for _ in range(3):
                before = len(node.kubelet.registrations)
                node.kubelet.cut(CHIP)
                await node.kubelet.until(partial(_again, node, before), seconds=4)

    asyncio.run(story())


def test_a_new_kubelet_is_noticed_and_told_within_a_second() -> None:
    assert Patience().look + Patience().pace.first < 1


def test_a_kubelet_that_restarts_in_place_is_noticed(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            for _ in range(5):
                await node.kubelet.restart()
                await node.kubelet.until(lambda: node.kubelet.healthy(CHIP) == EVERY)
            assert len({name for _, name in node.kubelet.registrations}) == len(node.kubelet.registrations)
            assert len(node.sockets()) == 1

    asyncio.run(story())


def test_a_stream_that_ends_is_registered_again(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            for _ in range(3):
                before = len(node.kubelet.registrations)
                node.kubelet.cut(CHIP)
                await node.kubelet.until(partial(_again, node, before))
            assert node.ours.standings[CHIP].registrations == 4

    asyncio.run(story())


def test_a_socket_of_ours_that_is_removed_is_made_anew(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            (folder / node.sockets()[0]).unlink()
            await node.kubelet.until(lambda: len(node.kubelet.registrations) == 2 and node.kubelet.healthy(CHIP) == EVERY)

    asyncio.run(story())


def test_a_kubelet_without_its_socket_keeps_what_it_has(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            (folder / "kubelet.sock").unlink()
            node.offers.put(an_offer(sick=1))
            await node.kubelet.until(lambda: len(node.kubelet.healthy(CHIP)) == 3)
            await asyncio.sleep(5 * QUICK.look)  # several looks, at which nothing must come of it
            assert node.ours.standings[CHIP].registered

    asyncio.run(story())


def test_a_kubelet_that_comes_later_is_waited_for(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(), started=False) as node:
            await node.kubelet.start()
            await node.kubelet.until(lambda: node.kubelet.healthy(CHIP) == EVERY)

    asyncio.run(story())


def test_a_kubelet_that_forgot_us_is_told_anew(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(), patience=evolve(QUICK, doubt=0.02)) as node:
            node.books.told = {CHIP: 6}
            await asyncio.sleep(0.2)  # ten looks at books that are right
            assert len(node.kubelet.registrations) == 1
            node.books.told = {CHIP: 0}
            await node.kubelet.until(lambda: len(node.kubelet.registrations) == 3)
            assert node.ours.standings[CHIP].forgotten == 2
            node.books.told = {CHIP: 6}
            await eventually(lambda: node.ours.standings[CHIP].forgotten == 0)

    asyncio.run(story())


def test_a_kubelet_that_watches_nothing_is_asked_again(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, patience=evolve(QUICK, watch=0.05)) as node:
            node.kubelet.silent = True
            node.offers.put(an_offer())
            await node.kubelet.until(lambda: len(node.kubelet.registrations) == 2)
            node.kubelet.silent = False
            await node.kubelet.until(lambda: node.kubelet.healthy(CHIP) == EVERY)

    asyncio.run(story())


def test_a_name_that_the_kubelet_refuses_is_told_with_its_words(folder: Path) -> None:
    async def story() -> str:
        async with a_node(folder) as node:
            node.offers.put(evolve(an_offer(), resource="requests.acme.example/chip"))
            await eventually(lambda: any(one.failure for one in node.ours.standings.values()))
            return node.ours.standings["requests.acme.example/chip"].failure

    assert asyncio.run(story()) == (
        'the kubelet did not take it: UNKNOWN: the ResourceName "requests.acme.example/chip" is invalid'
    )


def _again(node: Node, before: int) -> bool:
    return len(node.kubelet.registrations) > before and node.kubelet.healthy(CHIP) == EVERY


def test_a_folder_that_takes_no_socket_is_told_and_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with a_node(folder) as node:
            with monkeypatch.context() as broken:
                broken.setattr(kubelet, "socket_name", lambda resource: "gone/plugin.sock")
                node.offers.put(an_offer())
                await eventually(lambda: CHIP in node.ours.standings and node.ours.standings[CHIP].failure)
            assert node.ours.standings[CHIP].failure == f"no socket can be made in {folder}"
            await node.kubelet.until(lambda: node.kubelet.healthy(CHIP) == EVERY)

    asyncio.run(story())


def test_two_plugins_of_one_resource_chase_each_other_more_and_more_slowly(folder: Path) -> None:
    steep = evolve(QUICK, pace=Pace(first=0.02, factor=10))

    async def story() -> float:
        async with a_node(folder, an_offer(), patience=steep) as node:
            rival = asyncio.create_task(Kubelet(folder, node.offers, Agent(), Books(), steep).run())
            began = time.monotonic()
            await node.kubelet.until(lambda: len(node.kubelet.registrations) == 8)
            rival.cancel()
            await asyncio.gather(rival, return_exceptions=True)
            return time.monotonic() - began

    assert asyncio.run(story()) >= sum(steep.pace.seconds(failures, chance=0) for failures in (1, 2, 3))


def test_an_agent_that_ends_leaves_no_socket(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(), an_offer(kind=ELSE)):
            pass

    asyncio.run(story())
    assert list(folder.glob("hami-*.sock")) == []


def test_sockets_that_killed_agents_left_are_removed_and_no_others(folder: Path) -> None:
    alive, dead = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    alive.bind(str(folder / "hami-alive.sock"))
    alive.listen()
    dead.bind(str(folder / "hami-dead.sock"))
    dead.close()
    (folder / "hami-file.sock").touch()
    (folder / "nvidia-gpu.sock").touch()

    sweep(folder)

    assert sorted(path.name for path in folder.iterdir()) == ["hami-alive.sock", "hami-file.sock", "nvidia-gpu.sock"]
    alive.close()


def test_a_folder_too_deep_for_sockets_is_told_at_once(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60)

    with pytest.raises(UserError, match="a socket's path has at most 107 bytes"):
        asyncio.run(asyncio.to_thread(Kubelet, deep, Offers(), Agent(), Books()))
