"""Strangers on our socket, and strangers in the kubelet's place: the kubelet is served all the same, and nothing grows."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from attrs import evolve

from hami_core.node.device_plugin import STREAMS
from tests.node.interface import device_plugin as api
from tests.node.kubelet import LOCAL, PLUGIN, Kubelet
from tests.node.plugged import CHIP, QUICK, a_node, an_offer, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
MIB = 1024  # KiB


# --- On our socket. ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_process(folder: Path) -> AsyncIterator[tuple[Kubelet, int]]:
    """Our plugins in a process with few files, and the kubelet that watches them."""
    kubelet = Kubelet(folder)
    await kubelet.start()
    command = f'ulimit -n 128; exec "{sys.executable}" -m tests.node.alone "{folder}" 8 10'
    ours = subprocess.Popen(["sh", "-c", command], cwd=Path(__file__).parents[2])
    try:
        await kubelet.until(lambda: kubelet.healthy(CHIP), seconds=60)
        yield kubelet, ours.pid
    finally:
        ours.kill()
        ours.wait()
        await kubelet.kill()


def memory(pid: int) -> int:
    """KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def connection(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(5)
    one.connect(str(path))
    return one


def the_socket(folder: Path) -> Path:
    (path,) = folder.glob("hami-*.sock")
    return path


async def is_served(kubelet: Kubelet) -> None:
    """Also when the kubelet comes anew."""
    await kubelet.allocate(CHIP, ["a::0"])
    before = len(kubelet.registrations)
    kubelet.cut(CHIP)
    await kubelet.until(lambda: len(kubelet.registrations) > before and kubelet.healthy(CHIP), seconds=30)
    await kubelet.allocate(CHIP, ["a::0"])


@pytest.mark.slow
def test_a_thousand_connections_are_no_matter(folder: Path) -> None:
    async def story() -> None:
        async with a_process(folder) as (kubelet, pid):
            before, path = memory(pid), the_socket(folder)
            crowd = [await asyncio.to_thread(connection, path) for _ in range(1000)]
            await kubelet.allocate(CHIP, ["a::0"])
            assert memory(pid) - before < 8 * MIB
            assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 64
            await is_served(kubelet)
            for one in crowd:
                one.close()
            await is_served(kubelet)

    asyncio.run(story())


def rubbish() -> Iterator[bytes]:
    """Bytes of no protocol, bytes after a right beginning, frames that promise too much."""
    dice = random.Random(11)
    for number in range(300):
        begin = (b"", PREFACE, PREFACE + SETTINGS, PREFACE + SETTINGS + b"\xff\xff\xff\x01\x05\0\0\0\x01")[number % 4]
        yield begin + dice.randbytes(dice.randrange(1, 65536))


def throw(path: Path, data: bytes) -> None:
    with connection(path) as one, suppress(OSError):  # it is closed on us
        one.sendall(data)


@pytest.mark.slow
def test_rubbish_is_no_matter(folder: Path) -> None:
    async def story() -> None:
        async with a_process(folder) as (kubelet, pid):
            before, path = memory(pid), the_socket(folder)
            for data in rubbish():
                await asyncio.to_thread(throw, path, data)
            assert memory(pid) - before < 16 * MIB
            await is_served(kubelet)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "data", "status"),
    [
        ("Allocate", b"\x0a\xff\xff\xff\xff\x0f", grpc.StatusCode.UNKNOWN),
        ("Allocate", bytes(2 << 20), grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("Explode", b"", grpc.StatusCode.UNIMPLEMENTED),
    ],
    ids=["no message", "two MiB", "no method"],
)
def test_a_call_that_cannot_be_is_refused_and_no_more(folder: Path, method: str, data: bytes, status: grpc.StatusCode) -> None:
    async def story() -> grpc.StatusCode:
        async with a_node(folder, an_offer()) as node:
            call: Any = node.kubelet.endpoints[CHIP].channel.unary_unary(f"{PLUGIN}/{method}")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(data)
            await node.kubelet.allocate(CHIP, ["a::0"])
            return refused.value.code()

    assert asyncio.run(story()) == status


async def a_watcher(channel: grpc.aio.Channel) -> Any:
    """A stranger's stream; None: there is no room for it."""
    method: Any = channel.unary_stream(f"{PLUGIN}/ListAndWatch", response_deserializer=api.reads("ListAndWatchResponse"))
    stream = method(b"")
    try:
        assert len((await asyncio.wait_for(stream.read(), 5)).devices) == 6
    except grpc.aio.AioRpcError as error:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        return None
    return stream


def test_others_may_watch_and_go_and_the_kubelet_is_not_disturbed(folder: Path) -> None:
    async def story() -> None:
        async with a_node(folder, an_offer()) as node:
            async with grpc.aio.insecure_channel(f"unix://{the_socket(folder)}", options=LOCAL) as channel:
                crowd = [await a_watcher(channel) for _ in range(STREAMS - 1)]
                assert await a_watcher(channel) is None
                for one in crowd:
                    one.cancel()
                async with asyncio.timeout(10):
                    while await a_watcher(channel) is None:  # until it is noticed that they are gone
                        pass
            node.offers.put(an_offer(sick=1))
            await node.kubelet.until(lambda: len(node.kubelet.healthy(CHIP)) == 3)
            assert (len(node.kubelet.registrations), node.ours.standings[CHIP].registered) == (1, True)

    asyncio.run(story())


# --- In the kubelet's place. ------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_stranger(folder: Path, answer: bytes | None) -> AsyncIterator[list[bytes]]:
    """Who listens as kubelet.sock, and says that to whoever comes; None: nothing, ever. Gives what was heard."""
    heard: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        heard.append(await reader.read(65536))
        if answer is not None:
            writer.write(answer)
            writer.close()

    server = await asyncio.start_unix_server(listen, folder / "kubelet.sock")
    try:
        yield heard
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@pytest.mark.parametrize("answer", [None, b"", b"\0" * 65536, SETTINGS, b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_stranger_in_the_kubelets_place_holds_nobody_up(folder: Path, answer: bytes | None) -> None:
    async def story() -> None:
        patience = evolve(QUICK, answer=3600)  # an answer that never comes is not what ends the wait
        async with a_node(folder, patience=patience, started=False) as node, a_stranger(folder, answer) as heard:
            node.offers.put(an_offer())
            await eventually(lambda: heard)
            await node.kubelet.start()
            await node.kubelet.until(lambda: node.kubelet.healthy(CHIP))
            await node.kubelet.allocate(CHIP, ["a::0"])

    asyncio.run(story())


def test_a_kubelet_that_never_answers_is_given_up_and_asked_again(folder: Path) -> None:
    async def story() -> str:
        patience = evolve(QUICK, answer=0.2)
        async with a_node(folder, patience=patience, started=False) as node, a_stranger(folder, None) as heard:
            node.offers.put(an_offer())
            await eventually(lambda: len(heard) >= 3)
            assert len(node.sockets()) <= 1
            return node.ours.standings[CHIP].failure

    assert asyncio.run(story()).startswith("the kubelet did not take it: ")
