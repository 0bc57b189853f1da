"""What an answer of the API server, or its failure to come, is in our own errors. Pure."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from urllib3 import exceptions as transport

from hami_core.kube.errors import Conflict, Forbidden, Gone, Invalid, NotFound, TooManyRequests, Unauthorized, Unavailable
from hami_core.kube.objects import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.kube.errors import KubeError, Refused

EXCERPT: Final = 256  # characters of an answer that is no Status: enough for a proxy's sentence, too few for its page
READING: Final = frozenset({"GET", "HEAD"})

_STATUS: Final = msgspec.json.Decoder(Status)
_CLASSES: Final[Mapping[int, type[Refused]]] = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone}
# A version that the server has not: compacted, or later than its own because its store was restored. Both mean: list again.
_NO_SUCH_VERSION: Final = frozenset({"Expired", "Gone", "ResourceVersionTooLarge"})

# Raised before a byte of the request was sent: urllib3 connects, and a proxy is spoken to, before it writes.
_NOT_SENT: Final = (
    transport.NewConnectionError,
    transport.ConnectTimeoutError,
    transport.ProxyError,
    transport.EmptyPoolError,
    transport.LocationValueError,
)


def refusal(method: str, code: int, reason: str, body: bytes, headers: Mapping[str, str] | None = None) -> KubeError:
    """The error for an answer outside 2xx; ``reason`` and ``body`` as HTTP gave them."""
    return of_status(method, _status(code, reason, body), _seconds((headers or {}).get("Retry-After")))


def of_status(method: str, status: Status, retry_after: float = 0.0) -> KubeError:
    """The error that a Status tells of, be it an answer or an event of a watch."""
    code, reason, message = status.code, status.reason, status.message
    if code == 410 or reason in _NO_SUCH_VERSION or not _NO_SUCH_VERSION.isdisjoint(_causes(status.details)):
        return Gone(code, reason, message)
    if code == 429:
        return TooManyRequests(code, reason, message, retry_after or _asked(status.details))
    if 400 <= code < 500:
        return _CLASSES.get(code, Invalid)(code, reason, message)
    # 5xx of a write: the store may have taken it before its answer came too late.
    return Unavailable(f"{code} {reason}: {message}", unknown=code >= 500 and method not in READING)


def no_answer(method: str, error: Exception) -> Unavailable:
    """The error for a request that got none, or only part of one."""
    sent = not isinstance(error, _NOT_SENT) and not _unverified(error)
    return Unavailable(f"{type(error).__name__}: {error}", unknown=sent and method not in READING)


def _unverified(error: Exception) -> bool:
    return isinstance(error, transport.SSLError) and any(isinstance(part, ssl.SSLCertVerificationError) for part in error.args)


def _status(code: int, reason: str, body: bytes) -> Status:
    with suppress(msgspec.MsgspecError):
        status = _STATUS.decode(body)
        if status.code or status.message:
            return Status(status.message, status.reason or reason, status.code or code, status.details)
    return Status(body.decode(errors="replace").strip()[:EXCERPT], reason, code)


def _causes(details: Any) -> set[object]:
    causes = details.get("causes") if isinstance(details, dict) else None
    return {cause.get("reason") for cause in causes or [] if isinstance(cause, dict)}


def _asked(details: Any) -> float:
    return _seconds(details.get("retryAfterSeconds")) if isinstance(details, dict) else 0.0


def _seconds(text: Any) -> float:
    """Kubernetes writes a number of seconds; HTTP would allow a date, which means some time."""
    try:
        return max(float(text), 0.0)
    except (TypeError, ValueError):
        return 0.0
