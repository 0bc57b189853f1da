"""Quotas of namespaces on devices: what ResourceQuota objects allow, what is used, what is left. Pure.

Names are Kubernetes' own: ``limits.`` or ``requests.`` before a kind's resource for memory (MiB), cores (percent) and count.
All quotas of a namespace hold, so the least counts. Memory and cores count what pods really take of devices: a percentage is
its MiB, and a pod's claim on a device the largest of its phases, as in the ledger. A limit that cannot be read allows nothing.
Scopes are not looked at: a quota with scopes holds for all pods of its namespace.
"""

from __future__ import annotations

from operator import add, sub
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import ledger
from hami_core.errors import QuantityError
from hami_core.quantity import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hami_core.kube.objects import ResourceQuota
    from hami_core.model import Holding, Kind, Share
    from hami_core.plugins import Catalogue

    Amounts = tuple[int, int, int]

ROLES = ("count", "memory", "cores")
"""What amounts are of, in their order. Units: devices, MiB, percent."""

NOTHING: Amounts = (0, 0, 0)
_UNITS = {"count": "", "memory": "MiB", "cores": ""}
_PREFIXES = ("limits.", "requests.")


@frozen
class Limit:
    """One number that a namespace may not pass, and where it is written. ``fault``: it cannot be read, in one sentence."""

    role: str
    amount: int
    quota: str
    key: str
    fault: str = ""

    @property
    def unit(self) -> str:
        """With a blank before it, where there is one."""
        return {"memory": " MiB", "cores": " %"}.get(self.role, "")


def amounts(shares: Sequence[Share]) -> dict[str, Amounts]:
    """By kind: how many devices, MiB and percent one pod takes."""
    taken: dict[str, Amounts] = {}
    if len({share.phases for share in shares}) == 1:  # nearly every pod: no phase is larger than another
        for share in shares:
            taken[share.kind] = _each(add, taken.get(share.kind, NOTHING), (1, share.memory, share.cores))
        return taken
    for (kind, _, _), claim in ledger.claims(shares).items():
        taken[kind] = _each(add, taken.get(kind, NOTHING), (claim.slots, claim.memory, claim.cores))
    return taken


def _each(what: Callable[[int, int], int], one: Amounts, other: Amounts) -> Amounts:
    return what(one[0], other[0]), what(one[1], other[1]), what(one[2], other[2])


class Usage:
    """What the holdings of every namespace take, by kind."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], Amounts] = {}

    def add(self, holding: Holding) -> None:
        """A holding comes."""
        self._change(add, holding)

    def remove(self, holding: Holding) -> None:
        """A holding that came goes."""
        self._change(sub, holding)

    def _change(self, what: Callable[[int, int], int], holding: Holding) -> None:
        for kind, taken in amounts(holding.shares).items():
            key = holding.namespace, kind
            left = _each(what, self._used.get(key, NOTHING), taken)
            if any(left):
                self._used[key] = left
            else:
                self._used.pop(key, None)

    def of(self, namespace: str, kind: str) -> Amounts:
        """What one namespace takes of one kind."""
        return self._used.get((namespace, kind), NOTHING)

    def items(self) -> Iterable[tuple[tuple[str, str], Amounts]]:
        """((namespace, kind), amounts), for all that take anything."""
        return self._used.items()


class Quotas:
    """The quotas of all namespaces, as far as they speak of our kinds."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._meant = dict(_names(catalogue))
        self._limits: dict[str, dict[str, tuple[Limit, ...]]] = {}  # namespace -> quota -> its limits
        self._least: dict[str, dict[str, tuple[Limit, ...]]] = {}  # namespace -> kind -> the least limit of each role

    def replaced(self, quotas: Sequence[ResourceQuota]) -> None:
        """These are all."""
        self._limits.clear()
        self._least.clear()
        for quota in quotas:
            self.put(quota)

    def put(self, quota: ResourceQuota) -> None:
        """A quota, new or changed."""
        own = self._limits.setdefault(quota.metadata.namespace, {})
        own[quota.metadata.name] = tuple(self._read(quota))
        self._counted(quota.metadata.namespace)

    def remove(self, quota: ResourceQuota) -> None:
        """A quota is gone."""
        self._limits.get(quota.metadata.namespace, {}).pop(quota.metadata.name, None)
        self._counted(quota.metadata.namespace)

    def limits(self, namespace: str, kind: str) -> Sequence[Limit]:
        """What a namespace may take of a kind; empty: as much as there is."""
        return self._least.get(namespace, {}).get(kind, ())

    def __iter__(self) -> Iterator[tuple[str, str, Limit]]:
        """(namespace, kind, limit) for every number of every quota."""
        return (
            (namespace, self._meant[limit.key][0], limit)
            for namespace, quotas in self._limits.items()
            for limits in quotas.values()
            for limit in limits
        )

    def faults(self) -> Iterator[tuple[str, str]]:
        """(namespace, sentence) for every limit that cannot be read."""
        return (
            (namespace, limit.fault)
            for namespace, quotas in self._limits.items()
            for limits in quotas.values()
            for limit in limits
            if limit.fault
        )

    def _read(self, quota: ResourceQuota) -> Iterator[Limit]:
        for key, text in (quota.spec.hard or {}).items():
            if key in self._meant:
                yield _limit(quota, key, text, self._meant[key][1])

    def _counted(self, namespace: str) -> None:
        least: dict[tuple[str, str], Limit] = {}
        for limit in (limit for limits in self._limits[namespace].values() for limit in limits):
            what = self._meant[limit.key]
            if what not in least or _tightness(limit) < _tightness(least[what]):
                least[what] = limit
        by_kind: dict[str, tuple[Limit, ...]] = {}
        for (kind, _), limit in sorted(least.items()):
            by_kind[kind] = (*by_kind.get(kind, ()), limit)
        self._least[namespace] = by_kind
        if not self._limits[namespace]:
            del self._limits[namespace], self._least[namespace]


def _tightness(limit: Limit) -> tuple[bool, int, str, str]:
    return not limit.fault, limit.amount, limit.quota, limit.key


def keys(catalogue: Catalogue) -> Iterator[str]:
    """Every name in a quota that is ours."""
    return (key for key, _ in _names(catalogue))


def _names(catalogue: Catalogue) -> Iterator[tuple[str, tuple[str, str]]]:
    """Every name in a quota that is ours -> (kind, role)."""
    for kind in catalogue.kinds:
        for role in ROLES:
            if name := _resource(kind, role):
                for prefix in _PREFIXES:
                    yield f"{prefix}{name}", (kind.name, role)


def _resource(kind: Kind, role: str) -> str | None:
    name: str | None = getattr(kind.resources, role)
    return name


def _limit(quota: ResourceQuota, key: str, text: str, role: str) -> Limit:
    name = quota.metadata.name
    try:
        return Limit(role, whole(text, _UNITS[role]), name, key)
    except QuantityError as error:
        where = f'ResourceQuota "{quota.metadata.namespace}/{name}", spec.hard'
        return Limit(role, 0, name, key, f"{where}: {key}: {error}; until then nothing new is granted in this namespace")


def refusal(limits: Sequence[Limit], used: Amounts, more: Amounts, namespace: str) -> str:
    """Why a namespace may not take so much more; empty if it may."""
    for limit in limits:
        if limit.fault:
            return limit.fault
        role = ROLES.index(limit.role)
        if more[role] and used[role] + more[role] > limit.amount:
            return (
                f'ResourceQuota "{namespace}/{limit.quota}": {limit.key}: {limit.amount}{limit.unit} allowed, '
                f"{used[role]}{limit.unit} used, {more[role]}{limit.unit} more asked"
            )
    return ""
