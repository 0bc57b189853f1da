"""Who may call the extender: whoever can place a Binding under our name can place anything.

Three ways, all closed by default: a loopback address, which only the pod's own network reaches; a secret word in the URL, the
only secret that kube-scheduler's extender client can send; or client certificates, which the TLS handshake checks.
"""

from __future__ import annotations

import re
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from hami_core.errors import SettingsError
from hami_core.serving.server import Address
from hami_scheduler.settings import LOOPBACK, MTLS, TOKEN

if TYPE_CHECKING:
    from hami_scheduler.settings import SchedulerSettings

_WORD = re.compile(r"[A-Za-z0-9_-]{16,256}")
_PLACE = "scheduler.extender"


@frozen
class Tls:
    """Files of a server that asks for client certificates."""

    cert: Path
    key: Path
    client_ca: Path


@frozen
class Access:
    """Where the extender listens, and what a caller must bring."""

    address: Address
    token: str = field(default="", repr=False)
    tls: Tls | None = None

    def path(self, path: str) -> str:
        """The part of a URL's path that names the verb. ``/``: the caller does not know the secret part before it."""
        first, slash, verb = path.removeprefix("/").rpartition("/")
        known = compare_digest(first.encode("utf-8", "surrogatepass"), self.token.encode())
        return f"/{verb}" if known and bool(slash) == bool(self.token) else "/"

    @property
    def url(self) -> str:
        """Where the kube-scheduler beside us finds us, the secret word included."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address.host, self.address.host)  # noqa: S104
        scheme, place = ("https" if self.tls else "http"), f"[{host}]" if ":" in host else host
        return f"{scheme}://{place}:{self.address.port}" + (f"/{self.token}" if self.token else "")


def access(settings: SchedulerSettings) -> Access:
    """What the settings say, with the files that they name read. SettingsError: they do not go together."""
    address = Address.parse(settings.bind_address)
    if settings.auth == TOKEN:
        return Access(address, token=_token(settings.token_file))
    if settings.auth == MTLS:
        return Access(address, tls=_tls(settings))
    if not is_loopback(address.host):
        hint = f'"{settings.bind_address}" can be reached from elsewhere; with auth={LOOPBACK} it must be a loopback address, '
        raise SettingsError(f"{_PLACE}.bindAddress", f"{hint}or set {_PLACE}.auth to {TOKEN} or {MTLS}", "settings")
    return Access(address)


def is_loopback(host: str) -> bool:
    """Whether only this network namespace reaches a host. Names are not looked up, but for the one that is fixed."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _token(name: str) -> str:
    text = _read(name, "tokenFile", TOKEN).strip()
    if not _WORD.fullmatch(text):
        hint = "its content must be one word of at least 16 letters, digits, hyphens and underscores"
        raise SettingsError(f"{_PLACE}.tokenFile", f"{name}: {hint}", "settings")
    return text


def _tls(settings: SchedulerSettings) -> Tls:
    files = {"certFile": settings.cert_file, "keyFile": settings.key_file, "clientCAFile": settings.client_ca_file}
    for key, name in files.items():
        _read(name, key, MTLS)
    return Tls(Path(settings.cert_file), Path(settings.key_file), Path(settings.client_ca_file))


def _read(name: str, key: str, auth: str) -> str:
    if not name:
        raise SettingsError(f"{_PLACE}.{key}", f"names no file, and {_PLACE}.auth={auth} needs one", "settings")
    try:
        return Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{_PLACE}.{key}", f"{name} cannot be read: {error}", "settings") from error
