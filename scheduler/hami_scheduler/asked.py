"""What kube-scheduler's pod asks of us, read from its raw object, which has the shape of a pod (``shape``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_core import decision, names
from hami_scheduler import grants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pluggy import HookRelay

    from hami_core.decision import Ask
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings


@frozen
class Asked:
    """A pod, as far as we decide about it. ``asks`` empty: it asks nothing of ours."""

    uid: str
    namespace: str
    name: str
    version: str  # of the object that was read: an annotation may be changed while the pod waits
    asks: tuple[Ask, ...]
    annotated: int  # bytes of the annotations that the pod has
    prepared: bool  # by admission; whoever is not would be bound and see no device


def version(pod: Mapping[str, Any]) -> str:
    """While it is the same, so is the pod. Empty: nobody says."""
    return _word(_meta(pod), "resourceVersion")


def uid(pod: Mapping[str, Any]) -> str:
    """Whose pod it is. Empty: it is no pod of a cluster's yet."""
    return _word(_meta(pod), "uid")


def read(hook: HookRelay, catalogue: Catalogue, settings: Settings, pod: Mapping[str, Any]) -> Asked:
    """ValidationError: the pod asks for what cannot be meant."""
    meta = _meta(pod)
    asks = decision.ask(hook, catalogue, settings, pod)
    return Asked(
        uid=_word(meta, "uid"),
        namespace=_word(meta, "namespace"),
        name=_word(meta, "name"),
        version=_word(meta, "resourceVersion"),
        asks=asks,
        annotated=grants.size(meta.get("annotations") or {}),
        prepared=is_prepared(pod),
    )


def is_prepared(pod: Mapping[str, Any]) -> bool:
    """Whether it has the label that admission gives."""
    return (_meta(pod).get("labels") or {}).get(names.PREPARED) == "true"


def _meta(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    return pod.get("metadata") or {}


def _word(meta: Mapping[str, Any], key: str) -> str:
    return meta.get(key) or ""
