"""TLS with certificates that change while it serves: a connection that is open stays as it is, the next one gets the new pair.

``load_cert_chain`` on a context in use, from another thread, crashes the interpreter; in its own thread, with half a pair, it
breaks the context. So every pair gets a context of its own, and a front one hands each handshake to the newest.
"""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core.errors import HamiError
from hami_core.serving.certificates import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class BadPair(HamiError):
    """A certificate and a key that do not go together, or are none."""


class CertSwap:
    """Serves the newest good pair. Any thread may call ``swap``; a bad pair raises and changes nothing."""

    def __init__(self, pair: Pair, clients: bytes | None = None) -> None:
        """``clients``: authorities in PEM, one of which has to have signed the certificate of everybody who connects."""
        self._clients = clients
        self._pair = pair
        self.front = self._current = self._load(pair)
        self.front.sni_callback = self._choose  # called at every handshake, whether the client names a host or not

    @property
    def pair(self) -> Pair:
        """What is served now."""
        return self._pair

    def swap(self, pair: Pair) -> None:
        """From the next handshake on, serve this. BadPair: it is none, and the last one stays."""
        if pair != self._pair:
            self._current = self._load(pair)
            self._pair = pair

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, front: ssl.SSLContext) -> None:  # noqa: ARG002
        connection.context = self._current

    def _load(self, pair: Pair) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            with _in_memory(pair.certificate) as certificate, _in_memory(pair.key) as key:
                context.load_cert_chain(certificate, key, password=_no_password)
            if self._clients is not None:
                context.load_verify_locations(cadata=self._clients.decode())
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, ValueError) as error:
            raise BadPair(f"the certificate, its key or the clients' authority: {error}") from error
        return context


def _no_password() -> str:
    """Or OpenSSL would ask for it on the terminal."""
    return ""


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path for what OpenSSL reads by path only; a key of ours is on no disk."""
    handle = os.memfd_create("hami", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(data)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


@frozen
class Files:
    """A pair that somebody else keeps in files: a mounted Secret, say, which replaces them by rename."""

    certificate: Path
    key: Path

    def read(self) -> Pair:
        """The pair as it is now. BadPair: a file cannot be read."""
        try:
            return Pair(self.certificate.read_bytes(), self.key.read_bytes())
        except OSError as error:
            raise BadPair(f"{error.filename}: {error.strerror}") from error
