"""Admission over HTTPS: POST /admit takes an AdmissionReview and answers it; beside it, health and metrics.

A refusal is an answer, with the sentence for the pod's author. A fault of ours is 500: the API server then does what the
registration's failurePolicy says, and refuses the pod. What is no AdmissionReview is 400.
"""

from __future__ import annotations

import base64
import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from attrs import define
from msgspec import Struct, field

from hami_core.errors import HamiError, UserError, ValidationError
from hami_core.serving.exchange import Answer, Refusal, Routes
from hami_webhook.admission import CREATE, review
from hami_webhook.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pluggy import HookRelay

    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_webhook.admission import Admitted
    from hami_webhook.metrics import Metrics

PATH = "/admit"
LARGEST = 8 << 20
"""Bytes of one review. A pod has 1.5 MiB at most, or etcd does not take it; an update comes with the old one."""

INVALID = 422

_log = logging.getLogger(__name__)


class User(Struct):
    """Who asks."""

    username: str = ""


class Request(Struct, rename="camel"):
    """What is asked. ``old_object`` is there in updates."""

    uid: str
    operation: str
    object: dict[str, Any]
    old_object: dict[str, Any] | None = None
    name: str = ""
    namespace: str = ""
    user_info: User = field(default_factory=User)


class Review(Struct):
    """An AdmissionReview of admission.k8s.io/v1."""

    request: Request


_decoder = msgspec.json.Decoder(Review)


@define(eq=False)
class Admission:
    """The webhook's requests. ``ready``: why it is not, in words; empty: it is."""

    _hook: HookRelay
    _catalogue: Catalogue
    _settings: Settings
    _metrics: Metrics
    ready: Callable[[], str]

    def app(self) -> Routes:
        """The ASGI application."""
        table = {
            PATH: {"POST": self.admit},
            "/healthz": {"GET": _healthz},
            "/readyz": {"GET": self._readyz},
            "/metrics": {"GET": self._scraped},
        }
        return Routes(table, largest=LARGEST)

    async def admit(self, body: bytes) -> Answer:
        """One AdmissionReview."""
        started = time.perf_counter()
        try:
            asked = _decoder.decode(body).request
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._metrics.malformed()
            raise Refusal(400, f"no AdmissionReview: {error}") from error
        answer = self._judged(asked)
        self._metrics.took(time.perf_counter() - started)
        return answer

    def _judged(self, asked: Request) -> Answer:
        try:
            admitted = review(
                self._hook, self._catalogue, self._settings, asked.object, operation=asked.operation, old=asked.old_object
            )
        except UserError as error:
            self._metrics.refused(error.field if isinstance(error, ValidationError) else "")
            _log.info("refused", extra={"reason": str(error), **_who(asked)})
            return _answer(_refused(asked, str(error)))
        except Exception as error:
            self._metrics.failed()
            _log.exception("failed", extra=_who(asked))
            sentence = str(error) if isinstance(error, HamiError) else f"a fault in hami itself: {type(error).__name__}"
            raise Refusal(500, sentence) from error
        self._metrics.admitted(prepared=bool(admitted.patch))
        return _answer(_admitted(asked, admitted))

    async def _readyz(self, body: bytes) -> Answer:  # noqa: ARG002
        if why := self.ready():
            raise Refusal(503, why)
        return Answer(b"ok", content_type="text/plain")

    async def _scraped(self, body: bytes) -> Answer:  # noqa: ARG002
        return Answer(self._metrics.text(), content_type=CONTENT_TYPE)


async def _healthz(body: bytes) -> Answer:  # noqa: ARG001
    return Answer(b"ok", content_type="text/plain")


def _who(asked: Request) -> dict[str, object]:
    """Whose pod it is, for the log. A new pod has no uid yet, and maybe no name: then the beginning of one."""
    metadata = asked.object.get("metadata") or {}
    return {
        "operation": asked.operation,
        "namespace": asked.namespace,
        "pod": asked.name or metadata.get("name") or metadata.get("generateName", ""),
        "uid": metadata.get("uid", "") if asked.operation != CREATE else "",
        "request": asked.uid,
        "user": asked.user_info.username,
    }


def _admitted(asked: Request, admitted: Admitted) -> dict[str, Any]:
    response: dict[str, Any] = {"uid": asked.uid, "allowed": True}
    if admitted.patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(admitted.patch)).decode()}
    return response | _warned(admitted.warnings)


def _warned(warnings: Sequence[str]) -> dict[str, Any]:
    return {"warnings": list(warnings)} if warnings else {}


def _refused(asked: Request, sentence: str) -> dict[str, Any]:
    status = {"status": "Failure", "reason": "Invalid", "code": INVALID, "message": sentence}
    return {"uid": asked.uid, "allowed": False, "status": status}


def _answer(response: dict[str, Any]) -> Answer:
    return Answer(orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
