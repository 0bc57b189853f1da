"""The kubelet's books, read from a kubelet that has a second reading of the interface."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from hami_core.node.podresources import Held, PodResources
from tests.node.interface import pod_resources as api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GPU, NIC = "nvidia.com/gpu", "example.com/nic"


def devices(resource: str, *ids: str, node: int = 0) -> Any:
    return api.ContainerDevices(
        resource_name=resource, device_ids=ids, topology=api.TopologyInfo(nodes=[api.NUMANode(ID=node)])
    )


LISTED = api.ListPodResourcesResponse(
    pod_resources=[
        api.PodResources(
            name="train",
            namespace="default",
            cpu_ids=[1, 2],
            containers=[
                api.ContainerResources(
                    name="main",
                    devices=[devices(GPU, "b::0"), devices(NIC, "eth1"), devices(GPU, "a::1", "a::0", node=1)],
                    cpu_ids=[3],
                    memory=[api.ContainerMemory(memory_type="memory", size=2**40)],
                    dynamic_resources=[api.DynamicResource(claim_name="claim", claim_namespace="default")],
                ),
                api.ContainerResources(name="beside"),
            ],
        ),
        api.PodResources(name="idle", namespace="other"),
    ]
)
ALLOCATABLE = api.AllocatableResourcesResponse(
    devices=[devices(GPU, "a::0", "a::1"), devices(NIC, "eth1"), devices(GPU, "b::0")]
)


@asynccontextmanager
async def a_kubelet(path: Path) -> AsyncIterator[None]:
    def method(request: str, answer: Any) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(_: Any, __: Any) -> bytes:
            told: bytes = answer.SerializeToString()
            return told

        return grpc.unary_unary_rpc_method_handler(handle, api.reads(request))

    methods = {
        "List": method("ListPodResourcesRequest", LISTED),
        "GetAllocatableResources": method("AllocatableResourcesRequest", ALLOCATABLE),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1.PodResourcesLister", methods),))
    server.add_insecure_port(f"unix://{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def test_the_books_are_read(folder: Path) -> None:
    async def story() -> None:
        async with a_kubelet(folder / "kubelet.sock"):
            books = PodResources(folder / "kubelet.sock")
            assert await books.held() == (
                Held("default", "train", "main", GPU, ("a::0", "a::1", "b::0")),
                Held("default", "train", "main", NIC, ("eth1",)),
            )
            assert await books.allocatable() == {GPU: 3, NIC: 1}
            await books.close()

    asyncio.run(story())


def test_a_kubelet_that_is_away_is_told_and_asked_again(folder: Path) -> None:
    async def story() -> None:
        path = folder / "kubelet.sock"
        books = PodResources(path)
        assert (await books.held(), await books.allocatable()) == (None, None)
        assert books.failure.startswith(f"{path}: UNAVAILABLE: ")
        async with a_kubelet(path), asyncio.timeout(20):
            while await books.allocatable() is None:
                await asyncio.sleep(0.05)
            assert books.failure == ""
        await books.close()

    asyncio.run(story())
