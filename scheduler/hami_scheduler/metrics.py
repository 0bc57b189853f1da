"""What is counted, by Prometheus' conventions: the scheduler's own work, and sums by node and namespace.

The names of HAMi's gauges are kept; ratios are 0 to 1. A page of every device of a large cluster is megabytes, so devices have
a page of their own (/metrics/devices), and nodes and namespaces are on the first. Their lines are written here: 20,000 samples
through the client library take longer than the scrape may.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from hami_scheduler.leadership import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from prometheus_client.core import Metric

    from hami_core.kube.watches import Health
    from hami_core.table import NodeTable
    from hami_scheduler.cluster import Cluster
    from hami_scheduler.following import Follower
    from hami_scheduler.tallies import NodeSums

MIB = 1 << 20
PERCENT = 100
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LINES = 1000  # at a time: they take 2 ms
_FAST = (0.0005, 0.001, 0.002, 0.003, 0.006, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
_WRITES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Work:
    """Counters and histograms of what the scheduler does."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each, with the time of its making
        self.registry = CollectorRegistry()
        self.decisions = Counter(
            "hami_scheduler_decisions",
            "Answers to filter: fits (a node is kept), waits (none is), foreign (the pod asks nothing of ours), unprepared "
            "(admission has not prepared it), failed.",
            ["outcome"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "hami_scheduler_node_refusals", "Nodes refused by pods that wait, by reason.", ["reason"], registry=self.registry
        )
        self.requests = Histogram(
            "hami_scheduler_request_duration_seconds",
            "Requests of kube-scheduler by verb and HTTP status.",
            ["verb", "code"],
            buckets=_FAST,
            registry=self.registry,
        )
        self.binds = Counter(
            "hami_scheduler_binds",
            "Binds by outcome: bound, unknown (the answer was lost), or why they were refused.",
            ["outcome"],
            registry=self.registry,
        )
        self.resolved = Counter(
            "hami_scheduler_binds_resolved",
            "Binds of unknown outcome that became known, by what it was.",
            ["outcome"],
            registry=self.registry,
        )
        self.bound = Histogram(
            "hami_scheduler_bind_duration_seconds",
            "From bind to the API server's answer, of binds that succeeded.",
            buckets=_WRITES,
            registry=self.registry,
        )
        self.writes = Counter(
            "hami_scheduler_api_writes",
            "Writes to the API server by what was written and its outcome.",
            ["what", "outcome"],
            registry=self.registry,
        )
        self.expired = Counter(
            "hami_scheduler_holds_expired", "Holds between filter and bind whose bind never came.", registry=self.registry
        )
        self.leaderships = Counter("hami_scheduler_leaderships", "Leaderships gained.", registry=self.registry)
        self._build()

    def wrote(self, what: str, outcome: str) -> None:
        """A write to the API server is over. Any thread may say so."""
        self.writes.labels(what, outcome).inc()

    def _build(self) -> None:
        build = Gauge("hami_build_info", "1, with the version.", ["version"], registry=self.registry)
        build.labels(version("hami-scheduler")).set(1)


class Standing:
    """Collects how things stand at the moment of the scrape: what is gone is gone from the page."""

    def __init__(self, cluster: Cluster, follower: Follower, health: Callable[[], Iterable[Health]]) -> None:
        self._cluster, self._follower, self._health = cluster, follower, health

    def collect(self) -> Iterator[Metric]:
        """As the client library asks."""
        yield GaugeMetricFamily("hami_scheduler_leading", "1 while this scheduler decides.", int(self._follower.state.leading))
        phases = _labelled("hami_scheduler_phase", "1 for the phase of leadership it is in.", ["phase"])
        for phase in Phase:
            phases.add_metric([phase.value], int(self._follower.state.phase is phase))
        yield phases
        yield from self._books()
        yield from self._watches()

    def _books(self) -> Iterator[Metric]:
        counts = self._cluster.counts()
        for name, text in _COUNTS.items():
            yield GaugeMetricFamily(f"hami_scheduler_{name}", text, getattr(counts, name))
        holds = _labelled("hami_scheduler_holds", "Holdings that no watch has confirmed yet, by stage.", ["stage"])
        for stage in ("likely", "binding", "unknown", "bound"):
            holds.add_metric([stage], getattr(counts, stage))
        yield holds

    def _watches(self) -> Iterator[Metric]:
        lists = CounterMetricFamily("hami_scheduler_lists", "Full lists of a resource.", labels=["resource"])
        silent = _labelled("hami_scheduler_watch_silence_seconds", "Since the API server was last heard.", ["resource"])
        for one in self._health():
            lists.add_metric([one.name], one.lists)
            if one.silent is not None:
                silent.add_metric([one.name], one.silent)
        yield lists
        yield silent


_COUNTS = {
    "nodes": "Nodes that are known.",
    "nodes_with_devices": "Nodes that have published devices.",
    "closed_nodes": "Nodes with a grant that cannot be read: nothing new goes there.",
    "devices": "Devices of all nodes.",
    "pods": "Pods that admission has prepared, bound or not.",
    "waiting": "Pods that no node could hold when they were last tried.",
    "holdings": "Pods that hold shares, by their own annotations.",
    "unreadable_grants": "Grants that cannot be read.",
    "unreadable_inventories": "Inventories of nodes that cannot be read.",
}


def _labelled(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


# --- Pages -----------------------------------------------------------------------------------------------------------


async def page(work: Work, cluster: Cluster) -> Sequence[bytes]:
    """Everything but single devices, in parts."""
    standing = generate_latest(work.registry)
    return standing, *await _parts(chain(_nodes(cluster), _namespaces(cluster), _quotas(cluster)))


async def devices(cluster: Cluster) -> Sequence[bytes]:
    """Every device of every node, in parts."""
    return await _parts(_devices([_Seen(*key, table) for key, table in cluster.tables.items()]))


async def _parts(lines: Iterator[str]) -> Sequence[bytes]:
    """A thousand lines each. After each of them decisions have their turn, and change the books: lines are made of copies."""
    parts = []
    while part := "".join(islice(lines, LINES)):
        parts.append(part.encode())
        await asyncio.sleep(0)
    return parts


_NODE = {
    "hami_gpu_memory_limit_bytes": "Device memory that may be handed out, by node.",
    "hami_gpu_memory_allocated_bytes": "Device memory that is granted, by node.",
    "hami_gpu_core_allocated_ratio": "Granted part of the devices' cores, 0 to 1, by node.",
    "hami_gpu_shared_count": "Grants on the devices, by node.",
}
_DEVICE = {
    "hami_gpu_memory_limit_bytes": "Memory of a device that may be handed out.",
    "hami_gpu_memory_allocated_bytes": "Memory of a device that is granted.",
    "hami_gpu_core_limit_ratio": "Cores of a device that may be reserved, 1 for one whole device.",
    "hami_gpu_core_allocated_ratio": "Cores of a device that are reserved.",
    "hami_gpu_shared_count": "Grants on a device.",
    "hami_node_gpu_memory_allocated_ratio": "Granted part of a device's memory, 0 to 1.",
}


def _nodes(cluster: Cluster) -> Iterator[str]:
    sums = [(one, _figures(one)) for one in cluster.by_node()]
    for place, (name, text) in enumerate(_NODE.items()):
        yield _head(name, text)
        for one, figures in sums:
            end = f'",kind="{_escaped(one.kind)}",splitting="{_escaped(one.splitting)}"}} '
            begin = f'{name}{{node="'
            for node, number, value in zip(one.nodes, one.devices.tolist(), figures[place], strict=True):
                if number:
                    yield f"{begin}{node}{end}{value}\n"


def _figures(one: NodeSums) -> tuple[Sequence[float], ...]:
    """In the order of ``_NODE``."""
    ratio = (one.cores_used / one.cores.clip(min=1)).round(4)
    return (one.memory * MIB).tolist(), (one.memory_used * MIB).tolist(), ratio.tolist(), one.slots_used.tolist()


class _Seen:
    """The devices of a kind, split in one way, at one moment."""

    def __init__(self, kind: str, splitting: str, table: NodeTable) -> None:
        rows = np.flatnonzero(table.present.any(axis=1))  # indexed by it, a column is a copy
        self.labels = f'kind="{_escaped(kind)}",splitting="{_escaped(splitting)}"'
        self.nodes, self.devices = [[column[n] for n in rows.tolist()] for column in (table.nodes, table.devices)]
        self.models, self.model = [_escaped(model) for model in table.models], table.model[rows]
        memory, used = table.memory[rows], table.memory_used[rows]
        self.columns: Sequence[NDArray[Any]] = (  # in the order of _DEVICE
            memory * MIB,
            used * MIB,
            table.cores[rows] / PERCENT,
            table.cores_used[rows] / PERCENT,
            table.slots_used[rows],
            (used / memory.clip(min=1)).round(4),
        )

    def who(self) -> Iterator[Sequence[str]]:
        """The labels of every node's devices."""
        for node, ids, chosen in zip(self.nodes, self.devices, self.model, strict=True):
            yield [
                f'{{node="{node}",device_uuid="{_escaped(device)}",device_index="{w}",'
                f'device_type="{self.models[chosen[w]]}",{self.labels}}}'
                for w, device in enumerate(ids)
            ]


def _devices(found: Sequence[_Seen]) -> Iterator[str]:
    for place, (name, text) in enumerate(_DEVICE.items()):
        yield _head(name, text)
        for one in found:
            for labels, values in zip(one.who(), one.columns[place], strict=True):
                for who, value in zip(labels, values.tolist(), strict=False):  # a row is as wide as the widest node
                    yield f"{name}{who} {value}\n"


def _namespaces(cluster: Cluster) -> Iterator[str]:
    held = [
        (f'{{namespace="{namespace}",kind="{_escaped(kind)}"}}', used)
        for (namespace, kind), used in cluster.by_namespace().items()
    ]
    yield _head("hami_vgpu_memory_allocated_bytes", "Device memory that the pods of a namespace hold.")
    yield from (f"hami_vgpu_memory_allocated_bytes{who} {memory * MIB}\n" for who, (_, memory, _) in held)
    yield _head("hami_vgpu_core_allocated_ratio", "Device cores that the pods of a namespace hold, 1 for one whole device.")
    yield from (f"hami_vgpu_core_allocated_ratio{who} {cores / PERCENT}\n" for who, (_, _, cores) in held)
    yield _head("hami_vgpu_devices_allocated", "Shares of devices that the pods of a namespace hold.")
    yield from (f"hami_vgpu_devices_allocated{who} {count}\n" for who, (count, _, _) in held)


def _quotas(cluster: Cluster) -> Iterator[str]:
    known = [
        (f'{{namespace="{one.namespace}",quota_name="{one.limit.quota}",limit="{_escaped(one.limit.key)}"}}', one)
        for one in cluster.quotas()
    ]
    yield _head("hami_resource_quota_limit", "What a quota allows, in its own unit.")
    yield from (f"hami_resource_quota_limit{who} {one.limit.amount}\n" for who, one in known)
    yield _head("hami_resource_quota_used", "What of it is used.")
    yield from (f"hami_resource_quota_used{who} {one.used}\n" for who, one in known)


def _head(name: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} gauge\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
