"""The scheduler's speed: pods bound per second on a real control plane, and our extender by itself in front of full clusters.

Both start from the same nodes. Full clusters, of one and of 20 running pods on every node, are a stand-in for the API server
that sends prepared bytes to the real process: 100,000 pods take a real one minutes to make. What a real one takes longer for
its lists is seen in the rows of the cluster without running pods, which is real.

``python -m bench scheduler nodes=50 pods=100 rounds=1`` for other sizes than those of the table.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.scheduling import alone, nothing
from bench.scheduling.alone import Extender, Goals
from bench.scheduling.pace import HOST, Pace
from bench.standin import cluster, objects, server
from bench.standin.server import ROOT
from hami_core.testing.cluster import ControlPlane, Options
from hami_core.testing.cluster.nodes import Simulated, publish
from hami_core.testing.cluster.ports import Ports
from hami_core.testing.cluster.programs import Program
from tests.cluster.scheduling import GROUPS, HAMI, USER, Pair, prepare, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.interleave import Row

EACH = {0: Goals(2.0, 200), 1: Goals(2.0, 200), 20: Goals(5.0, 500)}
"""Running pods on every node, and the goals at 5,000 nodes."""


def rows(nodes: int = 5000, pods: int = 2000, rounds: int = 3, all_nodes: int = 500) -> Iterator[Row]:
    """``all_nodes``: how many pods where kube-scheduler looks at all nodes, which takes it long."""
    names = [objects.node_name(n) for n in range(nodes)]
    with _plane(names) as plane:
        pace = Pace(plane, rounds)
        yield from pace.rows(f"{pods:,} pods bound, {nodes:,} nodes, default sampling", pods, 0)
        some = min(pods, all_nodes)
        yield from pace.rows(f"{some:,} pods bound, {nodes:,} nodes, percentageOfNodesToScore 100", some, 100)
        yield from _empty(plane, names, rounds)
    for each, goals in EACH.items():
        if each:
            yield from _full(names, each, rounds, goals)


# --- On a real API server ---------------------------------------------------------------------------------------------


@contextmanager
def _plane(names: list[str]) -> Iterator[ControlPlane]:
    simulated = Simulated()
    with ControlPlane(options=Options(controllers=False, kwok=False)) as plane:
        prepare(plane)
        fleet = [simulated.node(name, memory=cluster.MEMORY, model=cluster.MODEL) for name in names]
        publish(plane.api(), simulated, fleet)
        yield plane


def _empty(plane: ControlPlane, names: list[str], rounds: int) -> Iterator[Row]:
    """No pod runs. kube-scheduler does, as its Lease has to name us."""
    pair, kubeconfig, ports = Pair(plane, HOST), plane.kubeconfig(USER, *GROUPS), plane.ports
    pair.start()
    wait_for(pair.leads, "leading", alone.SECONDS)
    plane.run("nothing", nothing.command(ports["nothing"], kubeconfig), cwd=ROOT)
    mine, info = ports[f"{HOST}-extender"], ports[f"{HOST}-info"]
    extender = Extender(plane[pair.extender], mine, info, ports["nothing"], kubeconfig, 0)
    yield from alone.rows(f"{len(names):,} nodes, real API server", extender, names, rounds, EACH[0])
    plane["nothing"].stop()
    pair.stop()


# --- On a stand-in ----------------------------------------------------------------------------------------------------


def _full(names: list[str], each: int, rounds: int, goals: Goals) -> Iterator[Row]:
    pods = len(names) * each
    with _standing_in(len(names), each) as extender:
        yield from alone.rows(f"{len(names):,} nodes, {pods:,} running pods", extender, names, rounds, goals)


@contextmanager
def _standing_in(nodes: int, each: int) -> Iterator[Extender]:
    ports = Ports()
    mine, info, other = (ports[name] for name in ("extender", "info", "nothing"))
    addresses = {"scheduler.extender.bindAddress": mine, "scheduler.metricsBindAddress": info}
    sets = [f"scheduler.identity={cluster.HOST}", *(f"{path}=127.0.0.1:{port}" for path, port in addresses.items())]
    with tempfile.TemporaryDirectory() as folder, server.running(cluster.__name__, str(nodes), str(each)) as kubeconfig:
        serve = (HAMI, "scheduler", "serve", "--kubeconfig", str(kubeconfig))
        log = Path(folder)
        ours = Program("hami", serve, log / "hami.log", env={"HAMI_SET": ",".join(sets)})
        bare = Program("nothing", nothing.command(other, kubeconfig), log / "nothing.log", cwd=ROOT)
        bare.start()
        try:
            yield Extender(ours, mine, info, other, kubeconfig, nodes * each)
        finally:
            ours.kill()
            bare.kill()
            ports.release()
