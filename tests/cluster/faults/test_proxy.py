"""The proxy itself, before a scripted API server: what each fault does to a client, and what the server has done by then."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import urllib3
from attrs import define, field

from tests.cluster.faults.mischief import (
    ClosedWatch,
    Delay,
    Drip,
    HalfAnswer,
    Hold,
    Instead,
    LateAnswer,
    LostAnswer,
    LostRequest,
)
from tests.cluster.faults.proxy import Proxy, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROKEN = (urllib3.exceptions.HTTPError, OSError)


@define
class Server:
    """Answers every POST with what it has done so far, and a watch with an event for every one of them."""

    done: list[str] = field(factory=list)
    changed: threading.Condition = field(factory=threading.Condition)
    ended: bool = False
    certificates: list[Any] = field(factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        with self.state.changed:
            self.state.done.append(body)
            self.state.certificates.append(self.connection.getpeercert())  # type: ignore[attr-defined, unused-ignore]
            self.state.changed.notify_all()
        self._answer(json.dumps({"done": self.state.done, "token": self.headers["authorization"]}).encode())

    def do_GET(self) -> None:
        if "watch=1" in self.path:
            self._watch()
        else:
            self._answer(b"x" * 300)

    def _watch(self) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        told = 0
        while (news := self._news(told)) is not None:
            told += len(news)
            self.wfile.write(b"".join(b"%x\r\n%s\n\r\n" % (len(one) + 1, one.encode()) for one in news))

    def _news(self, told: int) -> list[str] | None:
        with self.state.changed:
            self.state.changed.wait_for(lambda: len(self.state.done) > told or self.state.ended)
            return None if self.state.ended else self.state.done[told:]

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@define
class Place:
    """A server, the proxy before it, and a client of the proxy."""

    server: Server
    proxy: Proxy
    client: urllib3.PoolManager

    def post(self, word: str, path: str = "/pods/a/binding") -> urllib3.BaseHTTPResponse:
        return self.client.request(
            "POST", self.proxy.url + path, body=word, headers={"authorization": "Bearer one"}, retries=False, timeout=5
        )

    def watch(self) -> urllib3.BaseHTTPResponse:
        return self.client.request("GET", f"{self.proxy.url}/pods?watch=1", preload_content=False, retries=False, timeout=1)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """With a client certificate that the proxy holds."""
    authority, server = trustme.CA(), Server()
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    ours = authority.issue_cert("x@y.z", common_name="system:client")
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client"))
    real = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": server}))
    real.socket = context.wrap_socket(real.socket, server_side=True)
    thread = threading.Thread(target=real.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    upstream = Upstream(f"https://127.0.0.1:{real.server_port}", tmp_path / "ca", tmp_path / "client", tmp_path / "client")
    with Proxy(upstream, seed=1) as proxy, urllib3.PoolManager(ssl_context=trusting(proxy)) as client:
        yield Place(server, proxy, client)
        with server.changed:
            server.ended = True
            server.changed.notify_all()
    real.shutdown()
    real.server_close()
    thread.join()


def trusting(proxy: Proxy) -> ssl.SSLContext:
    config = json.loads(proxy.kubeconfig("one"))
    ca = config["clusters"][0]["cluster"]["certificate-authority-data"]
    return ssl.create_default_context(cadata=base64.b64decode(ca).decode())


def test_what_is_not_to_go_wrong_passes_with_its_token_and_the_proxys_certificate(place: Place) -> None:
    answer = place.post("one")

    subject = dict(pair[0] for pair in place.server.certificates[0]["subject"])
    assert (answer.json(), subject["commonName"]) == ({"done": ["one"], "token": "Bearer one"}, "system:client")


def test_many_requests_share_a_connection(place: Place) -> None:
    answers = [place.post(str(n)).status for n in range(20)]

    assert (answers, len(place.proxy.exchanges)) == ([200] * 20, 20)


def test_a_lost_request_is_not_done(place: Place) -> None:
    place.proxy.when("POST", "/binding$", LostRequest())

    with pytest.raises(BROKEN):
        place.post("one")

    assert place.server.done == []


def test_what_was_asked_is_done_though_its_answer_is_lost(place: Place) -> None:
    place.proxy.when("POST", "/binding$", LostAnswer())

    with pytest.raises(BROKEN):
        place.post("one")

    assert place.server.done == ["one"]


def test_an_answer_breaks_in_its_middle(place: Place) -> None:
    place.proxy.when("GET", "/nodes", HalfAnswer())

    answer = place.client.request("GET", f"{place.proxy.url}/nodes", preload_content=False, retries=False)

    with pytest.raises(BROKEN):
        answer.read()


@pytest.mark.parametrize("status", [409, 410, 429, 500, 503])
def test_another_answer_is_given_instead(place: Place, status: int) -> None:
    place.proxy.when("POST", "/binding$", Instead(status, retry_after=2))

    answer = place.post("one")

    assert (answer.status, answer.headers["retry-after"], answer.json()["code"], place.server.done) == (status, "2", status, [])


def test_only_the_second_match_is_hit(place: Place) -> None:
    place.proxy.when("POST", "/binding$", Instead(500), skip=1, times=1)

    statuses = [
        place.post("one").status,
        place.post("two", "/other").status,
        place.post("three").status,
        place.post("4").status,
    ]

    assert statuses == [200, 200, 500, 200]


def test_chance_is_decided_by_the_seed(place: Place) -> None:
    place.proxy.when("POST", "/binding$", Instead(503), chance=0.5)

    statuses = [place.post("one").status for _ in range(40)]

    assert (set(statuses), 10 < statuses.count(503) < 30) == ({200, 503}, True)


def test_a_delayed_request_is_done_late_and_a_late_answer_is_done_early(place: Place) -> None:
    place.proxy.when("POST", "/slow$", Delay(0.2))
    place.proxy.when("POST", "/late$", LateAnswer(0.2))

    begun = time.monotonic()
    place.post("one", "/slow")
    place.post("two", "/late")

    assert time.monotonic() - begun >= 0.4


def test_bytes_drip(place: Place) -> None:
    place.proxy.when("GET", "/nodes", Drip(0.001))

    begun = time.monotonic()
    answer = place.client.request("GET", f"{place.proxy.url}/nodes")

    assert (len(answer.data), time.monotonic() - begun >= 0.3) == (300, True)


def test_a_held_request_is_done_after_it_is_let_go_though_its_client_has_gone(place: Place) -> None:
    hold = Hold()
    place.proxy.when("POST", "/binding$", hold)
    with pytest.raises(BROKEN):
        place.client.request("POST", f"{place.proxy.url}/binding", body="one", retries=False, timeout=0.2)
    before = list(place.server.done)

    hold.let_go()

    with place.server.changed:
        assert place.server.changed.wait_for(lambda: place.server.done == ["one"], 5)
    assert (hold.arrived.is_set(), before) == (True, [])


def test_a_request_is_held_after_it_was_done(place: Place) -> None:
    hold = Hold(carried_out=True)
    place.proxy.when("POST", "/binding$", hold)
    caller = threading.Thread(target=place.post, args=("one",))
    caller.start()

    assert hold.arrived.wait(5)
    done = list(place.server.done)
    hold.let_go()
    caller.join(5)

    assert (done, caller.is_alive()) == (["one"], False)


def test_a_watch_is_passed_on_as_it_comes_and_ends_properly_when_it_is_closed(place: Place) -> None:
    lines = place.watch().stream(decode_content=False)
    place.post("one")
    first = next(lines)

    place.proxy.close_watches()

    assert (first, list(lines)) == (b"one\n", [])


def test_a_watch_ends_after_its_time(place: Place) -> None:
    place.proxy.when("GET", "watch=1", ClosedWatch(0.1))

    assert list(place.watch().stream()) == []


def test_a_frozen_watch_says_nothing_and_goes_on_later(place: Place) -> None:
    place.proxy.freeze_watches()
    watch = place.watch()
    place.post("one")
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        next(watch.stream())

    other = place.watch().stream()
    place.proxy.calm()

    assert next(other) == b"one\n"


def test_cut_connections_break_a_watch_and_the_next_request_passes(place: Place) -> None:
    place.post("one")
    watch = place.watch().stream()
    first = next(watch)

    place.proxy.cut_connections()

    with pytest.raises(BROKEN):
        next(watch)
    assert (first, place.client.request("GET", f"{place.proxy.url}/nodes", retries=3).status) == (b"one\n", 200)


def test_while_gone_connections_are_refused_and_then_taken_on_the_same_port(place: Place) -> None:
    url = place.proxy.url
    with place.proxy.gone(), pytest.raises(BROKEN, match="refused"):
        place.post("one")

    assert (place.post("two").status, place.proxy.url, place.server.done) == (200, url, ["two"])


def test_a_server_that_is_gone_is_a_broken_connection(place: Place) -> None:
    with Proxy(Upstream("https://127.0.0.1:1", place.proxy.upstream.ca)) as proxy:
        client = urllib3.PoolManager(ssl_context=trusting(proxy))

        with pytest.raises(BROKEN), client:
            client.request("GET", f"{proxy.url}/nodes", retries=False)


def test_connections_that_are_cut_at_any_moment_leave_nothing_open(place: Place) -> None:
    """Warnings are errors: what is not closed is seen when it is collected."""
    stop = threading.Event()
    place.proxy.when("GET", "/nodes", Drip(0.0005), chance=0.5)

    def ask() -> None:
        while not stop.is_set():
            with contextlib.suppress(*BROKEN), urllib3.PoolManager(ssl_context=trusting(place.proxy)) as client:
                client.request("GET", f"{place.proxy.url}/nodes", retries=False, timeout=5)

    askers = [threading.Thread(target=ask) for _ in range(12)]
    for asker in askers:
        asker.start()
    for _ in range(40):
        place.proxy.cut_connections()
    with place.proxy.gone():
        pass
    stop.set()
    for asker in askers:
        asker.join(10)

    assert place.client.request("GET", f"{place.proxy.url}/nodes", retries=3).status == 200
