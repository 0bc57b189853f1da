"""A second client of the device plugins: it does what the kubelet's device manager does, and says what that would say.

From the interface's description, with messages of its own. Where Go walks a map, a seeded random order stands. The node's
status, the checkpoint's file and cgroups are not here; nor is the grace of five minutes, but as ``forget``.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from attrs import define, field

from tests.node.interface import device_plugin as api

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping
    from pathlib import Path

PLUGIN = "/v1beta1.DevicePlugin"
LOCAL = (("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1))
NAME = re.compile(
    r"(?=.{1,253}/)(?!requests\.)(?!([a-z0-9.-]+\.)?kubernetes\.io/)[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9][\w.-]{0,62}"
)


class Unexpected(Exception):
    """The pod has failed with UnexpectedAdmissionError; nobody tries it again."""


@define(eq=False)
class Endpoint:
    """One registered plugin: how it is called, and what its stream has said last."""

    resource: str
    name: str
    channel: grpc.aio.Channel
    options: Any
    devices: dict[str, Any] = field(factory=dict)
    lists: int = 0
    streaming: bool = True
    task: asyncio.Task[None] | None = None

    def method(self, name: str, request: str, answer: str) -> Any:
        return self.channel.unary_unary(f"{PLUGIN}/{name}", getattr(api, request).SerializeToString, api.reads(answer))

    async def end(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        await self.channel.close()


@define(eq=False)
class Held:
    """The record of one container and one resource: what a restart uses again."""

    ids: frozenset[str]
    answer: Any


@define(eq=False)
class Kubelet:
    """The device manager of one node. ``records``: (pod, container, resource) -> what it holds; they survive a restart."""

    folder: Path
    dice: random.Random = field(factory=lambda: random.Random(7))
    endpoints: dict[str, Endpoint] = field(factory=dict)
    records: dict[tuple[str, str, str], Held] = field(factory=dict)
    used: dict[str, set[str]] = field(factory=dict)
    registrations: list[tuple[str, str]] = field(factory=list)
    calls: list[tuple[str, Any]] = field(factory=list)
    silent: bool = False  # takes registrations and watches nothing
    refusals: int = 0  # registrations that it does not take yet
    _server: grpc.aio.Server | None = None
    _turn: asyncio.Event = field(factory=asyncio.Event)
    _serial: asyncio.Lock = field(factory=asyncio.Lock)

    # --- Its life. ---

    async def start(self) -> None:
        """Remove every socket of the folder, then make its own."""
        for path in self.folder.iterdir():
            if path.is_socket():
                path.unlink()
        self._server = grpc.aio.server()
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            self._register, api.reads("RegisterRequest"), lambda message: message.SerializeToString()
        )
        methods = {"Register": handler}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.Registration", methods),))
        self._server.add_insecure_port(f"unix://{self.folder / 'kubelet.sock'}")
        await self._server.start()

    async def kill(self) -> None:
        """Its connections end; its socket stays, and nobody answers there."""
        if self._server:
            await self._server.stop(None)
        for endpoint in self.endpoints.values():
            await endpoint.end()
        self.endpoints.clear()
        with socket.socket(socket.AF_UNIX) as left, suppress(OSError):
            left.bind(str(self.folder / "kubelet.sock"))
        self._changed()

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def until(self, is_so: Callable[[], object], seconds: float = 10) -> None:
        """Wait until that is so."""
        async with asyncio.timeout(seconds):
            while not is_so():
                await self._turn.wait()

    def _changed(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()

    # --- Registration. ---

    async def _register(self, request: Any, context: Any) -> Any:
        if self.refusals:
            self.refusals -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        if request.version != "v1beta1":
            await context.abort(grpc.StatusCode.UNKNOWN, f'API version "{request.version}" is not supported, use "v1beta1"')
        if not NAME.fullmatch(request.resource_name):
            await context.abort(grpc.StatusCode.UNKNOWN, f'the ResourceName "{request.resource_name}" is invalid')
        endpoint = await self._dialled(request)
        before = self.endpoints.pop(request.resource_name, None)
        self.endpoints[request.resource_name] = endpoint
        self.registrations.append((request.resource_name, request.endpoint))
        if before:
            await before.end()
        if not self.silent:
            endpoint.task = asyncio.create_task(self._watch(endpoint))
        self._changed()
        return api.Empty()

    async def _dialled(self, request: Any) -> Endpoint:
        assert "/" not in request.endpoint
        channel = grpc.aio.insecure_channel(f"unix://{self.folder / request.endpoint}", options=LOCAL)
        await asyncio.wait_for(channel.channel_ready(), 10)
        endpoint = Endpoint(request.resource_name, request.endpoint, channel, None)
        endpoint.options = await endpoint.method("GetDevicePluginOptions", "Empty", "DevicePluginOptions")(api.Empty())
        assert endpoint.options == request.options, "an older kubelet takes the request's, a newer one the answer's"
        return endpoint

    async def _watch(self, endpoint: Endpoint) -> None:
        """The one and only stream of a registration."""
        try:
            async for answer in self._stream(endpoint):
                endpoint.devices = {device.ID: device for device in answer.devices}
                assert len(endpoint.devices) == len(answer.devices)
                endpoint.lists += 1
                self._changed()
        except grpc.aio.AioRpcError:
            pass
        finally:
            endpoint.streaming = False
            self._changed()

    def _stream(self, endpoint: Endpoint) -> AsyncIterable[Any]:
        path = f"{PLUGIN}/ListAndWatch"
        method = endpoint.channel.unary_stream(path, api.Empty.SerializeToString, api.reads("ListAndWatchResponse"))
        stream: AsyncIterable[Any] = method(api.Empty())
        return stream

    def cut(self, resource: str) -> None:
        """End the stream, for no reason that a plugin could see."""
        task = self.endpoints[resource].task
        assert task
        task.cancel()

    # --- What the node's status says. ---

    def capacity(self, resource: str) -> int | None:
        """None: no such resource is known."""
        endpoint = self.endpoints.get(resource)
        return None if endpoint is None else len(endpoint.devices)

    def healthy(self, resource: str) -> set[str]:
        endpoint = self.endpoints.get(resource)
        if endpoint is None or not endpoint.streaming:
            return set()
        return {name for name, device in endpoint.devices.items() if device.health == "Healthy"}

    async def allocatable(self) -> Mapping[str, int]:
        return {resource: len(self.healthy(resource)) for resource in self.endpoints}

    # --- Admission: one pod after the other. ---

    async def admit(
        self, pod: str, container: str, wanted: Mapping[str, int], *, reusable: Iterable[str] = (), nodes: Iterable[int] = ()
    ) -> None:
        """``reusable``: ids of the pod's init containers; ``nodes``: the NUMA nodes of the topology manager's hint."""
        async with self._serial:
            for resource in self.dice.sample(sorted(wanted), len(wanted)):
                await self._hand_out((pod, container, resource), wanted[resource], set(reusable), set(nodes))

    async def _hand_out(self, who: tuple[str, str, str], count: int, reusable: set[str], nodes: set[int]) -> None:
        resource, held = who[2], self.records.get(who)
        if held and len(held.ids) != count:
            raise Unexpected(f'pod "{who[0]}" container "{who[1]}" changed request for resource "{resource}"')
        if resource not in self.endpoints:
            raise Unexpected(f"cannot allocate unregistered device {resource}")
        if not self.healthy(resource):
            raise Unexpected(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        if held and not held.ids <= self.healthy(resource):
            raise Unexpected(
                f"previously allocated devices are no longer healthy; cannot allocate unhealthy devices {resource}"
            )
        if held:
            return
        ids = await self._choose(resource, count, reusable, nodes)
        self.used.setdefault(resource, set()).update(ids)  # before the call
        try:
            self.records[who] = Held(frozenset(ids), await self.allocate(resource, ids))
        finally:
            self._count_anew(resource)

    async def _choose(self, resource: str, count: int, reusable: set[str], nodes: set[int]) -> list[str]:
        endpoint = self.endpoints[resource]
        available = self.healthy(resource) - self.used.get(resource, set())
        chosen = self._drawn(reusable)[:count]
        if len(chosen) == count:
            return chosen
        available -= set(chosen)
        if len(available) < count - len(chosen):
            raise Unexpected(
                f"requested number of devices unavailable for {resource}. Requested: {count}, Available: {len(available)}"
            )
        near = {one for one in available if nodes & {node.ID for node in endpoint.devices[one].topology.nodes}}
        if count - len(chosen) >= len(near):
            chosen += self._drawn(near)
            near = available - set(chosen)
        if len(chosen) < count:
            hint = await self._preferred(endpoint, [*self._drawn(near), *chosen], chosen, count)
            chosen += [one for one in hint if one in near and one not in chosen][: count - len(chosen)]
            chosen += self._drawn(near - set(chosen))[: count - len(chosen)]
        return chosen

    def _drawn(self, ids: set[str]) -> list[str]:
        return self.dice.sample(sorted(ids), len(ids))

    async def _preferred(self, endpoint: Endpoint, available: list[str], must: list[str], size: int) -> list[str]:
        if not endpoint.options.get_preferred_allocation_available:
            return []
        one = api.ContainerPreferredAllocationRequest(
            available_deviceIDs=available, must_include_deviceIDs=must, allocation_size=size
        )
        answer = await self._call(endpoint, "GetPreferredAllocation", "PreferredAllocation", one)
        return list(answer.container_responses[0].deviceIDs) if answer.container_responses else []

    async def allocate(self, resource: str, ids: list[str]) -> Any:
        """The answer for a container with these ids, whoever picked them."""
        one = api.ContainerAllocateRequest(devices_ids=ids)
        answer = await self._call(self.endpoints[resource], "Allocate", "Allocate", one)
        if not answer.container_responses:
            raise Unexpected("no containers in container allocation response")
        return answer.container_responses[0]

    async def _call(self, endpoint: Endpoint, name: str, message: str, one: Any) -> Any:
        """One request for one container. There is no deadline."""
        request = getattr(api, f"{message}Request")(container_requests=[one])
        self.calls.append((name, one))
        try:
            return await endpoint.method(name, f"{message}Request", f"{message}Response")(request)
        except grpc.aio.AioRpcError as error:
            raise Unexpected(f"Allocate failed due to rpc error: {error.details()}, which is unexpected") from error

    def _count_anew(self, resource: str) -> None:
        self.used[resource] = {one for who, held in self.records.items() if who[2] == resource for one in held.ids}

    # --- A container's life. ---

    def prepared(self, pod: str, container: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """Variables, mounts and device nodes of a start: the answers of all resources; who says a name first has said it."""
        env: dict[str, str] = {}
        mounts: dict[str, str] = {}
        devices: dict[str, str] = {}
        records = [held.answer for who, held in self.records.items() if who[:2] == (pod, container)]
        for answer in self.dice.sample(records, len(records)):
            env = dict(answer.envs) | env
            mounts = {one.container_path: one.host_path for one in answer.mounts} | mounts
            devices = {one.container_path: one.host_path for one in answer.devices} | devices
        return env, mounts, devices

    def ended(self, pod: str) -> None:
        """The pod is over; its ids are free with the next look."""
        self.records = {who: held for who, held in self.records.items() if who[0] != pod}
        for resource in self.used:
            self._count_anew(resource)
