"""Requests to servers that misbehave: each ends in time, in an answer or an error of ours."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from kubernetes.config import incluster_config

from hami_core.errors import UserError
from hami_core.kube import connection as module
from hami_core.kube import transport
from hami_core.kube.connection import connect
from hami_core.kube.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    Refused,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from tests.kube.scripted import END, a_status, chunk, head, kubeconfig, refuses, says, serving, then, watches, whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_core.kube.connection import Connection
    from tests.kube.scripted import Request, Wire


def test_a_body_is_given_as_it_came(tmp_path: Path) -> None:
    with serving(tmp_path, says({"a": 1})) as (server, connection):
        answer = connection.request("PATCH", "/x", b"{}", query={"k": "a b&c"}, content_type="text/special")

    (request,) = server.requests
    assert answer == b'{"a": 1}'
    assert (request.method, request.path, request.query, request.body) == ("PATCH", "/x", {"k": "a b&c"}, b"{}")
    assert request.headers["content-type"] == "text/special"
    assert request.headers["user-agent"].startswith("hami/")


def test_a_connection_is_kept_for_the_next_request(tmp_path: Path) -> None:
    with serving(tmp_path, says({}), lambda _, wire: wire.send(watches(b"{}") + END), says({})) as (server, connection):
        for _ in range(4):
            connection.request("GET", "/x")

    assert server.connections == 1


def test_an_answer_that_comes_byte_by_byte_is_read(tmp_path: Path) -> None:
    with serving(tmp_path, lambda _, wire: wire.dribble(whole({"a": 1}), 0.001)) as (_, connection):
        assert connection.request("GET", "/x") == b'{"a": 1}'


@pytest.mark.parametrize("sent", [b"", head(Content_Length="200"), head(Transfer_Encoding="chunked")])
def test_a_server_that_dribbles_is_left_at_the_deadline(tmp_path: Path, sent: bytes) -> None:
    def act(_: Request, wire: Wire) -> None:
        wire.send(sent)
        wire.dribble(b"1" * 200, 0.05)

    with serving(tmp_path, act) as (_, connection):
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            connection.request("GET", "/x", timeout=0.3)
        took = time.monotonic() - begun

    assert 0.2 < took < 2


def test_the_deadline_of_one_request_is_not_the_next_ones(tmp_path: Path) -> None:
    def late(_: Request, wire: Wire) -> None:
        wire.closing.wait(0.25)
        wire.send(whole({}))

    with serving(tmp_path, late) as (server, connection):
        for timeout in (0.3, 5.0):
            connection.request("POST", "/x", b"1" * 1000, timeout=timeout)

    assert server.connections == 1


BROKEN = {
    "a reset": then(b"", "reset"),
    "no answer": then(b"", "close"),
    "half a head": then(b"HTTP/1.1 200", "close"),
    "a head without its length": then(b"HTTP/1.1 200 OK\r\nContent-Le", "close"),
    "half a body": then(head(Content_Length="9") + b"123", "close"),
    "half a chunk": then(head(Transfer_Encoding="chunked") + b"9\r\n123", "close"),
    "no last chunk": then(watches(b"123"), "close"),
    "another protocol": then(b"SSH-2.0-OpenSSH_9.2\r\n", "close"),
    "silence": then(b"", "hang"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_write_without_an_answer_may_have_happened_and_is_sent_once(tmp_path: Path, fault: str) -> None:
    with serving(tmp_path, BROKEN[fault]) as (server, connection), pytest.raises(Unavailable) as caught:
        connection.request("POST", "/x", b"{}", timeout=0.5)

    assert (caught.value.unknown, len(server.requests)) == (True, 1)


@pytest.mark.parametrize("fault", BROKEN)
def test_a_read_without_an_answer_has_changed_nothing(tmp_path: Path, fault: str) -> None:
    with serving(tmp_path, BROKEN[fault]) as (_, connection), pytest.raises(Unavailable) as caught:
        connection.request("GET", "/x", timeout=0.5)

    assert caught.value.unknown is False


def test_a_write_that_reached_nobody_has_not_happened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(Unavailable) as caught:
        connect(kubeconfig(tmp_path, port)).request("POST", "/x", b"{}")

    assert caught.value.unknown is False


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Invalid),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (405, Invalid),
        (409, Conflict),
        (410, Gone),
        (413, Invalid),
        (422, Invalid),
        (429, TooManyRequests),
    ],
)
def test_a_refusal_is_an_error_of_its_kind(tmp_path: Path, code: int, kind: type[Refused]) -> None:
    with serving(tmp_path, refuses(code, "Because", "of this")) as (_, connection), pytest.raises(Refused) as caught:
        connection.request("POST", "/x", b"{}")

    error = caught.value
    assert (type(error), error.status, error.reason, error.message) == (kind, code, "Because", "of this")


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_after_5xx_a_write_may_have_happened(tmp_path: Path, code: int) -> None:
    with serving(tmp_path, refuses(code, "InternalError", "etcdserver: request timed out")) as (_, connection):
        with pytest.raises(Unavailable, match="etcdserver") as write:
            connection.request("POST", "/x", b"{}")
        with pytest.raises(Unavailable) as read:
            connection.request("GET", "/x")

    assert (write.value.unknown, read.value.unknown) == (True, False)


@pytest.mark.parametrize(
    ("act", "seconds"),
    [
        (refuses(429, Retry_After="7"), 7),
        (says(a_status(429, details={"retryAfterSeconds": 3}), 429), 3),
        (refuses(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), 0),
        (says(b"slow down", 429), 0),
    ],
    ids=["the header", "the status", "a date", "nothing"],
)
def test_how_long_to_wait_is_read(tmp_path: Path, act: Callable[[Request, Wire], None], seconds: float) -> None:
    with serving(tmp_path, act) as (_, connection), pytest.raises(TooManyRequests) as caught:
        connection.request("GET", "/x")

    assert caught.value.retry_after == seconds


def test_a_version_that_the_server_has_not_yet_means_to_list_again(tmp_path: Path) -> None:
    status = a_status(504, "Timeout", details={"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large"}]})

    with serving(tmp_path, says(status, 504)) as (_, connection), pytest.raises(Gone):
        connection.request("GET", "/x")


def test_of_a_proxys_page_the_beginning_is_told(tmp_path: Path) -> None:
    with serving(tmp_path, says(b"<html>" + b"x" * 5000, 403)) as (_, connection), pytest.raises(Forbidden) as caught:
        connection.request("GET", "/x")

    assert caught.value.message == "<html>" + "x" * 250


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with serving(tmp_path, says(b"", 302, Location="/elsewhere")) as (server, connection), pytest.raises(Unavailable):
        connection.request("GET", "/x")

    assert len(server.requests) == 1


def test_many_threads_share_a_connection(tmp_path: Path) -> None:
    def echo(request: Request, wire: Wire) -> None:
        wire.send(whole(request.body))

    with serving(tmp_path, echo) as (server, connection), ThreadPoolExecutor(8) as pool:
        bodies = [str(number).encode() for number in range(200)]
        answers = list(pool.map(lambda body: connection.request("POST", "/x", body), bodies))

    assert (answers, server.connections <= 8) == (bodies, True)


# ----------------------------------------------------------------------------------------------------------- streams


def test_a_stream_gives_all_that_has_arrived_at_once(tmp_path: Path) -> None:
    go = threading.Event()

    def act(_: Request, wire: Wire) -> None:
        wire.send(watches(b"first"))
        go.wait(10)
        wire.send(b"".join(chunk(b"%d " % number) for number in range(1000)) + END)

    with serving(tmp_path, act) as (_, connection):
        stream = connection.stream("/x", {"watch": "true"}, 5)
        first = next(stream)
        go.set()
        rest = [piece for piece in stream if piece]

    assert first == b"first"
    assert b"".join(rest) == b"".join(b"%d " % number for number in range(1000))
    assert len(rest) < 20


def test_what_comes_close_behind_in_a_stream_is_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paused, sent = threading.Event(), threading.Event()

    def act(_: Request, wire: Wire) -> None:
        wire.send(watches(b"first"))
        paused.wait(10)
        for part in (b"second ", b"third"):
            wire.send(chunk(part))
        wire.send(END)
        sent.set()

    def pause(seconds: float) -> None:
        assert seconds <= transport.GATHER
        paused.set()
        assert sent.wait(10)

    with serving(tmp_path, act) as (_, connection):
        monkeypatch.setattr(time, "sleep", pause)
        pieces = [piece for piece in connection.stream("/x", {}, 5) if piece]

    assert pieces == [b"first", b"second third"]


def test_a_stream_looks_up_while_nothing_comes(tmp_path: Path) -> None:
    with serving(tmp_path, then(watches(), "hang")) as (_, connection):
        assert next(connection.stream("/x", {}, 30)) == b""


@pytest.mark.parametrize("sent", [b"", watches(), watches(b"x")])
def test_a_stream_that_falls_silent_is_unavailable(tmp_path: Path, sent: bytes) -> None:
    with serving(tmp_path, then(sent, "hang")) as (_, connection), pytest.raises(Unavailable):
        list(connection.stream("/x", {}, 0.4))


@pytest.mark.parametrize("end", ["reset", "close"])
def test_a_stream_that_breaks_off_gives_first_what_had_come(tmp_path: Path, end: str) -> None:
    got, go = [], threading.Event()

    def act(_: Request, wire: Wire) -> None:
        wire.send(watches(b"one", b"two") + b"5\r\nth")
        go.wait(10)
        getattr(wire, end)()

    def follow(connection: Connection) -> None:
        for piece in connection.stream("/x", {}, 5):
            got.append(piece)
            if b"".join(got).endswith(b"th"):
                go.set()

    with serving(tmp_path, act) as (_, connection), pytest.raises(Unavailable):
        follow(connection)

    assert b"".join(got) == b"onetwoth"


def test_a_stream_without_chunks_ends_with_its_length(tmp_path: Path) -> None:
    with serving(tmp_path, says(b"abc")) as (_, connection):
        assert b"".join(connection.stream("/x", {}, 5)) == b"abc"


def test_a_stream_that_is_refused_says_why(tmp_path: Path) -> None:
    with serving(tmp_path, refuses(410, "Expired", "too old")) as (_, connection), pytest.raises(Gone, match="too old"):
        list(connection.stream("/x", {}, 5))


def test_what_is_no_chunked_coding_ends_a_stream(tmp_path: Path) -> None:
    with (
        serving(tmp_path, then(head(Transfer_Encoding="chunked") + b"zz\r\n", "hang")) as (_, connection),
        pytest.raises(Unavailable),
    ):
        list(connection.stream("/x", {}, 5))


def test_a_stream_over_tls_gathers_many_records(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    go = threading.Event()

    def act(_: Request, wire: Wire) -> None:
        wire.send(watches())
        go.wait(10)
        for number in range(1000):
            wire.send(chunk(b"%d " % number))
        wire.send(END)

    with serving(tmp_path, says({}), act, tls=context, ca=str(tmp_path / "ca.pem")) as (server, connection):
        assert connection.request("GET", "/x") == b"{}"
        stream = connection.stream("/x", {}, 5)
        next(stream)
        go.set()
        rest = b"".join(stream)

    assert (rest, server.connections) == (b"".join(b"%d " % number for number in range(1000)), 1)


def test_a_server_that_nobody_vouches_for_gets_no_write(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")

    trusted = str(tmp_path / "ca.pem")
    with serving(tmp_path, says({}), tls=context, ca=trusted) as (server, connection), pytest.raises(Unavailable) as failure:
        connection.request("POST", "/x", b"{}")

    assert "CERTIFICATE_VERIFY_FAILED" in str(failure.value)
    assert (failure.value.unknown, server.requests) == (False, [])


# ------------------------------------------------------------------------------------------------------- credentials


def by_token(token: str, scheme: str = "Bearer") -> Callable[[Request, Wire], None]:
    def act(request: Request, wire: Wire) -> None:
        good = request.headers.get("authorization") == f"{scheme} {token}"
        wire.send(whole({}) if good else whole(a_status(401, "Unauthorized"), 401))

    return act


def test_a_new_token_in_its_file_is_used_once_the_old_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWAL", 0.0)
    token = tmp_path / "token"
    token.write_text("old")

    with serving(tmp_path, by_token("old"), by_token("new")) as (server, _):
        connection = connect(kubeconfig(tmp_path, server.port, user={"tokenFile": str(token)}))
        connection.request("GET", "/x")
        token.write_text("new")
        with pytest.raises(Unauthorized):
            connection.request("GET", "/x")
        answer = connection.request("GET", "/x")
        connection.close()

    assert answer == b"{}"


def test_without_better_credentials_the_refused_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RENEWAL", 0.0)

    with serving(tmp_path, by_token("a"), by_token("b"), by_token("a")) as (server, _):
        path = kubeconfig(tmp_path, server.port, user={"token": "a"})
        connection = connect(path)
        connection.request("GET", "/x")
        path.unlink()
        with pytest.raises(Unauthorized):
            connection.request("GET", "/x")
        answer = connection.request("GET", "/x")
        connection.close()

    assert (answer, "the refused credentials stay" in caplog.text) == (b"{}", True)


def test_credentials_that_cannot_be_had_are_no_answer_and_no_write(tmp_path: Path) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("the token is lost")

    with serving(tmp_path, by_token("a")) as (server, _):
        connection = connect(kubeconfig(tmp_path, server.port, user={"token": "a"}))
        connection._client.configuration.refresh_api_key_hook = broken
        with pytest.raises(Unavailable, match="no credentials: the token is lost") as caught:
            connection.request("POST", "/x", b"{}")
        connection.close()

    assert (caught.value.unknown, server.requests) == (False, [])


def test_a_plugin_is_asked_for_the_token(tmp_path: Path) -> None:
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "made"}}
    plugin = {"apiVersion": credential["apiVersion"], "command": "echo", "args": [json.dumps(credential)]}

    with serving(tmp_path, by_token("made")) as (server, _):
        connection = connect(kubeconfig(tmp_path, server.port, user={"exec": plugin}))
        answer = connection.request("GET", "/x")
        connection.close()

    assert answer == b"{}"


def test_the_file_that_the_environment_names_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, says({})) as (_, _first):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        connection = connect()
        answer = connection.request("GET", "/x")
        connection.close()

    assert answer == b"{}"


def test_a_pod_of_a_cluster_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, token = trustme.CA(), tmp_path / "token"
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    token.write_text("made")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))

    with serving(tmp_path, by_token("made", "bearer"), tls=context) as (server, _):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
        connection = connect()
        answer = connection.request("GET", "/x")
        connection.close()

    assert answer == b"{}"


def test_without_any_configuration_it_is_said_what_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(UserError, match="no API server: there is no kubeconfig"):
        connect()


@pytest.mark.parametrize("text", ["", "- a", "{", "{clusters: []}", "a: b", "{current-context: x, contexts: [], clusters: []}"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(UserError, match=f"kubeconfig {path}: "):
        connect(path)


@pytest.mark.parametrize(("path", "context"), [("missing", None), ("kubeconfig", "nowhere")])
def test_a_missing_file_or_context_is_named(tmp_path: Path, path: str, context: Any) -> None:
    kubeconfig(tmp_path, 1)

    with pytest.raises(UserError, match=f"kubeconfig {tmp_path / path}: "):
        connect(tmp_path / path, context)


def test_every_failure_is_an_error_of_ours() -> None:
    assert issubclass(Unavailable, KubeError)
    assert issubclass(Refused, KubeError)
