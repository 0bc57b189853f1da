"""What has to be in the cluster before the scheduler starts: its Service, who it is, and the least rights for it.

The extender and the kube-scheduler beside it are one service account: they are one pod. kube-scheduler's own rights are those
of the roles that Kubernetes brings for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hami_core import names
from hami_core.sharing import CoreSettings
from hami_scheduler.enquiry import PORT
from hami_scheduler.settings import SchedulerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.settings import Settings

NAME = names.SCHEDULER
LABELS = {"app.kubernetes.io/name": "hami", "app.kubernetes.io/component": "scheduler"}
RBAC = "rbac.authorization.k8s.io"
OF_KUBERNETES = ("system:kube-scheduler", "system:volume-scheduler")

Document = dict[str, Any]


def documents(settings: Settings) -> list[Document]:
    """Everything, in the order in which it can be applied. The namespace is not ours to make."""
    core = settings[CoreSettings]
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": core.namespace}
    everywhere = [_cluster_binding(f"{NAME}:{role}", role, account) for role in OF_KUBERNETES]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": core.namespace}},
        _role("ClusterRole", {"name": NAME}, _rules()),
        _cluster_binding(NAME, NAME, account),
        *everywhere,
        _role("Role", {"name": NAME, "namespace": core.namespace}, _lease_rules(core.scheduler_name)),
        _binding("RoleBinding", {"name": NAME, "namespace": core.namespace}, ("Role", NAME), account),
        _binding(
            "RoleBinding",
            {"name": f"{NAME}:authentication-reader", "namespace": "kube-system"},
            ("Role", "extension-apiserver-authentication-reader"),  # by which kube-scheduler knows who asks for its metrics
            account,
        ),
        _service(core.namespace, int(settings[SchedulerSettings].metrics_address.rpartition(":")[2])),
    ]


def _service(namespace: str, port: int) -> Document:
    """The way to the other port: of Prometheus, and of ``hami explain`` through the API server. The extender's has none."""
    metadata = {"name": NAME, "namespace": namespace, "labels": LABELS}
    spec = {"selector": LABELS, "ports": [{"name": PORT, "port": port, "targetPort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _rules() -> list[Document]:
    """Of the extender. Nodes are never written, and of pods only the annotation that says why one waits."""
    return [
        _rule([""], ["pods", "nodes", "resourcequotas"], ["get", "list", "watch"]),
        _rule([""], ["pods/binding"], ["create"]),
        _rule([""], ["pods"], ["patch"]),
        _rule([""], ["events"], ["create", "patch"]),
    ]


def _lease_rules(lease: str) -> list[Document]:
    """Of kube-scheduler, which writes the Lease, and of the extender, which follows it and puts its word on it."""
    leases = ["coordination.k8s.io"], ["leases"]
    own = {**_rule(*leases, ["get", "list", "watch", "update", "patch"]), "resourceNames": [lease]}
    return [_rule(*leases, ["create"]), own]


def _rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str]) -> Document:
    return {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}


def _role(kind: str, metadata: Document, rules: list[Document]) -> Document:
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules}


def _cluster_binding(name: str, role: str, account: Document) -> Document:
    return _binding("ClusterRoleBinding", {"name": name}, ("ClusterRole", role), account)


def _binding(kind: str, metadata: Document, role: tuple[str, str], account: Document) -> Document:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": role[0], "name": role[1]},
        "subjects": [dict(account)],
    }
