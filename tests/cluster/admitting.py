"""A control plane with our manifests applied, and users as a cluster has them. Tests of admission and the guard use it."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hami_core import names, plugins, settings
from hami_core.testing.cluster import ControlPlane
from hami_webhook.manifests import manifests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings

OURS = "hami-system"
SCHEDULER = names.user(OURS, names.SCHEDULER)
ADMISSION = names.user(OURS, names.ADMISSION)
NODE_AGENT = names.user(OURS, names.NODE_AGENT)
LEASE = "hami-scheduler"
EDITOR = "alice"  # may do everything with pods and nodes that RBAC can give
SECONDS = 30.0
NO_VALUES: Mapping[str, object] = {}
NO_TEXTS: Mapping[str, str] = {}


def wait_for(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not {what} after {seconds} s"
        time.sleep(0.05)


def world(values: Mapping[str, object] = NO_VALUES) -> tuple[Catalogue, Settings]:
    """The kinds that are installed, under these settings."""
    loaded = plugins.load(block="")
    found = settings.resolve(plugins.settings_classes(loaded), [("test", dict(values))])
    return plugins.catalogue(loaded, found), found


@contextmanager
def installed(version: str = "") -> Iterator[ControlPlane]:
    """A control plane of its own, with our namespace, what ``hami webhook manifests`` prints, and users."""
    with ControlPlane(version) as plane:
        plane.make_namespace(OURS)
        plane.apply(*manifests(*world()))
        plane.apply(*_rights())
        yield plane


def _rights() -> list[dict[str, Any]]:
    """As much as RBAC can give: what is refused then is refused by a policy."""
    everything = [{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "all"},
        "rules": everything,
    }
    return [role, *(_given(user) for user in (EDITOR, SCHEDULER, NODE_AGENT))]


def _given(user: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"all-{user.rpartition(':')[2]}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "all"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def lease(holder: str, transitions: int, word: str) -> dict[str, Any]:
    """kube-scheduler's record of who leads, with the word of the extender beside it."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE, "namespace": OURS, "annotations": {names.EXTENDER: word}},
        "spec": {"holderIdentity": holder, "leaseTransitions": transitions},
    }


def pod(
    name: str, *, labels: Mapping[str, str] = NO_TEXTS, annotations: Mapping[str, str] = NO_TEXTS, **spec: Any
) -> dict[str, Any]:
    """A pod that runs on any node that kwok keeps."""
    containers = [{"name": "main", "image": "none"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels), "annotations": dict(annotations)},
        "spec": {"containers": containers, **spec},
    }


def binding(name: str, node: str, annotations: Mapping[str, str], labels: Mapping[str, str] = NO_TEXTS) -> dict[str, Any]:
    """A Binding."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "annotations": dict(annotations), "labels": dict(labels)},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


def message(text: str) -> str:
    """The sentence of a Status."""
    return str(json.loads(text)["message"])
