"""Where the webhook's certificates are kept: in a Secret that all replicas share, or in a folder that somebody else keeps.

Replicas write the Secret only over what they have read, so that of two that begin at once one wins and the other takes what is
there. What was served last is kept in memory: a Secret that is deleted or damaged comes back as it was.
"""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, frozen

from hami_core.errors import HamiError, WireError
from hami_core.kube import writes
from hami_core.kube.errors import Conflict, NotFound
from hami_core.kube.objects import Secret
from hami_core.serving import certificates
from hami_core.serving.certificates import Lives, Material, Pair
from hami_core.serving.tls import BadPair, Files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hami_core.kube.connection import Connection

SECRET = "hami-webhook-tls"  # noqa: S105  # its name
CERTIFICATE, KEY, AUTHORITIES, AUTHORITY_KEYS = "tls.crt", "tls.key", "ca.crt", "ca.key"  # of the Secret, and of cert-manager's
ATTEMPTS = 10

_log = logging.getLogger(__name__)


@frozen
class Kept:
    """What is to be served, and whom clients have to trust."""

    leaf: Pair
    bundle: bytes


class Keeper(Protocol):
    """Who has the certificates."""

    def keep(self) -> Kept:
        """What is to be served from now on; renewed, if that is ours to do. HamiError: it cannot be had now."""


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


# --- The Secret -------------------------------------------------------------------------------------------------------


@define(eq=False)
class InSecret:
    """Certificates of our own."""

    connection: Connection
    namespace: str
    hosts: Sequence[str]
    lives: Lives
    clock: Callable[[], datetime] = now
    last: Material | None = None

    def keep(self) -> Kept:
        """The Secret's material, renewed if it is due, written if it is new."""
        for _ in range(ATTEMPTS):
            found = self._found()
            stored = self._read(found) if found else None
            material = certificates.renewed(self.clock(), self.hosts, stored or self.last, self.lives)
            if material == stored or self._written(material, found):
                self.last = material
                return Kept(material.leaf, material.bundle)
        raise HamiError(f"Secret {self.namespace}/{SECRET}: changed by others whenever we write it")

    def _found(self) -> Secret | None:
        try:
            return writes.read(self.connection, f"{self._collection}/{SECRET}", Secret)
        except NotFound:
            return None

    def _read(self, secret: Secret) -> Material | None:
        """What is in it. None: it is damaged, and is to be written anew."""
        try:
            data = {key: b64decode(value) for key, value in (secret.data or {}).items()}
            material = Material(certificates.pairs(data[AUTHORITIES], data[AUTHORITY_KEYS]), Pair(data[CERTIFICATE], data[KEY]))
            certificates.renewed(self.clock(), self.hosts, material, self.lives)
        except (KeyError, ValueError, WireError) as error:
            if secret.data:
                _log.error("Secret %s/%s cannot be read and is written anew: %s", self.namespace, SECRET, error)
            return None
        return material

    def _written(self, material: Material, over: Secret | None) -> bool:
        """Whether it could be written: False, if somebody else was faster."""
        try:
            if over is None:
                writes.create(self.connection, self._collection, self._document(material))
            else:
                version = over.metadata.resource_version
                writes.replace(self.connection, f"{self._collection}/{SECRET}", self._document(material, version))
        except Conflict:
            return False
        _log.info("certificates renewed", extra={"expires": certificates.expires(material.leaf.certificate).isoformat()})
        return True

    def _document(self, material: Material, version: str = "") -> dict[str, Any]:
        data = {
            CERTIFICATE: material.leaf.certificate,
            KEY: material.leaf.key,
            AUTHORITIES: material.bundle,
            AUTHORITY_KEYS: b"".join(one.key for one in material.authorities),
        }
        metadata = {"name": SECRET, "namespace": self.namespace, **({"resourceVersion": version} if version else {})}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": metadata,
            "data": {key: b64encode(value).decode() for key, value in data.items()},
        }

    @property
    def _collection(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"


# --- The folder -------------------------------------------------------------------------------------------------------


@define(eq=False)
class InFolder:
    """Certificates that somebody else renews. For a while clients trust the authorities before and after a change."""

    folder: Path
    before: bytes = b""
    after: bytes = b""

    def keep(self) -> Kept:
        """What lies there now. BadPair: a file cannot be read, or is no certificate."""
        leaf = Files(self.folder / CERTIFICATE, self.folder / KEY).read()
        try:
            authorities = (self.folder / AUTHORITIES).read_bytes()
            certificates.expires(authorities)
        except (OSError, WireError) as error:
            raise BadPair(f"{self.folder / AUTHORITIES}: {error}") from error
        if authorities != self.after:
            self.before, self.after = self.after, authorities
        return Kept(leaf, self.after + self.before)
