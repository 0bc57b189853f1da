"""What has to be in the cluster before the agent runs on its nodes: who it is, and the least rights for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hami_core import names
from hami_core.sharing import CoreSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.settings import Settings

NAME = names.NODE_AGENT
LABELS = {"app.kubernetes.io/name": "hami", "app.kubernetes.io/component": "node"}
RBAC = "rbac.authorization.k8s.io"

Document = dict[str, Any]


def documents(settings: Settings) -> list[Document]:
    """Everything, in the order in which it can be applied. The namespace is not ours to make."""
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": settings[CoreSettings].namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(namespace=account["namespace"])},
        {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": _metadata(), "rules": _rules()},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _metadata(),
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": NAME},
            "subjects": [account],
        },
    ]


def _metadata(**more: str) -> Document:
    return {"name": NAME, "labels": dict(LABELS), **more}


def _rules() -> list[Document]:
    """Its node's object, the pods there, and events about them. RBAC knows no "its own node" for a service account."""
    return [
        _rule(["nodes"], ["get", "list", "watch", "patch"]),
        _rule(["pods"], ["get", "list", "watch"]),
        _rule(["events"], ["create", "patch"]),
    ]


def _rule(resources: Sequence[str], verbs: Sequence[str]) -> Document:
    return {"apiGroups": [""], "resources": list(resources), "verbs": list(verbs)}
