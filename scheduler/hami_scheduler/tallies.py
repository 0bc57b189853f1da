"""Sums for metrics: a few numbers and columns, whatever the number of pods."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from hami_scheduler.holds import Stage
from hami_scheduler.quota import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hami_core.decision import Tables
    from hami_core.table import NodeTable
    from hami_scheduler.quota import Limit
    from hami_scheduler.state import State

    Numbers = NDArray[np.int64]


@frozen
class Counts:
    """How many there are. ``holdings``: confirmed by pods' annotations; ``likely`` to ``bound``: held by us alone, by stage."""

    nodes: int
    nodes_with_devices: int
    closed_nodes: int
    devices: int
    pods: int
    waiting: int
    holdings: int
    likely: int
    binding: int
    unknown: int
    bound: int
    unreadable_grants: int
    unreadable_inventories: int


@frozen(eq=False)
class NodeSums:
    """One kind split in one way, summed by node. Columns are (N,); units: devices, tasks, MiB, percent."""

    kind: str
    splitting: str
    nodes: Sequence[str]
    devices: Numbers
    slots: Numbers
    slots_used: Numbers
    memory: Numbers
    memory_used: Numbers
    cores: Numbers
    cores_used: Numbers


@frozen
class QuotaUse:
    """One number of a quota, and what of it is used."""

    namespace: str
    kind: str
    limit: Limit
    used: int


def quotas(state: State) -> Iterator[QuotaUse]:
    """Every limit of every quota."""
    for namespace, kind, limit in state.quotas:
        yield QuotaUse(namespace, kind, limit, state.used(namespace, kind)[ROLES.index(limit.role)])


def counts(state: State) -> Counts:
    """What the books know of; pods and waiting ones are others' to say."""
    by_stage = Counter(hold.stage for hold in (*state.holds.firm(), *state.holds.likely()))
    return Counts(
        nodes=len(state.nodes),
        nodes_with_devices=len(state.fleet.nodes()),
        closed_nodes=len(state.closed),
        devices=_devices(state.tables),
        pods=0,
        waiting=0,
        holdings=len(state.fleet.holdings()) - by_stage.total(),
        likely=by_stage[Stage.LIKELY],
        binding=by_stage[Stage.BINDING],
        unknown=by_stage[Stage.UNKNOWN],
        bound=by_stage[Stage.BOUND],
        unreadable_grants=len(state.unreadable),
        unreadable_inventories=sum(map(len, state.inventory_faults.values())),
    )


def _devices(tables: Tables) -> int:
    """Every device once: one of several splittings stands in several tables only if it may be cut in several ways."""
    by_kind: dict[str, int] = {}
    for (kind, _), table in tables.items():
        by_kind[kind] = max(by_kind.get(kind, 0), int(np.count_nonzero(table.present)))
    return sum(by_kind.values())


def by_node(tables: Tables) -> Sequence[NodeSums]:
    """The sums of every table."""
    return tuple(_sums(kind, splitting, table) for (kind, splitting), table in tables.items())


def _sums(kind: str, splitting: str, table: NodeTable) -> NodeSums:
    columns = ("slots", "slots_used", "memory", "memory_used", "cores", "cores_used")
    named = np.flatnonzero([bool(node) for node in table.nodes])  # the others are spare rows
    sums = {name: getattr(table, name).sum(axis=1, dtype=np.int64)[named] for name in columns}
    devices = table.present.sum(axis=1, dtype=np.int64)[named]
    return NodeSums(kind, splitting, tuple(filter(None, table.nodes)), devices, **sums)
