"""Keeps every offered resource registered with the kubelet: at first, when the kubelet restarts, and when it loses us.

A registration is a server on a socket of a new name, a call to the kubelet, and the stream by which it watches the devices.
The kubelet never asks for a stream again, so when one ends, for whatever reason, everything is done anew. When it starts it
removes all sockets of its folder, and makes its own anew: by that a restart is noticed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import grpc
import grpc.aio
from attrs import define, frozen

from hami_core.errors import UserError
from hami_core.kube.backoff import Backoff, Pace
from hami_core.node.api import deviceplugin_pb2 as api
from hami_core.node.device_plugin import OPTIONS, DevicePlugin
from hami_core.node.sight import Sight, identity

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from hami_core.node.device_plugin import Agent
    from hami_core.node.offers import Offers
    from hami_core.node.sight import Identity

log: Final = logging.getLogger(__name__)

VERSION: Final = "v1beta1"
REGISTER: Final = "/v1beta1.Registration/Register"
KUBELET: Final = "kubelet.sock"
OURS: Final = "hami-*.sock"
LONGEST: Final = 107  # bytes of a socket's path, by the kernel's own structure
CHANNEL: Final = (
    ("grpc.default_authority", "localhost"),  # grpc-go refuses the path of a socket as a name
    ("grpc.use_local_subchannel_pool", 1),  # a new try is a new connection, and not the old one's wait
    ("grpc.enable_http_proxy", 0),
)
DOUBLINGS: Final = 7  # of the doubts, to an hour: telling it anew takes the devices from the node for a moment
FAILURE: Final = 500  # letters that are kept of one
PACE: Final = Pace(first=0.1, cap=10.0)  # while one kubelet refuses; a new one is asked at once


@frozen
class Patience:
    """Seconds of everything that is waited for."""

    look: float = 0.25  # between looks at the kubelet's folder
    answer: float = 15.0  # for Register: the kubelet takes up to ten to call back
    watch: float = 30.0  # from the kubelet's answer until it watches the devices
    doubt: float = 10.0  # between looks at what is allocatable
    doubts: int = 3  # looks in a row at which the kubelet has nothing of what it was told, before it is told anew
    good: float = 10.0  # a registration that lasted so long did not fail
    pace: Pace = PACE


class Books(Protocol):
    """Who knows what the kubelet can hand out."""

    async def allocatable(self) -> Mapping[str, int] | None:
        """How many devices of each resource; None: it cannot be told now."""
        ...


@define
class Standing:
    """How one resource stands with the kubelet."""

    resource: str
    registered: bool = False
    registrations: int = 0
    failure: str = ""  # why it is not registered, or why it was so no longer the last time
    forgotten: int = 0  # times in a row that the kubelet had nothing of it

    def failed(self, why: str) -> None:
        """Told once for as long as it stays the same."""
        if why != self.failure:
            log.warning("%s: %s; registering again", self.resource, why)
        self.registered, self.failure = False, why

    def succeeded(self) -> None:
        """The kubelet has taken it."""
        log.info("%s is registered with the kubelet", self.resource)
        self.registered = True
        self.registrations += 1


class Kubelet:
    """All registrations of one node. ``standings``, by resource, are for metrics and health checks."""

    def __init__(self, folder: Path, offers: Offers, agent: Agent, books: Books, patience: Patience = Patience()) -> None:
        if len(os.fsencode(folder / socket_name("x" * 99))) > LONGEST:
            raise UserError(
                f"{folder}: a socket's path has at most {LONGEST} bytes, so this folder's is too long for one in it"
            )
        self.standings: dict[str, Standing] = {}
        self._folder, self._socket = folder, folder / KUBELET
        self._offers, self._agent, self._books, self._patience = offers, agent, books, patience
        self._sight = Sight(patience.look)

    async def run(self) -> None:
        """Until cancelled; then our sockets are gone, and the kubelet counts our devices as sick."""
        sweep(self._folder)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sight.run())
            while True:
                for resource in (await self._offers.joined(len(self.standings)))[len(self.standings) :]:
                    self.standings[resource] = Standing(resource)
                    tasks.create_task(self._keep(self.standings[resource]))

    async def _keep(self, standing: Standing) -> None:
        """Register a resource again and again, with longer and longer waits while the same kubelet does not keep it."""
        backoff, last = Backoff(self._patience.pace), None
        while True:
            kubelet = await self._some_kubelet(standing)
            if kubelet != last:
                backoff.succeeded()
            began = time.monotonic()
            standing.failed(await self._attempt(standing, kubelet))
            if time.monotonic() - began >= self._patience.good:
                backoff.succeeded()
            last = kubelet
            await self._pause(kubelet, backoff.failed())

    async def _pause(self, kubelet: Identity, seconds: float) -> None:
        """So long, or until another kubelet is there."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._sight.until(lambda: self._is_another(kubelet)), seconds)

    async def _some_kubelet(self, standing: Standing) -> Identity:
        """Which kubelet is there, as soon as one is."""
        while (found := identity(self._socket)) is None:
            standing.failed(f"{self._socket} is not there: no kubelet is running")
            await self._sight.until(lambda: identity(self._socket) is not None)
        return found

    async def _attempt(self, standing: Standing, kubelet: Identity) -> str:
        """One registration from its beginning to its end, and why it ended."""
        plugin = DevicePlugin(standing.resource, self._offers, self._agent)
        path = self._folder / socket_name(standing.resource)
        try:
            server = await plugin.serve(path)
        except OSError:
            return f"no socket can be made in {self._folder}"
        try:
            refused = await _first(self._register(standing.resource, path), self._replaced(path, kubelet))
            if refused:
                return refused
            standing.succeeded()
            return await _first(
                _abandoned(plugin),
                self._unwatched(plugin),
                self._replaced(path, kubelet),
                self._forgotten(standing),
            )
        finally:
            await server.stop(None)
            path.unlink(missing_ok=True)  # gRPC does it too, when it comes to it

    async def _register(self, resource: str, path: Path) -> str:
        """Why the kubelet refused; empty: it did not. It calls our server before it answers."""
        request = api.RegisterRequest(version=VERSION, endpoint=path.name, resource_name=resource, options=OPTIONS)
        try:
            async with grpc.aio.insecure_channel(f"unix://{self._socket}", options=CHANNEL) as channel:
                method: Any = channel.unary_unary(REGISTER, api.RegisterRequest.SerializeToString, api.Empty.FromString)
                await method(request, timeout=self._patience.answer)
        except grpc.aio.AioRpcError as error:
            return f"the kubelet did not take it: {error.code().name}: {(error.details() or '')[:FAILURE]}"
        return ""

    # --- Why a registration ends. ---

    async def _unwatched(self, plugin: DevicePlugin) -> str:
        try:
            await asyncio.wait_for(plugin.watched.wait(), self._patience.watch)
        except TimeoutError:
            return f"the kubelet did not watch the devices within {self._patience.watch:g} s"
        return await _never()

    async def _replaced(self, path: Path, kubelet: Identity) -> str:
        await self._sight.until(lambda: self._is_another(kubelet) or identity(path) is None)
        return "the kubelet has started anew" if self._is_another(kubelet) else f"{path} was removed"

    async def _forgotten(self, standing: Standing) -> str:
        """The stream is there, and what it tells does not arrive: seen with kubelets that took us for our predecessor."""
        doubts = 0
        while doubts < self._patience.doubts << min(standing.forgotten, DOUBLINGS):
            await asyncio.sleep(self._patience.doubt)
            known = await self._books.allocatable()
            if known is not None and known.get(standing.resource):
                standing.forgotten = 0
            doubts = doubts + 1 if known is not None and self._is_missing(standing.resource, known) else 0
        standing.forgotten += 1
        return "the kubelet has none of the devices that it was told"

    def _is_missing(self, resource: str, known: Mapping[str, int]) -> bool:
        return not known.get(resource) and any(one.healthy for one in self._offers.current(resource).devices)

    def _is_another(self, kubelet: Identity) -> bool:
        """A socket that is gone is no other: the kubelet may live on without it, and keeps what it has."""
        return identity(self._socket) not in {None, kubelet}


async def _abandoned(plugin: DevicePlugin) -> str:
    await plugin.abandoned.wait()
    return "the kubelet watches the devices no longer: it has ended, or another plugin has registered the resource"


async def _never() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def _first(*events: Coroutine[Any, Any, str]) -> str:
    """What the first to end gives; the others are given up."""
    tasks = [asyncio.ensure_future(event) for event in events]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def socket_name(resource: str) -> str:
    """A new name for a resource's socket: with one of its own for each registration, the end of one harms no other."""
    return f"hami-{re.sub('[^A-Za-z0-9]+', '-', resource)[:20]}-{secrets.token_hex(4)}.sock"


def sweep(folder: Path) -> None:
    """Remove the sockets that killed predecessors have left. One that somebody listens on is no predecessor's."""
    for path in filter(Path.is_socket, folder.glob(OURS)):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:  # gone meanwhile; so many at its door that it is in use
                continue
