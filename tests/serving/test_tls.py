"""Certificates that change while somebody is served: nothing is refused, nothing is dropped, a bad pair changes nothing."""

from __future__ import annotations

import http.client
import ssl
import threading
from typing import TYPE_CHECKING, Self

import pytest
import trustme
from attrs import evolve

from hami_core.serving.certificates import Pair
from hami_core.serving.exchange import Answer, Routes
from hami_core.serving.tls import BadPair, CertSwap, Files
from tests.serving.running import HOST, client_context, material, running

if TYPE_CHECKING:
    from pathlib import Path


async def hello(body: bytes) -> Answer:
    """Says it."""
    return Answer(b"hello " + body)


APP = Routes({"/": {"POST": hello}})


class Swapping:
    """Swaps certificates without end, on a thread, for as long as it is entered."""

    def __init__(self, tls: CertSwap, pairs: tuple[Pair, ...]) -> None:
        self._tls, self._pairs = tls, pairs
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._swap)
        self.number = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _swap(self) -> None:
        while not self._over.is_set():
            self._tls.swap(self._pairs[self.number % len(self._pairs)])
            self.number += 1


def test_nothing_is_refused_or_dropped_while_certificates_are_swapped_without_end() -> None:
    first = material()
    other = material(evolve(first, leaf=material().leaf))  # of the same authority
    tls = CertSwap(first.leaf)
    trusted = client_context(first.bundle)

    with running(APP, tls=tls) as server:
        kept = http.client.HTTPSConnection(HOST, server.port, context=trusted, timeout=10)
        kept.connect()
        socket, served = kept.sock, set()
        with Swapping(tls, (first.leaf, other.leaf)) as swapping:
            for number in range(300):
                fresh = http.client.HTTPSConnection(HOST, server.port, context=trusted, timeout=10)
                for connection in (fresh, kept):
                    connection.request("POST", "/", b"%d" % number)
                    assert connection.getresponse().read() == b"hello %d" % number
                served.add(fresh.sock.getpeercert(binary_form=True))
                fresh.close()

        assert kept.sock is socket
        kept.close()
    assert len(served) == 2
    assert swapping.number > 300


def test_a_bad_pair_changes_nothing(tmp_path: Path) -> None:
    first, other = material(), material()
    tls = CertSwap(first.leaf)

    for bad in (
        Pair(first.leaf.certificate, other.leaf.key),
        Pair(b"", b""),
        Pair(b"nonsense", first.leaf.key),
        Pair(first.leaf.certificate, first.leaf.key[:100]),
    ):
        with pytest.raises(BadPair):
            tls.swap(bad)
    with pytest.raises(BadPair, match="No such file"):
        Files(tmp_path / "tls.crt", tmp_path / "tls.key").read()

    with running(APP, tls=tls) as server:
        assert asked(server.port, client_context(first.bundle)) == b"hello you"


def asked(port: int, context: ssl.SSLContext) -> bytes:
    connection = http.client.HTTPSConnection(HOST, port, context=context, timeout=10)
    try:
        connection.request("POST", "/", b"you")
        return connection.getresponse().read()
    finally:
        connection.close()


def test_a_client_without_a_certificate_of_the_authority_is_not_served_before_and_after_a_swap() -> None:
    ours = material()
    clients, strangers = trustme.CA(), trustme.CA()
    tls = CertSwap(ours.leaf, clients.cert_pem.bytes())
    known, unknown, nobody = (client_context(ours.bundle) for _ in range(3))
    clients.issue_cert("kube-scheduler").configure_cert(known)
    strangers.issue_cert("kube-scheduler").configure_cert(unknown)

    with running(APP, tls=tls) as server:
        for _ in ("before", "after"):
            assert asked(server.port, known) == b"hello you"
            for stranger in (unknown, nobody):
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    asked(server.port, stranger)
            tls.swap(material(evolve(ours, leaf=material().leaf)).leaf)
