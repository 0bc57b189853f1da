"""The kubelet's own books: which tokens which containers hold, and how many there are to hand out.

For metrics, checks and the watchdog; nothing is granted because of them. The kubelet answers 100 questions a second, and 10 at
once; during an Allocate its devices are not in the books yet.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from attrs import frozen

from hami_core.node.api import podresources_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

SOCKET: Final = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
SERVICE: Final = "/v1.PodResourcesLister"
SECONDS: Final = 5.0
CHANNEL: Final = (
    ("grpc.default_authority", "localhost"),  # grpc-go refuses the path of a socket as a name
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.max_receive_message_length", 16 << 20),  # a node of 500 pods
)


@frozen
class Held:
    """What one container holds of one resource. A pod is a name here, and its successor has the same."""

    namespace: str
    pod: str
    container: str
    resource: str
    tokens: tuple[str, ...]


class PodResources:
    """The kubelet's answers, or None where it gives none; ``failure`` says why it gave none the last time, or is empty."""

    def __init__(self, path: Path = SOCKET, seconds: float = SECONDS) -> None:
        self.failure = ""
        self._path, self._seconds = path, seconds
        self._channel: grpc.aio.Channel | None = None

    async def allocatable(self) -> Counter[str] | None:
        """How many healthy devices there are of each resource, in use or not."""
        request, answer = api.AllocatableResourcesRequest(), api.AllocatableResourcesResponse
        told: api.AllocatableResourcesResponse | None = await self._ask("GetAllocatableResources", request, answer)
        return None if told is None else _counted(told.devices)

    async def held(self) -> tuple[Held, ...] | None:
        """What every container of the node holds."""
        told: api.ListPodResourcesResponse | None
        told = await self._ask("List", api.ListPodResourcesRequest(), api.ListPodResourcesResponse)
        return None if told is None else tuple(held for pod in told.pod_resources for held in _of(pod))

    async def close(self) -> None:
        """No more questions for now."""
        if self._channel is not None:
            await self._channel.close()
        self._channel = None

    async def _ask(self, name: str, request: Message, answer: type[Message]) -> Any:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(f"unix://{self._path}", options=CHANNEL)
        method: Any = self._channel.unary_unary(f"{SERVICE}/{name}", type(request).SerializeToString, answer.FromString)
        try:
            told = await method(request, timeout=self._seconds)
        except grpc.aio.AioRpcError as error:
            self.failure = f"{self._path}: {error.code().name}: {error.details()}"
            return None
        self.failure = ""
        return told


def _of(pod: api.PodResources) -> list[Held]:
    """By container and resource: a resource stands there once for each NUMA node."""
    found: dict[tuple[str, str], list[str]] = {}
    for container in pod.containers:
        for devices in container.devices:
            found.setdefault((container.name, devices.resource_name), []).extend(devices.device_ids)
    return [Held(pod.namespace, pod.name, *where, tuple(sorted(tokens))) for where, tokens in found.items()]


def _counted(devices: Iterable[api.ContainerDevices]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in devices:
        found[one.resource_name] += len(one.device_ids)
    return found
