"""What the kubelet asks of a device plugin, by the rules of its own device manager."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from hami_core.errors import PluginError
from hami_core.model import Mount, Mounts
from hami_core.node import device_plugin
from hami_core.node.tokens import parse
from tests.node.interface import device_plugin as api
from tests.node.kubelet import Unexpected
from tests.node.plugged import CHIP, ELSE, OTHER, a_node, an_offer

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from tests.node.plugged import Node


def devices(node: Node, pod: str, resource: str = CHIP) -> list[str]:
    """Of the tokens that a pod's container holds."""
    return sorted(parse(one).device for one in node.kubelet.records[pod, "main", resource].ids)


def test_a_container_is_prepared_and_sees_nothing(folder: Path) -> None:
    library, region = folder / "acme.so", folder / "region"
    library.touch()
    region.mkdir()

    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            files = (Mount(str(library), "/usr/lib/acme.so"), Mount(str(region), "/var/lib/hami/region", read_only=False))
            node.agent.prepared = Mounts(files=files, devices=("/dev/null",))
            await node.kubelet.admit("train", "main", {CHIP: 2})

            assert [sorted(asked) for asked in node.agent.asked] == [sorted(node.kubelet.records["train", "main", CHIP].ids)]
            assert node.kubelet.prepared("train", "main") == (
                {"ACME_VISIBLE": "void"},
                {"/usr/lib/acme.so": str(library), "/var/lib/hami/region": str(region)},
                {"/dev/null": "/dev/null"},
            )

    asyncio.run(story())


def test_a_container_with_two_resources_is_prepared_by_both(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(), an_offer(kind=ELSE)) as node:
            for pod in map(str, range(3)):  # in whatever order the kubelet asks
                await node.kubelet.admit(pod, "main", {CHIP: 1, OTHER: 1})
                assert node.kubelet.prepared(pod, "main")[0] == {"ACME_VISIBLE": "void", "OTHER_VISIBLE": "void"}

    asyncio.run(story())


def test_the_token_is_that_of_the_device_that_was_granted(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(devices=4)) as node:
            node.agent.granted = [("c",)]
            await node.kubelet.admit("one", "main", {CHIP: 1})
            node.agent.granted = [("a",), ("b", "d")]
            await node.kubelet.admit("two", "main", {CHIP: 2})

            assert (devices(node, "one"), devices(node, "two")) == (["c"], ["b", "d"])

    asyncio.run(story())


def test_where_nobody_knows_who_waits_tokens_are_spread(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(devices=3, slots=2)) as node:
            node.agent.granted = None  # type: ignore[assignment]  # a fault of the agent's
            for pod in map(str, range(3)):
                await node.kubelet.admit(pod, "main", {CHIP: 1})

            assert sorted(device for pod in map(str, range(3)) for device in devices(node, pod)) == ["a", "b", "c"]

    asyncio.run(story())


def test_what_the_topology_manager_binds_stays_bound(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(devices=4)) as node:
            node.agent.granted = [("d", "a")]  # on two nodes: the hint is of no use
            await node.kubelet.admit("near", "main", {CHIP: 2}, nodes=[1])
            await node.kubelet.admit("wide", "main", {CHIP: 5}, nodes=[1])

            assert devices(node, "near") == ["b", "d"]
            assert devices(node, "wide").count("b") + devices(node, "wide").count("d") == 4  # all that is left there

    asyncio.run(story())


def test_tokens_of_init_containers_are_used_again(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            await node.kubelet.admit("train", "fetch", {CHIP: 1})
            before = node.kubelet.records["train", "fetch", CHIP].ids
            await node.kubelet.admit("train", "main", {CHIP: 2}, reusable=before)

            assert before < node.kubelet.records["train", "main", CHIP].ids
            hints = [one for name, one in node.kubelet.calls if name == "GetPreferredAllocation"]
            assert list(hints[-1].must_include_deviceIDs) == list(before)

    asyncio.run(story())


def test_all_tokens_are_handed_out_and_come_back(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(devices=2, slots=2)) as node:
            for pod in map(str, range(4)):
                await node.kubelet.admit(pod, "main", {CHIP: 1})
            with pytest.raises(Unexpected, match="requested number of devices unavailable"):
                await node.kubelet.admit("late", "main", {CHIP: 1})
            node.kubelet.ended("2")
            await node.kubelet.admit("late", "main", {CHIP: 1})

    asyncio.run(story())


def test_a_restart_of_the_kubelet_keeps_what_runs_and_admits_more(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(devices=1, slots=2)) as node:
            await node.kubelet.admit("before", "main", {CHIP: 1})
            await node.kubelet.restart()
            with pytest.raises(Unexpected, match="unregistered"):
                await node.kubelet.admit("between", "main", {CHIP: 1})
            await node.kubelet.until(lambda: node.kubelet.healthy(CHIP))
            await node.kubelet.admit("before", "main", {CHIP: 1})
            await node.kubelet.admit("after", "main", {CHIP: 1})

            assert len(node.agent.asked) == 2  # what is recorded is not asked for again

    asyncio.run(story())


def test_the_same_tokens_get_the_same_answer_again(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            await node.kubelet.admit("train", "main", {CHIP: 2})
            held = node.kubelet.records.pop(("train", "main", CHIP))  # a checkpoint that is lost
            assert await node.kubelet.allocate(CHIP, sorted(held.ids)) == held.answer

    asyncio.run(story())


async def refused(asking: Coroutine[Any, Any, object]) -> str:
    """Our own words, in those that the kubelet writes into the pod."""
    with pytest.raises(Unexpected) as failed:
        await asking
    return str(failed.value).removeprefix("Allocate failed due to rpc error: ").removesuffix(", which is unexpected")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (PluginError("acme", "the cupboard is bare", "hami_mounts"), 'plugin "acme": hook hami_mounts: the cupboard is bare'),
        (OSError(28, "No space left on device"), f"{CHIP}: OSError: [Errno 28] No space left on device"),
    ],
    ids=["told", "unforeseen"],
)
def test_a_container_that_cannot_be_prepared_is_refused_in_words(folder: Path, fault: Exception, words: str) -> None:
    async def story() -> str:
        async with a_node(folder, an_offer()) as node:
            node.agent.fault = fault
            return await refused(node.kubelet.admit("train", "main", {CHIP: 1}))

    assert asyncio.run(story()) == words


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    async def story() -> str:
        async with a_node(folder, an_offer()) as node:
            node.agent.prepared = Mounts(files=(Mount("/nowhere/acme.so", "/usr/lib/acme.so"),))
            return await refused(node.kubelet.admit("train", "main", {CHIP: 1}))

    assert asyncio.run(story()) == "acme: /nowhere/acme.so must be mounted, and is not on the node"


def test_an_agent_that_hangs_does_not_hold_up_the_kubelet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_plugin, "DEADLINE", 0.05)

    async def story() -> str:
        async with a_node(folder, an_offer()) as node:
            node.agent.held_up = 3600
            return await refused(node.kubelet.admit("train", "main", {CHIP: 1}))

    assert asyncio.run(story()) == f"{CHIP}: the node's agent could not prepare the container within 0.05 s"


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["a::0", "x::0"], f"{CHIP}: the device id 'x::0' is none of this node's"),
        (["../../etc::0"], f"{CHIP}: the device id '../../etc::0' is none of this node's"),
        (["a::0", "a::0"], f"{CHIP}: the same device id twice for one container"),
    ],
)
def test_ids_that_were_never_offered_reach_nobody(folder: Path, ids: list[str], words: str) -> None:
    async def story() -> str:
        async with a_node(folder, an_offer()) as node:
            told = await refused(node.kubelet.allocate(CHIP, ids))
            assert node.agent.asked == []
            return told

    assert asyncio.run(story()) == words


def test_a_sick_device_is_not_refused_where_the_kubelet_insists(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer(sick=1)) as node:
            await node.kubelet.allocate(CHIP, ["a::0"])

    asyncio.run(story())


def test_every_method_answers_also_what_no_kubelet_asks(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            endpoint = node.kubelet.endpoints[CHIP]
            start = endpoint.method("PreStartContainer", "PreStartContainerRequest", "PreStartContainerResponse")
            assert await start(api.PreStartContainerRequest(devices_ids=["a::0"])) == api.PreStartContainerResponse()
            both = [api.ContainerAllocateRequest(devices_ids=[one]) for one in ("a::0", "b::0")]
            allocate = endpoint.method("Allocate", "AllocateRequest", "AllocateResponse")
            assert len((await allocate(api.AllocateRequest(container_requests=both))).container_responses) == 2
            with pytest.raises(grpc.aio.AioRpcError, match="a request for no container"):
                await allocate(api.AllocateRequest())

    asyncio.run(story())


def test_fields_of_a_kubelet_to_come_are_no_fault(folder: Path) -> None:
    async def story() -> Any:
        async with a_node(folder, an_offer()) as node:
            known = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=["a::0"])])
            later = known.SerializeToString() + b"\xfa\x01\x03new"  # field 31
            path = "/v1beta1.DevicePlugin/Allocate"
            method: Any = node.kubelet.endpoints[CHIP].channel.unary_unary(path, None, api.reads("AllocateResponse"))
            return await method(later)

    assert len(asyncio.run(story()).container_responses) == 1
