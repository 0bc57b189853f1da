"""The webhook as a process: certificates, then the server, then its registration; and all three looked after until the end.

The registration is applied by server-side apply again and again, so whatever somebody changes in it does not last. A new
authority is told to the API servers before it is served. While something cannot be done, it goes on serving what it has, and
says so: in its log, and in /readyz until the registration was applied once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hami_core import names
from hami_core.errors import HamiError, PluginError
from hami_core.kube import writes
from hami_core.serving import certificates, logs, server
from hami_core.serving.certificates import Lives
from hami_core.serving.server import Address, Server
from hami_core.serving.tls import CertSwap
from hami_core.sharing import CoreSettings
from hami_webhook import guard, registration
from hami_webhook.keeping import InFolder, InSecret
from hami_webhook.metrics import Metrics
from hami_webhook.server import Admission
from hami_webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.kube.connection import Connection
    from hami_core.plugins import Catalogue, Plugins
    from hami_core.settings import Settings
    from hami_webhook.keeping import Keeper, Kept

OFTEN = 15.0
"""Seconds between two looks at certificates and registration."""

SETTLING = 2.0
"""Seconds that API servers take to hear of an authority, many times over."""

AGAIN = 1.0
"""Seconds until something that failed at the start is tried again."""

GRACE = 10.0
"""Seconds that requests which have begun are given at the end; an API server gives up after half of it."""

_log = logging.getLogger(__name__)
_RESOURCES = {
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


async def serve(plugins: Plugins, catalogue: Catalogue, settings: Settings, connection: Connection) -> None:
    """Until the process is told to end. PluginError: a plugin that is there cannot be asked."""
    refuse_failures(plugins, catalogue)
    logs.start("hami_webhook", "hami_core")
    daemon = Daemon(plugins, catalogue, settings, connection)
    gc.collect()
    gc.freeze()  # plugins and settings stay: no collection looks at them again while a pod waits
    ending = server.ending()
    running = asyncio.create_task(daemon.run())
    waiting = asyncio.create_task(ending.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        await running
    await daemon.stop()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def refuse_failures(plugins: Plugins, catalogue: Catalogue) -> None:
    """A plugin that cannot be asked has names that we do not know, and its pods would pass unseen."""
    for failure in (*plugins.failures, *catalogue.failures):
        hint = f"pods that ask for its devices would not be seen; mend it, or leave it out by {names.ENV_BLOCK}"
        raise PluginError(failure.plugin, f"{failure}; {hint}")


class Daemon:
    """One webhook, from its first certificate to its last answer."""

    def __init__(self, plugins: Plugins, catalogue: Catalogue, settings: Settings, connection: Connection) -> None:
        own = settings[WebhookSettings]
        self._catalogue, self._settings, self._connection = catalogue, settings, connection
        self._metrics = Metrics((*catalogue.resources(), *(kind.visible_env for kind in catalogue.kinds), names.PREPARED))
        self._app = Admission(plugins.hook, catalogue, settings, self._metrics, lambda: self._not_ready).app()
        self._lives = _lives(own)
        self._keeper = _keeper(settings, connection, self._lives)
        self._wanted = Address.parse(own.bind_address)
        self._drain = own.drain
        self._not_ready = "no certificate yet"
        self._bundle = b""
        self._tls: CertSwap | None = None
        self._server: Server | None = None
        self.address: Address | None = None  # where it listens

    async def run(self) -> None:
        """Serve, and look after everything. Ends by being cancelled. UserError: the address cannot be had."""
        kept = await self._first()
        self._tls = CertSwap(kept.leaf)
        self._server = Server(self._app, self._wanted, tls=self._tls)
        self.address = await self._server.start()
        _log.info("serving", extra={"address": str(self.address)})
        self._not_ready = "not registered yet"
        while True:
            done = await self._turn()
            await asyncio.sleep(self._often if done or not self._not_ready else AGAIN)

    async def stop(self) -> None:
        """Say that no more should come, wait until everybody has heard, and finish what has begun."""
        self._not_ready = "ending"
        _log.info("ending")
        if self._server is not None:
            await asyncio.sleep(self._drain)
            await self._server.stop(GRACE)

    @property
    def _often(self) -> float:
        return min(OFTEN, self._lives.leaf.total_seconds() / 20)

    async def _first(self) -> Kept:
        while True:
            try:
                return await asyncio.to_thread(self._keeper.keep)
            except HamiError as error:
                self._not_ready = f"no certificate: {error}"
                _log.error("no certificate yet", extra={"reason": str(error)})
            await asyncio.sleep(AGAIN)

    async def _turn(self) -> bool:
        """One look. False: something could not be done, and stays as it is until the next."""
        try:
            kept = await asyncio.to_thread(self._keeper.keep)
            await asyncio.to_thread(self._apply, kept.bundle)
            await self._serve(kept)
        except HamiError as error:
            _log.error("not looked after", extra={"reason": str(error)})
            return False
        if self._not_ready == "not registered yet":
            self._not_ready = ""
            _log.info("ready")
        return True

    async def _serve(self, kept: Kept) -> None:
        """The leaf, once the API servers have heard of whom to trust."""
        assert self._tls is not None
        if kept.bundle != self._bundle:
            if self._bundle and kept.leaf != self._tls.pair:
                await asyncio.sleep(min(SETTLING, self._often))
            self._bundle = kept.bundle
        self._tls.swap(kept.leaf)
        self._metrics.serves(certificates.expires(kept.leaf.certificate))

    def _apply(self, bundle: bytes) -> None:
        """Policies before the registration: nothing is granted that is not guarded."""
        documents = (
            *guard.policies(self._catalogue, self._settings),
            registration.registration(self._catalogue, self._settings, bundle),
        )
        for document in documents:
            writes.apply(self._connection, path(document), document, names.ADMISSION)
        self._metrics.applied()


def path(document: Mapping[str, Any]) -> str:
    """Where an object of ours is."""
    return f"/apis/{document['apiVersion']}/{_RESOURCES[document['kind']]}/{document['metadata']['name']}"


def _lives(own: WebhookSettings) -> Lives:
    leaf = timedelta(hours=own.certificate_hours)
    return Lives(authority=leaf * 4, leaf=leaf)


def _keeper(settings: Settings, connection: Connection, lives: Lives) -> Keeper:
    if folder := settings[WebhookSettings].certificate_folder:
        return InFolder(Path(folder))
    return InSecret(connection, settings[CoreSettings].namespace, registration.hosts(settings), lives)
