"""The whole process without a cluster: who gets in, what is told meanwhile, how it ends."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from hami_core.errors import SettingsError
from hami_core.kube.errors import Unavailable
from hami_core.kube.events import Events
from hami_core.kube.objects import Meta, Pod
from hami_scheduler import daemon
from hami_scheduler.daemon import DEPTH
from tests.scheduler.daemons import at, configuration
from tests.scheduler.test_leadership import a_lease

if TYPE_CHECKING:
    from pathlib import Path

    from hami_scheduler.daemon import Running


async def asked(running: Running, path: str, context: ssl.SSLContext | None = None, info: bool = False) -> tuple[int, Any]:
    server = running.info if info else running.extender
    hello = "localhost" if context else None
    reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port, ssl=context, server_hostname=hello)
    method, body = ("GET", b"") if info else ("POST", b'{"Pod":{},"NodeNames":[]}')
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    first, _, rest = answer.partition(b"\r\n\r\n")
    return int(first.split()[1]), rest


def test_a_process_whose_api_server_is_gone_is_alive_and_not_ready_and_says_why() -> None:
    async def act(running: Running) -> tuple[Any, Any]:
        async with asyncio.timeout(5):
            while not running.lease.health()[0].failure:
                await asyncio.sleep(0.01)
        return await asked(running, "/healthz", info=True), await asked(running, "/readyz", info=True)

    (alive, _), (ready, body) = at({}, act)

    assert (alive, ready) == (200, 503)
    assert json.loads(body)["watches"]["lease"]["failure"] == "API server: gone"


def test_a_process_whose_word_does_not_get_on_the_lease_says_why() -> None:
    async def act(running: Running) -> Any:
        running.follower.lease_listed([a_lease(word="")])
        async with asyncio.timeout(5):
            while not running.follower.failure:
                await asyncio.sleep(0.01)
        return await asked(running, "/readyz", info=True)

    ready, body = at({"scheduler.identity": "gpu-1"}, act)

    assert (ready, json.loads(body)["phase"], json.loads(body)["failure"]) == (503, "claiming", "API server: gone")


def test_a_process_that_is_superseded_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def act(running: Running) -> Any:
        running.follower.lease_listed([a_lease(word="")])
        running.follower.lease_changed([("MODIFIED", a_lease(word=running.follower.state.word))])
        running.lists.complete = True
        running.follower.lease_changed([("MODIFIED", a_lease(word="another"))])
        return await asked(running, "/readyz", info=True)

    ready, body = at({"scheduler.identity": "gpu-1"}, act)

    assert (ready, json.loads(body)["phase"]) == (503, "superseded")
    assert [one.levelname for one in caplog.records if one.message.startswith("superseded: another extender")] == ["WARNING"]


def test_two_processes_have_two_words() -> None:
    async def act(running: Running) -> str:
        return running.follower.state.process

    assert at({}, act) != at({}, act)


def test_metrics_are_there_from_the_first_moment() -> None:
    async def act(running: Running) -> Any:
        return await asked(running, "/metrics", info=True)

    status, page = at({}, act)

    assert (status, b"hami_build_info{version=" in page, b"hami_scheduler_leading 0.0" in page) == (200, True, True)


def test_with_mtls_only_who_has_a_certificate_of_that_authority_gets_in(tmp_path: Path) -> None:
    server_ca, client_ca, other_ca = trustme.CA(), trustme.CA(), trustme.CA()
    own = server_ca.issue_cert("localhost")
    own.private_key_pem.write_to_path(tmp_path / "tls.key")
    own.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    client_ca.cert_pem.write_to_path(tmp_path / "clients.crt")
    extender = "scheduler.extender"
    values = {
        f"{extender}.auth": "mtls",
        f"{extender}.certFile": str(tmp_path / "tls.crt"),
        f"{extender}.keyFile": str(tmp_path / "tls.key"),
        f"{extender}.clientCAFile": str(tmp_path / "clients.crt"),
    }

    def client(authority: trustme.CA | None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        server_ca.configure_trust(context)
        if authority is not None:
            authority.issue_cert("kube-scheduler").configure_cert(context)
        return context

    async def act(running: Running) -> int:
        for authority in (None, other_ca):
            with pytest.raises((ssl.SSLError, ConnectionError, IndexError)):
                await asked(running, "/prioritize", client(authority))
        return (await asked(running, "/prioritize", client(client_ca)))[0]

    assert at(values, act) == 503  # let in, and not leading


def test_an_authentication_without_its_files_does_not_start() -> None:
    with pytest.raises(SettingsError, match="certFile"):
        at({"scheduler.extender.auth": "mtls"}, lambda _: asyncio.sleep(0))
    with pytest.raises(SettingsError, match="tokenFile"):
        configuration({"scheduler.extender.auth": "token"})


def test_an_object_as_deep_as_the_api_server_takes_hides_no_other() -> None:
    """managedFields are their author's; what is skipped is walked through all the same."""
    deep = b'{"f:a":' * 9_500 + b"{}" + b"}" * 9_500  # it takes 10,000; the test runner stands on the same stack
    pod = b'{"metadata":{"name":"a","managedFields":[{"fieldsV1":' + deep + b"}]}}"
    line = b'{"type":"ADDED","object":' + pod + b"}"

    if sys.version_info < (3, 12):  # which counts the depth of C by itself, and lets it be as deep
        assert isinstance(Events(Pod).decode([line]).failure, Unavailable)
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(DEPTH)
    try:
        changes = Events(Pod).decode([line]).changes
    finally:
        sys.setrecursionlimit(usual)
    assert changes == [("ADDED", Pod(Meta(name="a")))]


def test_what_runs_beside_and_dies_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "TICK", 0.01)

    async def act(running: Running) -> BaseException | None:
        monkeypatch.setattr(running.cluster, "expire", lambda: 1 / 0)
        async with asyncio.timeout(5):
            while running.fault is None:
                await asyncio.sleep(0.01)
        return running.fault

    assert isinstance(at({}, act), ZeroDivisionError)
