"""What has to be in the cluster before ``hami webhook serve`` runs there: its account and rights, its Service, the policies.

The registration is not among it: it carries the authority, which the webhook makes itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hami_core import names
from hami_core.sharing import CoreSettings
from hami_webhook import guard
from hami_webhook.keeping import SECRET
from hami_webhook.registration import GROUP
from hami_webhook.server import PATH
from hami_webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings

RBAC = "rbac.authorization.k8s.io"
NAME = names.ADMISSION
LABELS = {"app.kubernetes.io/name": "hami", "app.kubernetes.io/component": "webhook"}


def manifests(catalogue: Catalogue, settings: Settings) -> list[Mapping[str, Any]]:
    """Everything, in the order in which it is applied. The namespace is not ours to make."""
    namespace = settings[CoreSettings].namespace
    own = settings[WebhookSettings]
    secret = [] if own.certificate_folder else _secret_rights(namespace)
    service = [] if own.url else [_service(namespace, int(own.bind_address.rpartition(":")[2]))]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(namespace)},
        *_cluster_rights(namespace),
        *secret,
        *service,
        *guard.policies(catalogue, settings),
    ]


def _cluster_rights(namespace: str) -> list[Mapping[str, Any]]:
    """Its own registration and policies, by name; and to read Leases, or it may not make a policy that does."""
    group = GROUP.partition("/")[0]
    policies = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"]
    rules = [
        _rule(group, ["mutatingwebhookconfigurations"], ["create", "patch"], [NAME]),
        _rule(group, policies, ["create", "patch"], [guard.GUARD, guard.FENCE]),
        _rule("coordination.k8s.io", ["leases"], ["get"]),
    ]
    return [
        {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": _metadata(), "rules": rules},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _metadata(),
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": NAME},
            "subjects": [_account(namespace)],
        },
    ]


def _secret_rights(namespace: str) -> list[Mapping[str, Any]]:
    """Its one Secret. RBAC cannot give the right to create by name."""
    rules = [_rule("", ["secrets"], ["get", "update"], [SECRET]), _rule("", ["secrets"], ["create"])]
    return [
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": _metadata(namespace), "rules": rules},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": _metadata(namespace),
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": NAME},
            "subjects": [_account(namespace)],
        },
    ]


def _service(namespace: str, port: int) -> Mapping[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(namespace),
        "spec": {"selector": LABELS, "ports": [{"name": PATH.strip("/"), "port": 443, "targetPort": port}]},
    }


def _metadata(namespace: str = "") -> dict[str, Any]:
    return {"name": NAME, "labels": LABELS, **({"namespace": namespace} if namespace else {})}


def _account(namespace: str) -> Mapping[str, str]:
    return {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}


def _rule(group: str, resources: Sequence[str], verbs: Sequence[str], named: Sequence[str] = ()) -> Mapping[str, Any]:
    rule = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(named)} if named else rule
