"""The extender protocol in kube-scheduler's own JSON: what it asks, what it may be answered.

Go writes these types without tags, so the names are the fields' own. Of nodes only the names are read; they are answered as the
bytes that came. Source: k8s.io/kube-scheduler, extender/v1/types.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from hami_scheduler import shape

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

LONGEST = 1000
"""Characters of an error."""


class Malformed(Exception):
    """A request that is none; ``str()`` says where and why."""


# --- What is asked ---------------------------------------------------------------------------------------------------


class Nodes(Struct, gc=False):
    """A NodeList, its items unread."""

    items: list[Raw] | None  # Go writes an empty list that nobody made as null


class Asked(Struct, gc=False, rename="pascal"):
    """filter and prioritize: a pod, and its candidates by name (nodeCacheCapable) or in full."""

    pod: dict[str, Any]
    nodes: Nodes | None = None
    node_names: list[str] | None = None


class Binding(Struct, gc=False, frozen=True):
    """bind: this pod to this node."""

    name: str = field(name="PodName")
    namespace: str = field(name="PodNamespace")
    uid: str = field(name="PodUID")
    node: str = field(name="Node")


class _Meta(Struct, gc=False):
    name: str


class _Node(Struct, gc=False):
    metadata: _Meta


_asked = msgspec.json.Decoder(Asked)
_binding = msgspec.json.Decoder(Binding)
_node = msgspec.json.Decoder(_Node)


class Candidates(Struct, gc=False):
    """Who may hold the pod; ``whole`` are the nodes by name, where they came in full."""

    pod: dict[str, Any]
    names: list[str]
    whole: dict[str, Raw] | None = None


def asked(body: bytes) -> Candidates:
    """A request of filter or prioritize. Malformed: it is none."""
    request = _read(_asked, body)
    if why := shape.fault(request.pod):
        raise Malformed(f"in $.Pod: {why}")
    if request.node_names is not None:
        return Candidates(request.pod, request.node_names)
    if request.nodes is None:
        raise Malformed("one of Nodes and NodeNames must be there")
    whole = {_name(raw, number): raw for number, raw in enumerate(request.nodes.items or ())}
    return Candidates(request.pod, list(whole), whole)


def binding(body: bytes) -> Binding:
    """A request of bind. Malformed: it is none, or one of its words is empty."""
    request = _read(_binding, body)
    for key, name in zip(Binding.__struct_fields__, Binding.__struct_encode_fields__, strict=True):
        if not getattr(request, key):
            raise Malformed(f"{name} is empty")
    return request


def _name(raw: Raw, number: int) -> str:
    return _read(_node, raw, f"in $.Nodes.items[{number}]: ").metadata.name


def _read(decoder: msgspec.json.Decoder[T], body: bytes | Raw, where: str = "") -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"{where}{error}") from error


# --- What is answered ------------------------------------------------------------------------------------------------


class _Names(Struct, gc=False, rename="pascal"):
    node_names: list[str]
    failed_and_unresolvable_nodes: Mapping[str, str]
    error: str = ""


class _Whole(Struct, gc=False, rename="pascal"):
    nodes: Nodes
    failed_and_unresolvable_nodes: Mapping[str, str]
    error: str = ""


class _Priority(Struct, gc=False, rename="pascal"):
    host: str
    score: int


class _Failed(Struct, gc=False, rename="pascal"):
    error: str


_encode = msgspec.json.Encoder().encode


def kept(request: Candidates, names: list[str], failed: Mapping[str, str]) -> bytes:
    """The nodes that fit, in the form in which they came; and why others do not.

    Nodes fail as unresolvable: evicting somebody by the rules of plain Kubernetes would not free a share.
    """
    if request.whole is None:
        return _encode(_Names(names, failed))
    return _encode(_Whole(Nodes([request.whole[name] for name in names]), failed))


def priorities(scores: Mapping[str, int]) -> bytes:
    """HostPriorityList."""
    return _encode([_Priority(host, score) for host, score in scores.items()])


def failed(error: str) -> bytes:
    """A filter or a bind that did not succeed; the text is shown to whoever looks at the pod. Empty: a bind that did."""
    return _encode(_Failed(cut(error)))


def cut(text: str) -> str:
    """What names a value of the user's may be as long as that, and is written down at every try."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
