"""A pod's grant on its way into annotations and back: what a Binding carries, and what a bound pod holds.

One home per fact: what a pod holds is what its annotations say. What cannot be read is an error, never a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from hami_core import decision, names, wire
from hami_core.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pluggy import HookRelay

    from hami_core.kube.objects import Pod
    from hami_core.model import Share
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings

LARGEST = 256 * 1024
"""Bytes of all keys and values of an object's annotations (k8s.io/apimachinery, api/validation: TotalAnnotationSizeLimitB)."""

_PREFIX = names.grant_key("")
_OVER = ("Succeeded", "Failed")


def may_hold(pod: Pod) -> bool:
    """Whether a pod that is bound holds what its annotations grant: prepared by admission, and not at its end.

    A terminating pod holds until its containers are gone. What its init containers hold stays until then too, as Kubernetes
    counts: a sandbox that starts anew runs them again.
    """
    return (pod.metadata.labels or {}).get(names.PREPARED) == "true" and pod.status.phase not in _OVER


def shares(pod: Pod) -> tuple[Share, ...]:
    """What a pod's annotations grant it; () if it has no grant. WireError: one that cannot be read, or is another pod's."""
    found: list[Share] = []
    for key, text in (pod.metadata.annotations or {}).items():
        if key.startswith(_PREFIX):
            found += _shares(pod.metadata.uid, key, text)
    return tuple(found)


def _shares(uid: str, key: str, text: str) -> Sequence[Share]:
    container = key.removeprefix(_PREFIX)
    read = wire.shares(text, container, key)
    owner = text.split("\n", 2)[1]
    if owner != f"grant {names.grant_id(uid, container)}":
        raise WireError(key, "line 2", f"{owner!r} is not the grant of this pod, {names.grant_id(uid, container)}")
    return read


def written(hook: HookRelay, catalogue: Catalogue, settings: Settings, uid: str, granted: Sequence[Share]) -> Mapping[str, str]:
    """What the pod is told: for each container its limits text, and for each of its kinds the devices that it may see."""
    told: dict[str, str] = {}
    for container, grants in decision.grants(hook, catalogue, settings, granted).items():
        own = [share for share in granted if share.container == container]
        told[names.grant_key(container)] = wire.limits_text(names.grant_id(uid, container), own, grants)
        told |= {names.visible_key(grant.kind, container): grant.visible for grant in grants}
    return told


def same(held: Collection[Share], granted: Collection[Share]) -> bool:
    """Whether annotations say what is held. Options are not written there in our words."""
    return len(held) == len(granted) and {evolve(share, options=()) for share in held} == set(granted)


def size(told: Mapping[str, str]) -> int:
    """Bytes of annotations, as the API server counts them."""
    return sum(len(str(key).encode()) + len(str(value).encode()) for key, value in told.items())
