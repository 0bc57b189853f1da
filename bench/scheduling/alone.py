"""Our extender by itself, without kube-scheduler's part: start, filter over HTTP, scrape, memory. Each round is a new process.

It is measured from outside, as the process that it is; what it serves under is whoever starts it to say.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from attrs import define, field, frozen

from bench.interleave import Measured, Row, ratio
from bench.scheduling.pace import NOTHING, OURS, SHARE
from hami_core.kube.connection import connect
from hami_core.kube.listing import read_all
from hami_core.kube.objects import Node, Pod
from tests.cluster.scheduling import a_pod

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hami_core.testing.cluster.programs import Program

FILTERS, WARM, SCRAPES = 200, 5, 5  # of each round; the first filters are not counted
FILTER, FILTER_AT_WORST, SCRAPE = 3e-3, 6e-3, 0.1  # goals, in seconds
PAGE = 2.0  # goal, MB of a scrape
SECONDS = 120.0
LISTS = "the lists alone, decoded"


@frozen
class Goals:
    """What differs with the size of the cluster: seconds to leading, MiB."""

    start: float
    memory: float


@frozen(eq=False)
class Extender:
    """Our process and the one that does nothing, which runs already: ports, and the way to the API server of both."""

    program: Program
    port: int
    info: int
    nothing: int
    kubeconfig: Path
    pods: int  # running ones that it has to know of


def rows(subject: str, extender: Extender, names: Sequence[str], rounds: int, goals: Goals) -> Iterator[Row]:
    """What each round took. The first start of all, with cold files, is not counted."""
    found = Found()
    _start(extender)
    for _ in range(rounds):
        _round(extender, names, found)
    extender.program.stop()
    lists, start = Measured(found.lists), Measured(found.starts)
    begun = f"start to leading, {subject}"
    yield Row(begun, LISTS, lists)
    yield Row(begun, OURS, start, LISTS, ratio(start, lists), goals.start)
    yield Row(begun, f"{OURS}, processor time of it", Measured(found.busy))
    yield from _filter_rows(f"filter over HTTP, {len(names):,} names, {subject}", found)
    yield Row(f"scrape, {subject}", "time", Measured(found.scrapes), goal=SCRAPE)
    yield Row(f"scrape, {subject}", "size", Measured(found.pages), goal=PAGE, unit="MB")
    yield Row(f"memory, {subject}", "once it leads", Measured(found.leading), goal=goals.memory, unit="MiB")
    yield Row(f"memory, {subject}", "after filters and scrapes", Measured(found.memory), goal=goals.memory, unit="MiB")
    yield Row(f"memory, {subject}", "at most", Measured(found.peak), unit="MiB")


def _filter_rows(subject: str, found: Found) -> Iterator[Row]:
    percentiles = (("median", 50, FILTER), ("p99", 99, FILTER_AT_WORST))
    for name, percent, goal in percentiles:
        bare, ours = (Measured([_percentile(one, percent) for one in found.filters[who]]) for who in (NOTHING, OURS))
        baseline = f"{name}, {NOTHING}"
        yield Row(subject, baseline, bare)
        yield Row(subject, f"{name}, {OURS}", ours, baseline, ratio(ours, bare), goal)


def _percentile(seconds: Sequence[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


# --- A round ----------------------------------------------------------------------------------------------------------


@define
class Found:
    """A value for each round; of scrapes several."""

    lists: list[float] = field(factory=list)
    starts: list[float] = field(factory=list)
    busy: list[float] = field(factory=list)
    filters: dict[str, list[list[float]]] = field(factory=lambda: {NOTHING: [], OURS: []})
    scrapes: list[float] = field(factory=list)
    pages: list[float] = field(factory=list)
    leading: list[float] = field(factory=list)
    memory: list[float] = field(factory=list)
    peak: list[float] = field(factory=list)


def _round(extender: Extender, names: Sequence[str], found: Found) -> None:
    found.lists.append(_listed(extender))
    found.starts.append(_start(extender))
    found.busy.append(_busy(extender.program.pid))
    found.leading.append(_mebibytes(extender.program.pid, "VmRSS"))
    for who, taken in _filters(extender, names).items():
        found.filters[who].append(taken[WARM:])
    for _ in range(SCRAPES):
        began = time.perf_counter()
        page = _get(extender.info, "/metrics")
        found.scrapes.append(time.perf_counter() - began)
        found.pages.append(len(page) / 1e6)
    found.memory.append(_mebibytes(extender.program.pid, "VmRSS"))
    found.peak.append(_mebibytes(extender.program.pid, "VmHWM"))


def _listed(extender: Extender) -> float:
    """Seconds that our client takes for the same lists, one after the other, in this process."""
    connection = connect(extender.kubeconfig)
    began = time.perf_counter()
    pods = read_all(connection, "/api/v1/pods", Pod, {"labelSelector": "hami.io/prepared=true"})
    read_all(connection, "/api/v1/nodes", Node)
    taken = time.perf_counter() - began
    assert len(pods.objects) == extender.pods
    return taken


def _start(extender: Extender) -> float:
    """Seconds from the start of the process to its leading."""
    extender.program.kill()
    began = time.perf_counter()
    extender.program.start()
    extender.program.wait_until(lambda: _leads(extender.info), SECONDS, "leading")
    taken = time.perf_counter() - began
    held = next(line for line in _get(extender.info, "/metrics").splitlines() if line.startswith(b"hami_scheduler_holdings "))
    assert float(held.split()[1]) == extender.pods, held
    return taken


def _leads(port: int) -> bool:
    try:
        return bool(json.loads(_get(port, "/readyz"))["phase"] == "leading")
    except urllib3.exceptions.HTTPError:
        return False


def _get(port: int, path: str) -> bytes:
    return urllib3.request("GET", f"http://127.0.0.1:{port}{path}", retries=False, timeout=SECONDS).data


def _filters(extender: Extender, names: Sequence[str]) -> dict[str, list[float]]:
    """Seconds of each filter, by turns; the names are in another order each time, as kube-scheduler sends them."""
    pool, order = urllib3.PoolManager(), list(names)
    taken: dict[str, list[float]] = {NOTHING: [], OURS: []}
    for n in range(WARM + FILTERS):
        random.shuffle(order)
        body = json.dumps({"Pod": _pod(n), "Nodes": None, "NodeNames": order}).encode()
        for who, port in ((NOTHING, extender.nothing), (OURS, extender.port)):
            began = time.perf_counter()
            answer = pool.request("POST", f"http://127.0.0.1:{port}/filter", body=body)
            taken[who].append(time.perf_counter() - began)
            assert json.loads(answer.data)["NodeNames"], answer.data
    return taken


def _pod(n: int) -> dict[str, Any]:
    pod = a_pod(f"f{n}", SHARE)
    pod["metadata"] |= {"uid": f"uid-{n}", "namespace": "default", "resourceVersion": "1"}
    return pod


def _busy(pid: int) -> float:
    """Processor time so far, in seconds: on a machine that does something else too it says more than the clock."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime (proc(5))


def _mebibytes(pid: int, what: str) -> float:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status[what].split()[0]) / 1024
