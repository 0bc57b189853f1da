"""What is counted, by Prometheus' conventions: the scheduler's own work, and sums by node and namespace.

The names of HAMi's gauges are kept; ratios are 0 to 1. A page of every device of a large cluster is megabytes, so devices stand on
a page of their own (/metrics/devices) and nodes and namespaces on the first. Their lines are written here: 20,000 samples through
the client library take longer than the scrape may.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from hami_scheduler.leadership import Phase
from hami_scheduler.quota import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

    from hami_core.table import NodeTable
    from hami_scheduler.following import Follower, Health
    from hami_scheduler.state import State

MIB = 1 << 20
PERCENT = 100
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.0005, 0.001, 0.002, 0.003, 0.006, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
_WRITES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Work:
    """Counters and histograms of what the scheduler does."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decisions = Counter(
            "hami_scheduler_decisions",
            "Answers to filter: fits (a node is kept), waits (none is), foreign (the pod asks nothing of ours), failed.",
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
        build = Gauge("hami_build_info", "1, with the version.", ["version"], registry=self.registry)
        build.labels(version("hami-scheduler")).set(1)


class Standing:
    """Collects how things stand at the moment of the scrape: what is gone is gone from the page."""

    def __init__(
        self, state: State, follower: Follower, health: Callable[[], Iterable[Health]], waiting: Callable[[], int]
    ) -> None:
        self._state, self._follower, self._health, self._waiting = state, follower, health, waiting

    def collect(self) -> Iterator[Metric]:
        """As the client library asks."""
        yield _gauge("hami_scheduler_leading", "1 while this scheduler decides.", int(self._follower.state.leading))
        phases = _labelled("hami_scheduler_phase", "1 for the phase of leadership it is in.", ["phase"])
        for phase in Phase:
            phases.add_metric([phase.value], int(self._follower.state.phase is phase))
        yield phases
        yield _gauge("hami_scheduler_waiting_pods", "Pods that no node could hold when they were last tried.", self._waiting())
        yield from self._books()
        yield from self._watches()

    def _books(self) -> Iterator[Metric]:
        state = self._state
        yield _gauge("hami_scheduler_nodes", "Nodes that are known.", len(state.nodes))
        yield _gauge("hami_scheduler_holdings", "Pods that hold shares.", len(state.fleet.holdings()))
        holds = _labelled("hami_scheduler_holds", "Holdings that no watch has confirmed yet, by stage.", ["stage"])
        stages = [hold.stage.value for hold in (*state.holds.likely(), *state.holds.firm())]
        for stage in ("likely", "binding", "unknown", "bound"):
            holds.add_metric([stage], stages.count(stage))
        yield holds
        yield _gauge("hami_scheduler_closed_nodes", "Nodes with a grant that cannot be read: nothing goes there.", len(state.closed))
        faults = sum(map(len, state.inventory_faults.values()))
        yield _gauge("hami_scheduler_unreadable_inventories", "Inventories of nodes that cannot be read.", faults)

    def _watches(self) -> Iterator[Metric]:
        lists = CounterMetricFamily("hami_scheduler_lists", "Full lists of a resource.", labels=["resource"])
        silent = _labelled("hami_scheduler_watch_silence_seconds", "Since the API server was last heard.", ["resource"])
        for one in self._health():
            lists.add_metric([one.name], one.lists)
            if one.silent is not None:
                silent.add_metric([one.name], one.silent)
        yield lists
        yield silent


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)


def _labelled(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


# --- Pages -----------------------------------------------------------------------------------------------------------


def page(work: Work, state: State) -> bytes:
    """Everything but single devices."""
    lines = [*_nodes(state), *_namespaces(state), *_quotas(state)]
    return generate_latest(work.registry) + "".join(lines).encode()


def devices(state: State) -> bytes:
    """Every device of every node."""
    families: dict[str, list[str]] = {name: [] for name in _DEVICE}
    for (kind, splitting), table in state.tables.items():
        _devices(families, table, f'kind="{_escaped(kind)}",splitting="{_escaped(splitting)}"')
    lines = [_head(name, text) + "".join(families[name]) for name, text in _DEVICE.items()]
    return "".join(lines).encode()


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


def _nodes(state: State) -> Iterator[str]:
    tables = [(f'",kind="{_escaped(kind)}",splitting="{_escaped(splitting)}"}} ', one) for (kind, splitting), one in state.tables.items()]
    sums = [(labels, table, _sums(table)) for labels, table in tables]
    for place, (name, text) in enumerate(_NODE.items()):
        yield _head(name, text)
        for labels, table, (has, columns) in sums:
            begin = f'{name}{{node="'
            for node, there, value in zip(table.nodes, has, columns[place], strict=True):
                if there:
                    yield f"{begin}{node}{labels}{value:g}\n" if isinstance(value, float) else f"{begin}{node}{labels}{value}\n"


def _sums(table: NodeTable) -> tuple[list[bool], list[list[float]]]:
    """Whether a node has such devices, and its figures in the order of ``_NODE``."""
    cores = table.cores.sum(axis=1)
    used = table.cores_used.sum(axis=1)
    ratio = used / cores.clip(min=1)
    columns = [table.memory.sum(axis=1) * MIB, table.memory_used.sum(axis=1) * MIB, ratio, table.slots_used.sum(axis=1)]
    return table.present.any(axis=1).tolist(), [column.tolist() for column in columns]


def _devices(families: dict[str, list[str]], table: NodeTable, labels: str) -> None:
    columns = (
        (table.memory * MIB).tolist(),
        (table.memory_used * MIB).tolist(),
        (table.cores / PERCENT).tolist(),
        (table.cores_used / PERCENT).tolist(),
        table.slots_used.tolist(),
        (table.memory_used / table.memory.clip(min=1)).tolist(),
    )
    models = [_escaped(model) for model in table.models]
    chosen = table.model.tolist()
    for n, (node, ids) in enumerate(zip(table.nodes, table.devices, strict=True)):
        for w, device in enumerate(ids):
            who = f'{{node="{node}",device_uuid="{_escaped(device)}",device_index="{w}",device_type="{models[chosen[n][w]]}",{labels}}}'
            for (name, lines), column in zip(families.items(), columns, strict=True):
                lines.append(f"{name}{who} {column[n][w]:g}\n")


def _namespaces(state: State) -> Iterator[str]:
    held = [(f'{{namespace="{namespace}",kind="{_escaped(kind)}"}}', used) for (namespace, kind), used in state.usage.items()]
    yield _head("hami_vgpu_memory_allocated_bytes", "Device memory that the pods of a namespace hold.")
    yield from (f"hami_vgpu_memory_allocated_bytes{who} {memory * MIB}\n" for who, (_, memory, _) in held)
    yield _head("hami_vgpu_core_allocated_ratio", "Device cores that the pods of a namespace hold, 1 for one whole device.")
    yield from (f"hami_vgpu_core_allocated_ratio{who} {cores / PERCENT:g}\n" for who, (_, _, cores) in held)
    yield _head("hami_vgpu_devices_allocated", "Device shares that the pods of a namespace hold.")
    yield from (f"hami_vgpu_devices_allocated{who} {count}\n" for who, (count, _, _) in held)


def _quotas(state: State) -> Iterator[str]:
    limits = list(state.quotas.items())
    yield _head("hami_resource_quota_limit", "What a quota allows, in its own unit.")
    for namespace, _, limit in limits:
        yield f'hami_resource_quota_limit{{namespace="{namespace}",quota_name="{limit.quota}",limit="{_escaped(limit.key)}"}} {limit.amount}\n'
    yield _head("hami_resource_quota_used", "What of it is used.")
    for namespace, kind, limit in limits:
        used = state.used(namespace, kind)[ROLES.index(limit.role)]
        yield f'hami_resource_quota_used{{namespace="{namespace}",quota_name="{limit.quota}",limit="{_escaped(limit.key)}"}} {used}\n'


def _head(name: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} gauge\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
