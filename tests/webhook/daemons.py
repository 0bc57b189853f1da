"""The webhook's daemon without a cluster: an API server that is a dictionary, for what does not need a real one."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from attrs import define, field
from cryptography import x509

from hami_core.kube.errors import Conflict, NotFound
from hami_webhook.daemon import Daemon
from tests.webhook import door

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import timedelta

    from hami_core.kube.connection import Connection

HOST = "127.0.0.1"


@define
class Stored:
    """As much of a connection as the daemon uses, over objects by path, each with a version."""

    objects: dict[str, dict[str, Any]] = field(factory=dict)
    version: int = 0
    lagging: int = 0  # reads that see nothing yet, as those of two who begin at once

    def request(self, method: str, path: str, body: bytes | None = None, **_: object) -> bytes:
        """As the API server answers Secrets and server-side apply."""
        document = json.loads(body) if body else {}
        match method:
            case "GET":
                return json.dumps(self._read(path)).encode()
            case "POST":
                path = f"{path}/{document['metadata']['name']}"
                if path in self.objects:
                    raise Conflict(409, "AlreadyExists", path)
            case "PUT" if document["metadata"]["resourceVersion"] != self._read(path)["metadata"]["resourceVersion"]:
                raise Conflict(409, "Conflict", path)
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = document
        return b"{}"

    def _read(self, path: str) -> dict[str, Any]:
        if self.lagging or path not in self.objects:
            self.lagging = max(0, self.lagging - 1)
            raise NotFound(404, "NotFound", path)
        return self.objects[path]


def connection(stored: Stored) -> Connection:
    """It, as the daemon takes it."""
    return cast("Connection", stored)


@asynccontextmanager
async def serving(values: Mapping[str, object], stored: Stored) -> AsyncIterator[Daemon]:
    """A daemon that listens."""
    catalogue, settings = door.world({"scheduler.admissionWebhook.drainSeconds": 0, **values})
    daemon = Daemon(door.installed(), catalogue, settings, connection(stored))
    running = asyncio.create_task(daemon.run())
    try:
        while daemon.address is None:
            assert not running.done(), running
            await asyncio.sleep(0.01)
        yield daemon
    finally:
        await daemon.stop()
        running.cancel()


def served(values: Mapping[str, object], stored: Stored | None = None) -> tuple[int, timedelta, float]:
    """Port of a daemon under these settings, the life of its certificate, and the seconds that it takes to end."""

    async def look() -> tuple[int, bytes, float]:
        async with serving(values, stored or Stored()) as daemon:
            assert daemon.address is not None
            port = daemon.address.port
            pem = await asyncio.to_thread(ssl.get_server_certificate, (HOST, port))
            start = time.monotonic()
        return port, pem.encode(), time.monotonic() - start

    port, pem, seconds = asyncio.run(look())
    found = x509.load_pem_x509_certificate(pem)
    return port, found.not_valid_after_utc - found.not_valid_before_utc, seconds
