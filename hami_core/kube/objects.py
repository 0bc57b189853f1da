"""What we keep of Kubernetes' objects: lean shapes that msgspec decodes; every other field is skipped, not refused.

Structs without garbage collection (they hold no cycles): 50,000 pods as dicts cost seconds of collection alone.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

Texts = dict[str, str]


class Meta(Struct, gc=False, rename="camel"):
    """Who an object is, and its version."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: Texts | None = None
    annotations: Texts | None = None
    deletion_timestamp: str | None = None


class PodSpec(Struct, gc=False, rename="camel"):
    """Where a pod is bound to; empty: nowhere yet."""

    node_name: str = ""


class PodStatus(Struct, gc=False):
    """A pod's phase: Pending, Running, Succeeded, Failed, Unknown."""

    phase: str = ""


class Pod(Struct, gc=False):
    """A pod as a ledger needs it: its grant is in its annotations."""

    metadata: Meta
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class Node(Struct, gc=False):
    """A node: its devices are in its annotations."""

    metadata: Meta


class QuotaSpec(Struct, gc=False):
    """Limits by name (``limits.nvidia.com/gpumem``), quantities as text."""

    hard: Texts | None = None


class ResourceQuota(Struct, gc=False):
    """One quota of a namespace."""

    metadata: Meta
    spec: QuotaSpec = field(default_factory=QuotaSpec)


class LeaseSpec(Struct, gc=False, rename="camel"):
    """Who leads, and how often that has changed: together they name one leadership."""

    holder_identity: str | None = None
    lease_transitions: int | None = None


class Lease(Struct, gc=False):
    """A leader election's record."""

    metadata: Meta
    spec: LeaseSpec = field(default_factory=LeaseSpec)


class Secret(Struct, gc=False):
    """A Secret; its data in base64."""

    metadata: Meta
    data: Texts | None = None


class Status(Struct, gc=False):
    """Kubernetes' answer to what went wrong (``kind: Status``)."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: Any = None
