"""The verbs over real HTTP, on the real books, with an API server that says yes."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field

from hami_core.serving.server import Address, Server
from hami_scheduler.auth import Access
from hami_scheduler.binder import Binder
from hami_scheduler.server import LARGEST, Extender
from tests.core.fleet import MEMORY
from tests.scheduler.test_binder import Ears
from tests.scheduler.test_binder import Server as ApiServer
from tests.scheduler.world import TERM, World, a_node, a_pod, a_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from hami_core.errors import HamiError
    from hami_scheduler.cluster import Filtered

TOKEN = "0123456789abcdef"
NO_POD = b'{"Pod":{"metadata":"x"},"NodeNames":["n0"]}'


@define
class Gate:
    """Whether we lead."""

    leads: bool = True

    async def opened(self, timeout: float) -> bool:
        return self.leads


@define
class Listener(Ears):
    """Who hears of the answers."""

    filters: list[str] = field(factory=list)
    statuses: list[tuple[str, int]] = field(factory=list)

    def answered(self, verb: str, status: int, seconds: float) -> None:
        self.statuses.append((verb, status))

    def filtered(self, pod: dict[str, Any], filtered: Filtered) -> None:
        self.filters.append("foreign" if not filtered.ours else "waits" if filtered.why else "fits")

    def failed(self, pod: dict[str, Any], error: HamiError) -> None:
        self.filters.append("failed")


@define
class Door:
    """An extender that listens, and what one sends to it."""

    world: World
    listener: Listener
    gate: Gate
    api: ApiServer
    host: str
    port: int

    async def send(self, path: str, body: object, method: str = "POST", length: int | None = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reader, writer = await asyncio.open_connection(self.host, self.port)
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length or len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        first, _, rest = answer.partition(b"\r\n\r\n")
        return int(first.split()[1]), json.loads(rest)

    async def filter(self, pod: object, *names: str) -> tuple[int, Any]:
        return await self.send("/filter", {"Pod": pod, "Nodes": None, "NodeNames": list(names)})


@asynccontextmanager
async def opened(world: World, token: str = "") -> AsyncIterator[Door]:
    listener, gate, api = Listener(), Gate(), ApiServer()
    with ThreadPoolExecutor(2) as threads:
        binder = Binder(world.cluster, api, threads, lambda: TERM, lambda _: False, listener)
        access = Access(Address("127.0.0.1", 0), token=token)
        server = Server(Extender(world.cluster, binder, gate, listener).app(access), access.address)
        address = await server.start()
        yield Door(world, listener, gate, api, address.host, address.port)
        await server.stop(1)


def at(act: Callable[[Door], Coroutine[Any, Any, Any]], world: World | None = None, token: str = "") -> Any:
    async def acting() -> Any:
        async with opened(world or a_world(a_node("n0", 8000), a_node("n1", 8000)), token) as door:
            return await act(door)

    return asyncio.run(acting())


def test_a_pod_is_filtered_ranked_and_bound() -> None:
    async def act(door: Door) -> None:
        pod = a_pod("a")
        status, kept = await door.filter(pod, "n0", "n1")
        _, ranked = await door.send("/prioritize", {"Pod": pod, "NodeNames": kept["NodeNames"]})
        words = {"PodName": "pod-a", "PodNamespace": "default", "PodUID": "a", "Node": kept["NodeNames"][0]}
        _, bound = await door.send("/bind", words)

        assert (status, sorted(kept["NodeNames"]), kept["Error"]) == (200, ["n0", "n1"], "")
        assert {one["Host"] for one in ranked} == {"n0", "n1"}
        assert (bound, len(door.api.written), door.listener.filters) == ({"Error": ""}, 1, ["fits"])
        assert door.listener.statuses == [("filter", 200), ("prioritize", 200), ("bind", 200)]

    at(act)


def test_whole_nodes_are_answered_whole() -> None:
    async def act(door: Door) -> None:
        nodes = [{"metadata": {"name": name}, "extra": name} for name in ("n0", "n9")]
        _, answer = await door.send("/filter", {"Pod": a_pod("a"), "Nodes": {"items": nodes}, "NodeNames": None})

        assert answer["Nodes"]["items"] == [nodes[0]]

    at(act)


def test_a_pod_that_fits_nowhere_is_told_why_by_node_as_unresolvable() -> None:
    async def act(door: Door) -> None:
        _, answer = await door.filter(a_pod("a", memory=9000), "n0", "n1", "gone")

        assert answer["NodeNames"] == []
        assert set(answer["FailedAndUnresolvableNodes"]) == {"n0", "n1", "gone"}
        assert "FailedNodes" not in answer
        assert door.listener.filters == ["waits"]

    at(act)


def test_a_pod_that_asks_nothing_of_ours_passes_untouched() -> None:
    async def act(door: Door) -> None:
        pod = {"metadata": {"uid": "x", "name": "x", "namespace": "default"}, "spec": {"containers": [{"name": "main"}]}}
        _, answer = await door.filter(pod, "n0", "unknown")

        assert answer["NodeNames"] == ["n0", "unknown"]

    at(act)


def test_a_pod_that_cannot_be_meant_is_an_answer_that_its_owner_sees() -> None:
    async def act(door: Door) -> None:
        pod = a_pod("a")
        pod["spec"]["containers"][0]["resources"]["limits"][MEMORY] = "3Gi"
        status, answer = await door.filter(pod, "n0")

        assert (status, door.listener.filters) == (200, ["failed"])
        assert f"{MEMORY}: 3Gi" in answer["Error"]

    at(act)


@pytest.mark.parametrize("verb", ["filter", "prioritize", "bind"])
def test_who_does_not_lead_answers_503(verb: str) -> None:
    async def act(door: Door) -> None:
        door.gate.leads = False
        words = {"PodName": "p", "PodNamespace": "d", "PodUID": "u", "Node": "n0"}
        status, _ = await door.send(f"/{verb}", words if verb == "bind" else {"Pod": a_pod("a"), "NodeNames": ["n0"]})

        assert (status, door.api.written, door.listener.statuses) == (503, [], [(verb, 503)])

    at(act)


@pytest.mark.parametrize("verb", ["filter", "prioritize", "bind"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"Pod":7}', b"\xff", b'{"PodName":{}}', NO_POD])
def test_what_is_no_request_is_400_and_changes_nothing(verb: str, body: bytes) -> None:
    async def act(door: Door) -> None:
        status, answer = await door.send(f"/{verb}", body)

        assert (status, door.listener.statuses, door.world.cluster.counts().likely) == (400, [(verb, 400)], 0)
        assert answer["error"]

    at(act)


def test_what_announces_itself_as_too_long_is_refused_before_it_comes() -> None:
    async def act(door: Door) -> None:
        status, _ = await door.send("/filter", b"{", length=LARGEST + 1)

        assert status == 413

    at(act)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/filter", 405), ("POST", "/", 404), ("POST", "/preempt", 404)])
def test_what_is_not_there_is_not_found(method: str, path: str, status: int) -> None:
    async def act(door: Door) -> None:
        assert (await door.send(path, {}, method))[0] == status

    at(act)


def test_who_does_not_know_the_token_finds_nothing_and_is_not_told_of_it() -> None:
    async def act(door: Door) -> None:
        status, answer = await door.filter(a_pod("a"), "n0")
        known, _ = await door.send(f"/{TOKEN}/filter", {"Pod": a_pod("a"), "NodeNames": ["n0"]})

        assert (status, known) == (404, 200)
        assert TOKEN not in json.dumps(answer)

    at(act, token=TOKEN)
