"""Pods bound per second by a real kube-scheduler on a real API server: plain, by an extender that does nothing, by ours.

All three take turns in one run, on the same nodes. Pods are made first, then the scheduler is started, and the rate is that of
the Bindings in the API server's audit log; so neither making pods nor the start counts. Beside it, of our extender alone:
filter over HTTP with all names, one scrape, memory, from its start to its leading, and what it asked of the API server.

``python -m bench.scheduler NODES PODS ROUNDS`` for other sizes than those of the table.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from attrs import frozen

from bench.interleave import Row, Timing
from hami_core.testing.cluster import ControlPlane, Options
from hami_core.testing.cluster.nodes import Simulated, publish
from tests.cluster.scheduling import CORES, GPU, GROUPS, MEMORY, USER, Pair, a_pod, hami, prepare, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hami_core.testing.cluster.audit import Entry

PLAIN, NOTHING, OURS = "plain kube-scheduler", "an extender that does nothing", "hami"
SAMPLING, ALL = "default sampling", "percentageOfNodesToScore 100"
SHARE = {GPU: 1, MEMORY: 3000, CORES: 30}
FILTERS = 200
MIB = 1 << 20


@frozen
class Sizes:
    """Of one run. ``all_nodes``: pods where kube-scheduler looks at all nodes, which takes it long."""

    nodes: int = 5000
    pods: int = 2000
    rounds: int = 3
    all_nodes: int = 500


def rows(sizes: Sizes | None = None) -> list[Row]:
    """The table; the single figures are printed beside it."""
    sizes = sizes or Sizes()
    with ControlPlane(options=Options(controllers=False, kwok=False)) as plane:
        bench = Bench(plane, sizes)
        found = [
            *bench.compared(SAMPLING, sizes.pods, 0),
            *bench.compared(ALL, min(sizes.pods, sizes.all_nodes), 100),
        ]
        bench.alone()
    return found


class Bench:
    """One control plane full of nodes."""

    def __init__(self, plane: ControlPlane, sizes: Sizes) -> None:
        self._plane, self._sizes, self._api = plane, sizes, plane.api()
        prepare(plane)
        simulated = Simulated()
        self._names = [f"node-{n:05}" for n in range(sizes.nodes)]
        publish(self._api, simulated, [simulated.node(name, memory=81920, model="NVIDIA H100") for name in self._names])
        self._turn = 0

    # --- Pods per second. ---

    def compared(self, subject: str, pods: int, share: int) -> Iterator[Row]:
        """The three, by turns."""
        ways: dict[str, Callable[[int, int], float]] = {PLAIN: self._plain, NOTHING: self._nothing, OURS: self._ours}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(self._sizes.rounds):
            order = [*ways][number % len(ways) :] + [*ways][: number % len(ways)]
            for name in order:
                seconds[name].append(ways[name](pods, share))
        what = f"one pod of {pods:,} bound, {self._sizes.nodes:,} nodes, {subject}"
        for name, taken in seconds.items():
            ratio = statistics.median(mine / plain for mine, plain in zip(taken, seconds[PLAIN], strict=True))
            print(f"{subject}: {name}: {1 / statistics.median(taken):.0f} pods/s, {1 / ratio:.2f} x plain")
            baseline = "" if name == PLAIN else PLAIN
            yield Row(what, name, Timing(taken), baseline, ratio if baseline else None)

    def _plain(self, pods: int, share: int) -> float:
        return self._bound(pods, {GPU: 1}, {"profiles": [{"schedulerName": "hami-scheduler"}], **_sampled(share)})

    def _nothing(self, pods: int, share: int) -> float:
        port = self._plane.ports["nothing"]
        kubeconfig = self._plane.kubeconfig(USER, *GROUPS)
        command = [sys.executable, "-m", "bench.scheduler", "nothing", str(port), str(kubeconfig)]
        program = self._plane.run("nothing", command, cwd=Path(__file__).parents[1])
        extender: dict[str, Any] = {"urlPrefix": f"http://127.0.0.1:{port}", "filterVerb": "filter", "bindVerb": "bind"}
        managed = [{"name": name, "ignoredByScheduler": name != GPU} for name in SHARE]
        extender |= {"nodeCacheCapable": True, "managedResources": managed, "weight": 1, "httpTimeout": "5s"}
        configuration = {
            "profiles": [{"schedulerName": "hami-scheduler"}],
            "extenders": [extender],
            **_sampled(share),
        }
        try:
            return self._bound(pods, SHARE, configuration)
        finally:
            program.stop()

    def _ours(self, pods: int, share: int) -> float:
        pair = Pair(self._plane, "bench", f"scheduler.kubeScheduler.percentageOfNodesToScore={share}")
        configuration = hami("scheduler", "config", sets=pair.settings)
        pair.start_extender()
        try:
            return self._bound(pods, SHARE, configuration, host="bench")
        finally:
            pair.plane[pair.extender].stop()

    def _bound(self, pods: int, limits: dict[str, Any], configuration: Any, host: str = "") -> float:
        """Seconds for one pod, from the first Binding to the last."""
        self._turn += 1
        namespace = f"turn-{self._turn}"
        self._plane.make_namespace(namespace)
        path = f"/api/v1/namespaces/{namespace}/pods"
        self._api.each(lambda n: self._api.create(path, a_pod(f"p{n}", limits)), range(pods))
        name = f"scheduler-{self._turn}"
        scheduler = self._plane.start_scheduler(configuration, name=name, host=host, user=USER, groups=GROUPS)
        try:
            entries = wait_for(lambda: self._all(namespace, pods), f"{pods} bound", 900)
        finally:
            scheduler.stop()
        moments = sorted(datetime.fromisoformat(one.answered).timestamp() for one in entries)
        if host:
            self._count(namespace, pods)
        self._api.delete(path, gracePeriodSeconds="0")
        return (moments[-1] - moments[0]) / (pods - 1)

    def _all(self, namespace: str, pods: int) -> list[Entry] | None:
        """The Bindings of a namespace, when they are all there."""
        time.sleep(0.5)  # reading the log costs the processors that are being measured
        if sum(1 for _ in _lines(self._plane.audit_log, namespace)) < pods:
            return None
        found = [one for one in self._plane.audited() if one.namespace == namespace and one.resource == "pods/binding"]
        done = [one for one in found if one.status == 201]
        return done if len(done) >= pods else None

    def _count(self, namespace: str, pods: int) -> None:
        """What our extender asked of the API server about these pods."""
        mine = [one for one in self._plane.audited() if one.namespace == namespace and one.agent.startswith("hami/")]
        writes = sum(one.writes for one in mine)
        print(f"requests of hami for {pods:,} pods: {writes:,} writes, {len(mine) - writes:,} reads")

    # --- Our extender alone. ---

    def alone(self) -> None:
        """Start, filter, scrape, memory."""
        pair = Pair(self._plane, "bench")
        pair.start()
        wait_for(pair.leads, "leading", 120)
        self._plane.kill(pair.extender)
        began = time.perf_counter()
        program = self._plane.restart(pair.extender)
        wait_for(pair.leads, "leading", 120)
        print(f"start to leading: {time.perf_counter() - began:.2f} s")
        filters = self._filters(self._plane.ports["bench-extender"])
        print(f"filter over HTTP, {len(self._names):,} names: median {filters[0]:.2f} ms, p99 {filters[1]:.2f} ms")
        began = time.perf_counter()
        page = pair.get("/metrics")
        print(f"scrape: {(time.perf_counter() - began) * 1000:.0f} ms, {len(page) / 1e6:.2f} MB")
        print(f"memory: {_resident(program.pid):.0f} MiB")
        pair.stop()

    def _filters(self, port: int) -> tuple[float, float]:
        """The names in another order each time, as kube-scheduler sends them."""
        pool = urllib3.PoolManager()
        taken = []
        for n in range(FILTERS):
            pod = a_pod(f"f{n}", SHARE)
            pod["metadata"] |= {"uid": f"uid-{n}", "namespace": "default", "resourceVersion": "1"}
            random.shuffle(self._names)
            body = json.dumps({"Pod": pod, "Nodes": None, "NodeNames": self._names}).encode()
            began = time.perf_counter()
            answer = pool.request("POST", f"http://127.0.0.1:{port}/filter", body=body)
            taken.append((time.perf_counter() - began) * 1000)
            assert json.loads(answer.data)["NodeNames"], answer.data
        return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


def _sampled(share: int) -> dict[str, int]:
    return {"percentageOfNodesToScore": share} if share else {}


def _lines(log: Path, namespace: str) -> Iterator[bytes]:
    needle = f"/namespaces/{namespace}/pods/".encode()
    with log.open("rb") as lines:
        yield from (line for line in lines if needle in line and b"/binding" in line)


def _resident(pid: int) -> float:
    """MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


# --- The extender that does nothing: it says yes to the first 16, and binds by one write. -----------------------------


def nothing(port: int, kubeconfig: str) -> None:
    """In a process of its own."""
    import msgspec

    from hami_core.kube import writes
    from hami_core.kube.connection import connect
    from hami_core.serving.exchange import Answer, Routes
    from hami_core.serving.server import Address, Server, ending
    from hami_scheduler import protocol

    connection, threads = connect(Path(kubeconfig)), ThreadPoolExecutor(16)

    async def filtered(body: bytes) -> Answer:
        request = protocol.asked(body)
        return Answer(protocol.kept(request, request.names[:16], {}))

    async def bound(body: bytes) -> Answer:
        one = protocol.binding(body)
        words: dict[str, Any] = {"namespace": one.namespace, "name": one.name, "uid": one.uid, "node": one.node}
        write = partial(writes.bind, connection, **words, annotations={})
        await asyncio.get_running_loop().run_in_executor(threads, write)
        return Answer(msgspec.json.encode({"Error": ""}))

    async def serve() -> None:
        app = Routes({"/filter": {"POST": filtered}, "/bind": {"POST": bound}}, 64 << 20)
        await Server(app, Address("127.0.0.1", port)).start()
        await ending().wait()

    import uvloop

    uvloop.run(serve())


def main(words: Sequence[str]) -> None:
    """As the module's docstring says."""
    if words[:1] == ["nothing"]:
        nothing(int(words[1]), words[2])
        return
    from bench.interleave import table

    print(table(rows(Sizes(*map(int, words)))))


if __name__ == "__main__":
    main(sys.argv[1:])
