"""How API servers are told of the webhook: which pods they send, where to, and whom they trust there. Data, to be applied."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hami_core import names
from hami_core.sharing import CoreSettings
from hami_webhook import rules
from hami_webhook.server import PATH
from hami_webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings

GROUP = "admissionregistration.k8s.io/v1"
WEBHOOK = "admission.hami.io"
PATIENCE = 5
"""Seconds that an API server waits for an answer; a pod takes us a thousandth of that."""


def hosts(settings: Settings) -> tuple[str, ...]:
    """The names that our certificate has to be for: the Service's as API servers call it, or that of the URL."""
    if url := settings[WebhookSettings].url:
        return (urlsplit(url).hostname or "",)
    service = f"{names.ADMISSION}.{settings[CoreSettings].namespace}"
    return f"{service}.svc", service


def registration(catalogue: Catalogue, settings: Settings, bundle: bytes) -> dict[str, Any]:
    """The MutatingWebhookConfiguration. ``bundle``: the authorities in PEM, at least one."""
    assert bundle, "a registration that trusts nobody refuses every pod"
    webhook = {
        "name": WEBHOOK,
        "admissionReviewVersions": ["v1"],
        "clientConfig": {**_place(settings), "caBundle": b64encode(bundle).decode()},
        "rules": [_rule("CREATE", "pods"), _rule("UPDATE", "pods/ephemeralcontainers")],
        "matchPolicy": "Equivalent",
        "matchConditions": rules.match_conditions(catalogue),
        "namespaceSelector": {"matchExpressions": _namespaces(settings)},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "timeoutSeconds": PATIENCE,
    }
    return {
        "apiVersion": GROUP,
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": names.ADMISSION},
        "webhooks": [webhook],
    }


def _place(settings: Settings) -> Mapping[str, Any]:
    if url := settings[WebhookSettings].url:
        return {"url": url}
    service = {"name": names.ADMISSION, "namespace": settings[CoreSettings].namespace, "path": PATH, "port": 443}
    return {"service": service}


def _rule(operation: str, resource: str) -> Mapping[str, Any]:
    return {
        "operations": [operation],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": [resource],
        "scope": "Namespaced",
    }


def _namespaces(settings: Settings) -> list[Mapping[str, Any]]:
    left_out = settings[WebhookSettings].left_out
    labelled = {"key": names.WEBHOOK, "operator": "NotIn", "values": [names.WEBHOOK_IGNORE]}
    named = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(left_out)}
    return [labelled, named] if left_out else [labelled]
