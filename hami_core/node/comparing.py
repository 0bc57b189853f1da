"""The kubelet's books against the grants: whether tools that read the former see the devices that containers really use. Pure.

A container uses the devices of its grant whatever tokens the kubelet took, so a difference misleads only who reads those.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core.errors import WireError
from hami_core.node import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hami_core.node import podresources
    from hami_core.node.pods import Held


@frozen
class Compared:
    """How many containers of a kind hold tokens of just the devices that they were granted, and how many of others."""

    alike: int = 0
    different: int = 0


def compared(
    granted: Iterable[tuple[str, str, Held]], held: Iterable[podresources.Held], resources: Mapping[str, str]
) -> dict[str, Compared]:
    """By kind, of the containers that are in both. ``resources``: kind -> the name by which the kubelet counts it."""
    books = {(one.namespace, one.pod, one.container, one.resource): _devices(one.tokens) for one in held}
    found = {kind: [0, 0] for kind in resources}
    for namespace, pod, one in granted:
        got = books.get((namespace, pod, one.container, resources.get(one.kind, "")))
        if got is not None:
            found[one.kind][got != Counter(one.devices)] += 1
    return {kind: Compared(*counts) for kind, counts in found.items()}


def _devices(texts: Iterable[str]) -> Counter[str]:
    """The devices of these tokens; what is no token of ours is a device of its own."""
    found: Counter[str] = Counter()
    for text in texts:
        try:
            found[tokens.parse(text).device] += 1
        except WireError:
            found[text] += 1
    return found
