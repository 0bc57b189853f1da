"""What a prepared pod has of ours: for each container that asks a variable, a volume and its mount, all by the downward API.

How they look, exactly as the API server returns them, and how they are recognised in a pod that somebody copied. An annotation
that does not exist gives an empty variable and an empty file: without a grant there is nothing.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from hami_core import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hami_core.model import Kind, Pod
    from hami_webhook.patch import Path

    Item = Mapping[str, Any]

READABLE = 0o444
_ANNOTATION = "metadata.annotations['"


def variable(kind: Kind, container: str) -> dict[str, Any]:
    """The variable that names a container's devices of one kind, out of its grant."""
    return {"name": kind.visible_env, "valueFrom": {"fieldRef": _field(names.visible_key(kind.name, container))}}


def volume(container: str) -> dict[str, Any]:
    """The volume with a container's limits file."""
    item = {"path": names.LIMITS_FILE, "fieldRef": _field(names.grant_key(container))}
    return {"name": names.grant_volume(container), "downwardAPI": {"defaultMode": READABLE, "items": [item]}}


def mount(container: str) -> dict[str, Any]:
    """Its mount. The whole folder: a subPath would never follow a change of the grant."""
    return {"name": names.grant_volume(container), "mountPath": names.GRANT_FOLDER, "readOnly": True}


def _field(annotation: str) -> dict[str, str]:
    return {"apiVersion": "v1", "fieldPath": f"{_ANNOTATION}{annotation}']"}


def whose(kind: Kind, item: Item) -> str | None:
    """The container whose grant a variable takes a kind's devices from. None: it is no such reference."""
    if item.get("name") != kind.visible_env:
        return None
    annotation = _referenced(item.get("valueFrom") or {})
    prefix = names.visible_key(kind.name, "")
    return annotation.removeprefix(prefix) if annotation.startswith(prefix) else None


def is_grant_volume(item: Item) -> bool:
    """Whether a volume is one of ours, of whatever container: our name, and grants alone in it."""
    files = (item.get("downwardAPI") or {}).get("items") or []
    grants = files and all(_referenced(one).startswith(names.grant_key("")) for one in files)
    return bool(grants) and str(item.get("name")).startswith(names.GRANT_VOLUME)


def _referenced(item: Item) -> str:
    """The annotation that a fieldRef takes its value from; empty if it takes something else."""
    path = str((item.get("fieldRef") or {}).get("fieldPath", ""))
    return path[len(_ANNOTATION) : -2] if path.startswith(_ANNOTATION) and path.endswith("']") else ""


def containers(pod: Pod) -> Iterator[tuple[Path, Item]]:
    """Every container that may ask, with its place in the pod: init containers, sidecars among them, and ordinary ones."""
    for which in ("initContainers", "containers"):
        for number, container in enumerate((pod.get("spec") or {}).get(which) or []):
            yield ("spec", which, number), container


def absolute(path: object) -> str:
    """A path in a container as the kubelet and the runtimes read it: from the root, without dots and double slashes."""
    return posixpath.normpath(f"/{str(path).lstrip('/')}")


def is_at_or_below(path: str, others: Iterable[str]) -> bool:
    """Whether a path is one of the others, or stands in one of them."""
    return any(path == other or path.startswith(f"{other}/") for other in others)
