"""Servers: what is too much or too slow is refused in bounded time and memory, and what has begun is finished."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from hami_core.errors import UserError
from hami_core.serving.exchange import Answer, Routes
from hami_core.serving.protocol import Limits
from hami_core.serving.server import Address, Server
from tests.serving.running import HOST, running

SHORT = Limits(headers=0.3, request=0.6, exchange=1.0, idle=1, connections=8)
POST = b"POST / HTTP/1.1\r\nhost: x\r\n"
PART, PARTS = bytes(range(256)) * 1024, 64


async def size(body: bytes) -> Answer:
    """How much came."""
    return Answer(json.dumps({"size": len(body)}).encode())


async def fault(body: bytes) -> Answer:
    """A fault of ours."""
    raise ZeroDivisionError(body)


async def large(body: bytes) -> Answer:
    """More than the system takes at once, in parts."""
    return Answer([PART] * PARTS)


def app(largest: int = 1 << 20, together: int = 64 << 20) -> Routes:
    return Routes({"/": {"POST": size}, "/fault": {"GET": fault}, "/large": {"GET": large, "HEAD": large}}, largest, together)


def connected(port: int) -> socket.socket:
    found = socket.create_connection((HOST, port), timeout=10)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def until_closed(connection: socket.socket) -> bytes:
    """What it says before the end; a reset is an end, too."""
    got = b""
    try:
        while part := connection.recv(65536):
            got += part
    except ConnectionError:
        pass
    return got


def exchange(port: int, request: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to raw bytes, after which the server hangs up."""
    with closing(connected(port)) as connection:
        connection.sendall(request)
        head, _, body = until_closed(connection).partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/nothing", 404, "there is nothing here; there are /, /fault, /large"),
        ("GET", "/", 405, "this is asked by POST"),
        ("GET", "/fault", 500, "a fault in hami; its log has the place"),
    ],
)
def test_an_error_is_a_sentence_in_json(method: str, path: str, status: int, sentence: str) -> None:
    with running(app()) as server, closing(http.client.HTTPConnection(HOST, server.port, timeout=10)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()

        assert (answer.status, json.loads(answer.read())) == (status, {"error": sentence})


def test_an_answer_in_parts_is_one_body_of_a_known_length_and_the_connection_goes_on() -> None:
    with running(app()) as server, closing(http.client.HTTPConnection(HOST, server.port, timeout=10)) as connection:
        found = []
        for method in ("GET", "HEAD", "GET"):
            connection.request(method, "/large")
            answer = connection.getresponse()
            found.append((answer.status, answer.getheader("content-length"), answer.read()))

    length = str(len(PART) * PARTS)
    assert found == [(200, length, PART * PARTS), (200, length, b""), (200, length, PART * PARTS)]


def test_who_takes_a_large_answer_slowly_holds_up_nobody() -> None:
    with running(app(), limits=Limits()) as server, closing(connected(server.port)) as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        begun = slow.recv(15)
        status, _ = exchange(server.port, POST + b"content-length: 0\r\nconnection: close\r\n\r\n")
        slow.sendall(b"GET /fault HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        rest = until_closed(slow)

    _, _, body = (begun + rest).partition(b"\r\n\r\n")
    assert (status, body[: len(PART) * PARTS] == PART * PARTS, body[len(PART) * PARTS :][:12]) == (200, True, b"HTTP/1.1 500")


def test_a_body_that_says_it_is_too_long_is_refused_before_it_comes() -> None:
    with running(app(largest=1000)) as server:
        status, body = exchange(server.port, POST + b"content-length: 100000000000\r\n\r\n")

    assert (status, json.loads(body)) == (413, {"error": "a body has at most 1000 bytes"})


def test_a_body_without_end_is_refused_when_it_gets_too_long() -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with running(app(largest=1 << 20)) as server, closing(connected(server.port)) as connection:
        connection.sendall(POST + b"transfer-encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 64 << 20:
                connection.sendall(chunk)
                sent += len(chunk)
        except ConnectionError:
            pass
        until_closed(connection)

    assert sent < 16 << 20  # what is in the kernel's buffers


def test_bodies_that_are_too_much_together_wait_outside() -> None:
    with running(app(together=150_000), limits=Limits()) as server, closing(connected(server.port)) as first:
        first.sendall(POST + b"content-length: 100000\r\n\r\n" + bytes(90_000))
        until(lambda: exchange(server.port, POST + b"content-length: 100000\r\nconnection: close\r\n\r\n")[0] == 503)
        first.sendall(bytes(10_000))
        assert b"200" in first.recv(1000)

        status, body = exchange(server.port, POST + b"content-length: 100000\r\nconnection: close\r\n\r\n" + bytes(100_000))

    assert (status, json.loads(body)) == (200, {"size": 100_000})


def until(holds: object) -> None:
    """Wait for a condition, ten seconds at most."""
    assert callable(holds)
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("begin", "drip", "status"),
    [
        (b"", b"", 0),
        (POST, b"x", 408),
        (POST + b"content-length: 100\r\n\r\n", b"x", 408),
        (POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 408),
    ],
    ids=["nothing", "headers", "body", "chunks"],
)
def test_a_client_that_takes_too_long_is_cut_off(begin: bytes, drip: bytes, status: int) -> None:
    with running(app(), limits=SHORT) as server, closing(connected(server.port)) as connection:
        start = time.monotonic()
        connection.sendall(begin)
        stop = threading.Event()

        def dripping() -> None:
            while drip and not stop.wait(0.05):
                try:
                    connection.sendall(drip)
                except OSError:
                    return

        thread = threading.Thread(target=dripping)
        thread.start()
        said = until_closed(connection)
        stop.set()
        thread.join()

        assert time.monotonic() - start < 5
        assert (int(said.split()[1]) if said else 0) == status
        until(lambda: server.server.connections == 0)


def test_a_client_that_takes_no_answer_is_cut_off() -> None:
    async def much(body: bytes) -> Answer:
        return Answer(bytes(64 << 20) + body)

    with running(Routes({"/": {"POST": much}}), limits=SHORT) as server, closing(connected(server.port)) as connection:
        connection.sendall(POST + b"content-length: 0\r\n\r\n")

        until(lambda: server.server.connections == 1)
        until(lambda: server.server.connections == 0)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),
        (b"GET\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n", 400),
        (POST + b"x: " + b"a" * (1 << 20), 431),
        (b"GET /" + b"a" * (1 << 20), 431),
        (POST + b"".join(b"x%d: y\r\n" % n for n in range(100_000)), 431),
    ],
    ids=["tls", "no http", "negative", "two lengths", "no chunk", "long header", "long path", "many headers"],
)
def test_garbage_is_refused(request_: bytes, status: int) -> None:
    with running(app(), limits=Limits()) as server, closing(connected(server.port)) as connection:
        with suppress(ConnectionError):
            connection.sendall(request_)
        said = until_closed(connection)

        assert said == b"" or int(said.split()[1]) == status
        until(lambda: server.server.connections == 0)
        assert exchange(server.port, POST + b"content-length: 2\r\nconnection: close\r\n\r\nok") == (200, b'{"size": 2}')


@pytest.mark.parametrize("seed", range(20))
def test_noise_ends_and_harms_nobody(seed: int) -> None:
    import random

    noise = random.Random(seed)
    with running(app(), limits=SHORT) as server:
        for _ in range(10):
            exchange_noise(server.port, noise.choice([b"", POST, POST + b"content-length: 9\r\n\r\n"]) + noise.randbytes(500))

        assert exchange(server.port, POST + b"content-length: 2\r\nconnection: close\r\n\r\nok")[0] == 200


def exchange_noise(port: int, noise: bytes) -> None:
    with closing(connected(port)) as connection:
        try:
            connection.sendall(noise)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return
        until_closed(connection)


def test_more_connections_than_allowed_are_closed_and_the_others_served() -> None:
    with running(app(), limits=Limits(connections=8)) as server:
        kept = [connected(server.port) for _ in range(8)]
        for connection in kept:
            connection.sendall(POST + b"content-length: 1\r\n\r\nx")
            assert b"200" in connection.recv(1000)

        with closing(connected(server.port)) as ninth:
            assert until_closed(ninth) == b""
        for connection in kept:
            connection.sendall(POST + b"content-length: 1\r\n\r\nx")
            assert b"200" in connection.recv(1000)
            connection.close()


def test_who_keeps_silent_keeps_nobody_out() -> None:
    with running(app(), limits=Limits(connections=8, headers=60)) as server:
        silent = [connected(server.port) for _ in range(20)]
        kept = connected(server.port)
        for _ in range(20):
            kept.sendall(POST + b"content-length: 1\r\n\r\nx")
            assert b"200" in kept.recv(1000)
            silent += [connected(server.port) for _ in range(2)]

        for connection in (kept, *silent):
            connection.close()


def test_pipelined_requests_are_answered_in_their_order() -> None:
    requests = b"".join(POST + b"content-length: %d\r\n\r\n" % n + bytes(n) for n in range(20))
    with running(app(), limits=SHORT) as server:
        _, answers = exchange(server.port, requests + POST + b"content-length: 0\r\nconnection: close\r\n\r\n")

    sizes = [json.loads(line)["size"] for line in answers.replace(b"}HTTP", b"}\nHTTP").split(b"\n") if line.startswith(b"{")]
    assert sizes == [*range(20), 0]


def test_what_has_begun_is_finished_before_the_end() -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def slow(body: bytes) -> Answer:
        begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        return Answer(body)

    with running(Routes({"/": {"POST": slow}})) as server:
        idle, working, halfway = (connected(server.port) for _ in range(3))
        idle.sendall(POST + b"content-length: 0\r\n\r\n")
        begun.wait(10)
        go_on.set()
        assert b"200" in idle.recv(1000)
        begun.clear()
        go_on.clear()
        working.sendall(POST + b"content-length: 2\r\n\r\nok")
        halfway.sendall(POST)
        assert begun.wait(10)
        time_to_stop = threading.Thread(target=server.call, args=(lambda: server.server.stop(5),))
        time_to_stop.start()
        assert until_closed(idle) == b""
        go_on.set()
        halfway.sendall(b"content-length: 2\r\n\r\nok")

        for connection in (working, halfway):
            said = until_closed(connection)
            assert said.startswith(b"HTTP/1.1 200")
            assert said.endswith(b"ok")
        time_to_stop.join()
        for connection in (idle, working, halfway):
            connection.close()


def test_what_is_not_done_in_time_is_cut_off_at_the_end() -> None:
    begun = threading.Event()

    async def endless(body: bytes) -> Answer:
        begun.set()
        await asyncio.Event().wait()
        return Answer(body)

    with running(Routes({"/": {"POST": endless}})) as server, closing(connected(server.port)) as connection:
        connection.sendall(POST + b"content-length: 0\r\n\r\n")
        assert begun.wait(10)

        server.call(lambda: server.server.stop(0.1))

        assert until_closed(connection) == b""


def test_two_servers_of_one_process_and_a_port_that_is_taken() -> None:
    with running(app()) as one, running(app()) as other:
        assert one.port != other.port

        async def third() -> None:
            await Server(app(), Address(HOST, one.port)).start()

        with pytest.raises(UserError, match=f"cannot listen on {HOST}:{one.port}: Address already in use"):
            one.call(third)


def test_all_addresses_are_one_port() -> None:
    async def start() -> None:
        server = Server(app(), Address.parse(":0"))
        address = await server.start()
        assert await asyncio.to_thread(exchange, address.port, POST + b"content-length: 0\r\nconnection: close\r\n\r\n")
        await server.stop(1)

    asyncio.run(start())


def test_a_storm_of_slow_clients_takes_no_memory_to_speak_of() -> None:
    with running(app(largest=8 << 20, together=4 << 20), limits=Limits(headers=1, request=2)) as server:
        before = resident()
        clients = [connected(server.port) for _ in range(200)]
        for client in clients:
            client.sendall(POST + b"content-length: 4000000\r\n\r\n" + bytes(10_000))
        until(lambda: server.server.connections <= 200)

        assert resident() - before < 40 << 20
        for client in clients:
            client.close()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
