"""The device plugin of one resource: what the kubelet asks, answered from the offers and by the agent. On the agent's loop.

Nothing here waits for the API server, and Allocate knows no pod. Whatever a caller sends, the answer is one of gRPC's statuses
with a sentence: the kubelet writes it into the pod that it fails.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
import grpc.aio

from hami_core.errors import HamiError
from hami_core.node import allocating, offers, steering, tokens
from hami_core.node.api import deviceplugin_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from google.protobuf.message import Message

    from hami_core.model import Kind, Mounts
    from hami_core.node.offers import Advertised, Offer, Offers
    from hami_core.node.tokens import Token

    Context = grpc.aio.ServicerContext[Any, Any]

log: Final = logging.getLogger(__name__)

SERVICE: Final = "v1beta1.DevicePlugin"
OPTIONS: Final = api.DevicePluginOptions(pre_start_required=False, get_preferred_allocation_available=True)
"""PreStartContainer is not asked for: with it a kubelet that lost its checkpoint could not start containers again."""

DEADLINE: Final = 5.0
"""Seconds for Allocate. The kubelet has no deadline of its own, and admits no other pod meanwhile."""

STREAMS: Final = 8
"""Lists that are watched at a time; the kubelet watches one."""

LIMITS: Final = (
    ("grpc.max_allowed_incoming_connections", 16),  # the kubelet has one
    ("grpc.max_concurrent_streams", 16),
    ("grpc.max_receive_message_length", 1 << 20),  # 20,000 tokens
    ("grpc.server_handshake_timeout_ms", 5000),
)
"""What strangers on the socket can take from us. The folder is root's; who is there by mistake must not stop the kubelet."""


class Agent(Protocol):
    """Who prepares containers and knows who waits for devices."""

    def kind(self, name: str) -> Kind:
        """The kind of that name."""
        ...

    async def mounts(self, kind: Kind, taken: Sequence[Token]) -> Mounts:
        """What any container with these tokens is prepared with, all of it installed on the node. Answers in milliseconds."""
        ...

    def waiting(self, kind: Kind) -> Iterable[Sequence[str]]:
        """The devices of each container that was granted some of the kind here and has no token yet; the oldest first."""
        ...


class DevicePlugin:
    """Serves one registration of one resource.

    ``watched`` is set when the kubelet has begun to watch the devices, ``abandoned`` when it does so no longer. The kubelet is
    who comes first: the socket's name is new with every registration, and known to nobody else.
    """

    def __init__(self, resource: str, offered: Offers, agent: Agent) -> None:
        self.resource = resource
        self.watched, self.abandoned = asyncio.Event(), asyncio.Event()
        self._offers, self._agent = offered, agent
        self._streams = 0

    async def serve(self, path: Path) -> grpc.aio.Server:
        """Begin to serve on a socket of that path, for root alone. OSError: it cannot be made."""
        server = grpc.aio.server(options=LIMITS)
        server.add_generic_rpc_handlers((self._handlers(),))
        try:
            server.add_insecure_port(f"unix://{path}")
            path.chmod(0o600)
            await server.start()
        except (RuntimeError, OSError) as error:
            await server.stop(None)
            raise OSError(f"{path}: {error}") from error
        return server

    def _handlers(self) -> grpc.GenericRpcHandler:
        unary = grpc.unary_unary_rpc_method_handler
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "GetDevicePluginOptions": unary(_options, api.Empty.FromString, _bytes),
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(self._list_and_watch, api.Empty.FromString, _bytes),
            "GetPreferredAllocation": unary(self._prefer, api.PreferredAllocationRequest.FromString, _bytes),
            "Allocate": unary(self._allocate, api.AllocateRequest.FromString, _bytes),
            "PreStartContainer": unary(_pre_start, api.PreStartContainerRequest.FromString, _bytes),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _list_and_watch(self, _: api.Empty, context: Context) -> None:
        if self._streams >= STREAMS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{STREAMS} watch {self.resource} already")
        is_kubelet = not self.watched.is_set()
        self.watched.set()
        self._streams += 1
        try:
            await self._tell(context.write)
        finally:
            self._streams -= 1
            if is_kubelet:
                self.abandoned.set()

    async def _tell(self, write: Callable[[api.ListAndWatchResponse], Awaitable[None]]) -> None:
        version = offers.NONE
        while True:
            version, offer = await self._offers.changed(self.resource, version)
            await write(listing(offer))

    async def _prefer(self, request: api.PreferredAllocationRequest, _: Context) -> api.PreferredAllocationResponse:
        waiting = self._waiting()
        answers = [
            steering.prefer(one.available_deviceIDs, one.must_include_deviceIDs, one.allocation_size, waiting)
            for one in request.container_requests
        ]
        containers = [api.ContainerPreferredAllocationResponse(deviceIDs=answer) for answer in answers]
        return api.PreferredAllocationResponse(container_responses=containers)

    def _waiting(self) -> list[Sequence[str]]:
        """Nobody, where that cannot be told: an error would fail the pod, for a hint."""
        try:
            return list(self._agent.waiting(self._kind()))
        except Exception:
            log.exception("%s: who waits for a token cannot be told; tokens are spread", self.resource)
            return []

    def _kind(self) -> Kind:
        return self._agent.kind(self._offers.current(self.resource).kind)

    async def _allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:
        if not request.container_requests:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{self.resource}: a request for no container")
        try:
            async with asyncio.timeout(DEADLINE):
                answers = [await self._prepare(one.devices_ids) for one in request.container_requests]
        except HamiError as error:
            log.warning("a container is refused: %s", error)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except TimeoutError:
            late = f"{self.resource}: the node's agent could not prepare the container within {DEADLINE:g} s"
            log.warning("a container is refused: %s", late)
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, late)
        except Exception as error:
            log.exception("a container is refused")
            await context.abort(grpc.StatusCode.INTERNAL, f"{self.resource}: {type(error).__name__}: {error}")
        return api.AllocateResponse(container_responses=answers)

    async def _prepare(self, ids: Sequence[str]) -> api.ContainerAllocateResponse:
        kind = self._kind()
        mounts = await self._agent.mounts(kind, _taken(ids, self._offers.current(self.resource)))
        return allocating.response(kind, mounts, _is_there)


def listing(offer: Offer) -> api.ListAndWatchResponse:
    """The offer in the interface's own words."""
    return api.ListAndWatchResponse(devices=map(_device, offer.devices))


def _device(one: Advertised) -> api.Device:
    nowhere = one.numa is None or one.numa < 0  # the kernel's -1
    topology = None if nowhere else api.TopologyInfo(nodes=[api.NUMANode(ID=one.numa)])
    return api.Device(ID=one.token, health="Healthy" if one.healthy else "Unhealthy", topology=topology)


def _taken(ids: Sequence[str], offer: Offer) -> list[Token]:
    """The tokens of those texts. Unprepared: one that is not offered, or is there twice: folders are made by tokens."""
    for text in ids:
        if text not in offer.tokens:
            raise allocating.Unprepared(f"{offer.resource}: the device id {text[:100]!r} is none of this node's")
    if len(set(ids)) != len(ids):
        raise allocating.Unprepared(f"{offer.resource}: the same device id twice for one container")
    return [tokens.parse(text) for text in ids]


def _is_there(path: str) -> bool:
    return Path(path).exists()


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


async def _options(_: api.Empty, __: Context) -> api.DevicePluginOptions:
    return OPTIONS


async def _pre_start(_: api.PreStartContainerRequest, __: Context) -> api.PreStartContainerResponse:
    return api.PreStartContainerResponse()
