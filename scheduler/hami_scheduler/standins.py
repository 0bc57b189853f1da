"""What stands in the books for an object that cannot be decoded. Never nothing: what it holds or forbids would look free.

A pod's node gets nothing new, a node has no device, a namespace with such a quota gets nothing, and such a Lease is nobody's.
An object that says not even which it is raises: the watch ends, and with it the process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hami_core import names
from hami_core.kube.objects import Lease, Meta, Node, Pod, PodSpec, PodStatus, QuotaSpec, ResourceQuota
from hami_core.kube.reflector import report_unreadable
from hami_scheduler import quota as quotas

if TYPE_CHECKING:
    from hami_core.plugins import Catalogue

TEXT = "the object cannot be decoded"
NOBODY = names.grant_key("?")  # no container has this name


def pod(raw: bytes, error: Exception) -> Pod:
    """A pod with a grant that cannot be read. At its end only if it says so."""
    document = _reported(raw, error)
    meta, spec, status = _meta(document, error), _part(document, "spec"), _part(document, "status")
    meta.labels, meta.annotations = {names.PREPARED: "true"}, {NOBODY: TEXT}
    node = spec.get("nodeName", "")
    if not meta.uid or not isinstance(node, str):
        raise error
    return Pod(meta, PodSpec(node_name=node), PodStatus(phase=_text(status, "phase")))


def node(catalogue: Catalogue, raw: bytes, error: Exception) -> Node:
    """A node whose inventories cannot be read."""
    meta = _meta(_reported(raw, error), error)
    meta.annotations = {names.inventory_key(kind.name): TEXT for kind in catalogue.kinds}
    return Node(meta)


def quota(catalogue: Catalogue, raw: bytes, error: Exception) -> ResourceQuota:
    """A quota on everything of ours, of which no number can be read."""
    meta = _meta(_reported(raw, error), error)
    return ResourceQuota(meta, QuotaSpec(hard=dict.fromkeys(quotas.keys(catalogue), TEXT)))


def lease(raw: bytes, error: Exception) -> Lease:
    """A Lease without a holder."""
    return Lease(_meta(_reported(raw, error), error))


def _reported(raw: bytes, error: Exception) -> Any:
    report_unreadable(raw, error)
    try:
        return json.loads(raw.decode(errors="replace"))
    except (ValueError, RecursionError):
        raise error from None


def _meta(document: Any, error: Exception) -> Meta:
    meta = _part(document, "metadata")
    found = Meta(
        name=_text(meta, "name"),
        namespace=_text(meta, "namespace"),
        uid=_text(meta, "uid"),
        resource_version=_text(meta, "resourceVersion"),
    )
    if not found.name:
        raise error
    return found


def _part(document: Any, key: str) -> dict[str, Any]:
    part = document.get(key) if isinstance(document, dict) else None
    return part if isinstance(part, dict) else {}


def _text(part: dict[str, Any], key: str) -> str:
    text = part.get(key)
    return text if isinstance(text, str) else ""
