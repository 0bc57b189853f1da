"""A first list and a watch at full speed from a replay server on loopback, against the official client's raw dicts.

50,000 pods of 3.4 KB and 5,000 nodes of 10 KB in pages of 500, and a watch that brings 20,000 pods, a chunk for each. How much
memory a list takes is seen in a fresh process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.interleave import Measured, Row, compare
from bench.standin import objects
from bench.standin.server import resource, running, serve
from hami_core import names
from hami_core.kube.connection import connect
from hami_core.kube.listing import PAGE, read_all
from hami_core.kube.objects import Node, Pod
from hami_core.kube.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_core.kube.connection import Connection

PODS, NODES, EVENTS = 50_000, 5_000, 20_000
ROUNDS = 3
LIST, WATCH = f"first list, {PODS:,} pods and {NODES:,} nodes", f"a watch, {EVENTS:,} events"
MIB = 1 << 20
GOAL = 200  # MiB that a first list may add to the process


def rows() -> list[Row]:
    """Both, and the memory beside them."""
    with running(__name__, "serve") as path:
        config = str(path)
        grown = json.loads(
            subprocess.run([sys.executable, "-m", __name__, "memory", config], capture_output=True, check=True).stdout
        )
        connection = connect(path)
        dicts = ("kubernetes, raw dicts", _listed_by_the_official_client(config))
        watched = ("kubernetes, raw dicts", _watched_by_the_official_client(config))
        return [
            *compare(LIST, dicts, {"hami_core.kube": (lambda: _listed(connection), 1.0)}, rounds=ROUNDS),
            Row(LIST, "memory, in the end", Measured([grown["grown"]]), unit="MiB"),
            Row(LIST, "memory, at most", Measured([grown["peak"]]), goal=GOAL, unit="MiB"),
            *compare(WATCH, watched, {"hami_core.kube": (lambda: _watched(connection), EVENTS / 60_000)}, rounds=ROUNDS),
        ]


# -------------------------------------------------------------------------------------------------------- candidates


def _listed(connection: Connection) -> tuple[list[Pod], list[Node]]:
    pods = read_all(connection, "/api/v1/pods", Pod)
    nodes = read_all(connection, "/api/v1/nodes", Node)
    assert (len(pods.objects), len(nodes.objects)) == (PODS, NODES)
    return pods.objects, nodes.objects


class _Counting:
    """A sink that stops its reflector after the last event."""

    def __init__(self) -> None:
        self.stop, self.events = threading.Event(), 0

    def replaced(self, objects: list[Pod]) -> None:
        """Nothing yet."""

    def changed(self, batch: list[tuple[str, Pod]]) -> None:
        """A number of them."""
        self.events += len(batch)
        if self.events == EVENTS:
            self.stop.set()


def _watched(connection: Connection) -> None:
    sink = _Counting()
    Reflector(connection, "/api/v1/watched", Pod, sink).run(sink.stop)
    assert sink.events == EVENTS


def _listed_by_the_official_client(config: str) -> Callable[[], object]:
    api = _official(config)

    def pages(ask: Callable[..., Any]) -> list[Any]:
        objects, more = [], None
        while more != "":
            page = json.loads(ask(limit=PAGE, _continue=more, _preload_content=False).data)
            objects += page["items"]
            more = page["metadata"].get("continue", "")
        return objects

    return lambda: (pages(api.list_pod_for_all_namespaces), pages(api.list_node))


def _watched_by_the_official_client(config: str) -> Callable[[], object]:
    from kubernetes import watch

    api = _official(config)

    def watched() -> None:
        official: Any = watch
        events = official.Watch().stream(api.list_namespaced_pod, "watched", resource_version="1", deserialize=False)
        for number, _ in enumerate(events, 1):
            if number == EVENTS:
                return

    return watched


def _official(config: str) -> Any:
    from kubernetes import client
    from kubernetes import config as configuration

    settings = client.Configuration()
    configuration.load_kube_config(config, client_configuration=settings)  # type: ignore[no-untyped-call]
    return client.CoreV1Api(client.ApiClient(settings))


# ------------------------------------------------------------------------------------------------------------ memory


def _memory(config: str) -> None:
    """Print how much a first list adds, in MiB: at its end, and at its worst moment."""
    connection = connect(Path(config))
    before = _status("VmRSS")
    kept = _listed(connection)
    print(json.dumps({"grown": _status("VmRSS") - before, "peak": _status("VmHWM") - before, "objects": len(kept)}))


def _status(name: str) -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024 / MIB


# ------------------------------------------------------------------------------------------------- what is listed


def _serve() -> None:
    pods = [_pod(number) for number in range(PODS)]
    nodes = [objects.node(number, {names.inventory_key("nvidia"): _inventory(number)}) for number in range(NODES)]
    watched = resource("PodList", [], [_pod(number, 10**6 + number) for number in range(EVENTS)])
    serve(
        {
            "/api/v1/pods": resource("PodList", pods),
            "/api/v1/nodes": resource("NodeList", nodes),
            "/api/v1/watched": watched,
            "/api/v1/namespaces/watched/pods": watched,  # where the official client looks
        }
    )


def _pod(number: int, version: int = 0) -> dict[str, Any]:
    device = f"GPU-{number:08x}-0000-0000-0000-000000000000"
    grant = f"hami-limits 1\ngrant {objects.uid(number)}/main\n[nvidia]\ndevice {device} memory=3145728000"
    annotations = {
        names.grant_key("main"): f"{grant} physical=17179869184 cores=30 context=268435456\npolicy=default\nend\n",
        names.visible_key("nvidia", "main"): device,
        names.TERM: "scheduler-0_5b1e/7",
    }
    return objects.pod(number, objects.node_name(number % NODES), annotations, version)


def _inventory(number: int) -> str:
    device = {"model": "NVIDIA A100-SXM4-80GB", "memory": 81920, "cores": 100, "slots": 10, "healthy": True, "numa": 0}
    links = {str(m): 12 for m in range(8)}
    devices = [{"id": f"GPU-{number:08x}-0000-0000-0000-{n:012d}", **device, "links": links} for n in range(8)]
    return json.dumps({"v": 1, "devices": devices})


if __name__ == "__main__":
    cast("Callable[..., None]", {"serve": _serve, "memory": _memory}[sys.argv[1]])(*sys.argv[2:])
