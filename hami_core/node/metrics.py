"""What is counted, by Prometheus' conventions: the agent's own work, and how the node's devices stand at the scrape."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import Protocol

    from prometheus_client.core import Metric

    from hami_core.node import comparing, devices, kubelet

    class Node(Protocol):
        """What is told of one node."""

        @property
        def standing(self) -> devices.Standing: ...
        @property
        def cordoned(self) -> Collection[str]: ...
        @property
        def standings(self) -> Mapping[str, kubelet.Standing]: ...
        @property
        def compared(self) -> Mapping[str, comparing.Compared]: ...


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_QUESTIONS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0)
_ALLOCATE = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 5.0)


class Work:
    """Counters and histograms of what the agent does."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each, with the time of its making
        self.registry = CollectorRegistry()
        self._writes = Counter(
            "hami_node_api_writes",
            "Writes to the API server by what was written (node, event) and outcome.",
            ["what", "outcome"],
            registry=self.registry,
        )
        self._questions = Histogram(
            "hami_node_driver_question_duration_seconds",
            "Questions to drivers: discover, health.",
            ["question"],
            buckets=_QUESTIONS,
            registry=self.registry,
        )
        self.prepared = Histogram(
            "hami_node_prepare_duration_seconds",
            "What a container is given, by kind and outcome (ok, refused).",
            ["kind", "outcome"],
            buckets=_ALLOCATE,
            registry=self.registry,
        )
        self.removed = Counter(
            "hami_node_region_files_removed", "Files removed from the folders of regions.", registry=self.registry
        )
        Gauge("hami_build_info", "1, with the version.", ["version"], registry=self.registry).labels(version("hami-core")).set(
            1
        )

    def wrote(self, what: str, outcome: str) -> None:
        """A write to the API server is over."""
        self._writes.labels(what, outcome).inc()

    def asked(self, question: str, seconds: float) -> None:
        """A question to the drivers is over."""
        self._questions.labels(question).observe(seconds)

    def page(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)


class Standing:
    """Collects how things stand: what is gone is gone from the page."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """As the client library asks."""
        healthy = _labelled("hami_node_device_healthy", "1 if the device may carry something new, by its health.")
        cordoned = _labelled("hami_node_device_cordoned", "1 if the device is out of service by the node's annotation.")
        memory = _labelled("hami_node_device_memory_bytes", "Physical memory of the device.")
        for kind, found in self._node.standing.offered.items():
            for device in found.inventory.devices:
                labels = [kind, device.id, str(device.index), device.model]
                healthy.add_metric(labels, int(not device.sick))
                cordoned.add_metric(labels, int(device.id in self._node.cordoned))
                memory.add_metric(labels, device.memory << 20)
        yield from (healthy, cordoned, memory)
        registered = GaugeMetricFamily("hami_node_resource_registered", "1 while the kubelet knows it.", labels=["resource"])
        for name, one in self._node.standings.items():
            registered.add_metric([name], int(one.registered))
        yield registered
        text = "Containers by whether the kubelet's tokens are of the devices that they were granted."
        tokens = GaugeMetricFamily("hami_node_containers_by_tokens", text, labels=["kind", "tokens"])
        for kind, compared in self._node.compared.items():
            tokens.add_metric([kind, "of_the_grant"], compared.alike)
            tokens.add_metric([kind, "of_others"], compared.different)
        yield tokens


def _labelled(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["kind", "device_uuid", "device_index", "device_type"])
