"""Pods bound per second by a real kube-scheduler on a real API server: plain, by an extender that does nothing, by ours.

All take turns in one run, on the same nodes. Pods are made first, then the scheduler is started, and the rate is that of the
Bindings in the API server's audit log; so neither making pods nor the start counts. kube-scheduler's configuration is what
``hami scheduler config`` prints, with its extender left out, or replaced: client, election and profile are the same for all.
The extender that does nothing is not asked to prioritize, which is one request less for each pod.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import yaml
from attrs import define, field, frozen

from bench.interleave import Measured, Row, ratio
from bench.scheduling import nothing
from bench.standin.server import ROOT
from tests.cluster.scheduling import CORES, GPU, GROUPS, MEMORY, USER, Pair, a_pod, hami, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.audit import Entry

PLAIN, NOTHING, OURS, ALONE = (
    "plain kube-scheduler",
    "an extender that does nothing",
    "hami",
    "hami, nodesReturned 1",
)
SHARE = {GPU: 1, MEMORY: 3000, CORES: 30}
HOST = "bench"
ANSWERED = b'"ResponseComplete"'
SECONDS = 900.0


@frozen
class Turn:
    """What one contestant took for its pods."""

    pods: int
    seconds: float  # from the first Binding to the last
    writes: int = 0  # of our extender, about these pods
    requests: int = 0

    @property
    def rate(self) -> float:
        """Pods per second."""
        return (self.pods - 1) / self.seconds


@define(eq=False)
class Pace:
    """On one control plane full of nodes."""

    plane: ControlPlane
    rounds: int
    _turn: int = field(default=0, init=False)

    def rows(self, subject: str, pods: int, share: int) -> Iterator[Row]:
        """All contestants, by turns. ``share``: percentageOfNodesToScore, 0 for kube-scheduler's own choice."""
        pair = Pair(self.plane, HOST, f"scheduler.kubeScheduler.percentageOfNodesToScore={share}")
        alone = Pair(self.plane, HOST, f"{pair.sets},scheduler.extender.nodesReturned=1")
        ways: dict[str, Callable[[], Turn]] = {
            PLAIN: lambda: self._plain(pods, pair),
            NOTHING: lambda: self._nothing(pods, pair),
            OURS: lambda: self._ours(pods, pair),
            ALONE: lambda: self._ours(pods, alone),
        }
        turns: dict[str, list[Turn]] = {name: [] for name in ways}
        for number in range(self.rounds):
            order = [*ways][number % len(ways) :] + [*ways][: number % len(ways)]
            for name in order:
                turns[name].append(ways[name]())
        rates = {name: Measured([one.rate for one in taken]) for name, taken in turns.items()}
        yield Row(subject, PLAIN, rates[PLAIN], unit="pods/s")
        for name in (NOTHING, OURS, ALONE):
            yield Row(subject, name, rates[name], PLAIN, ratio(rates[name], rates[PLAIN]), unit="pods/s")
        asked = {
            "writes": [one.writes / one.pods for one in turns[OURS]],
            "requests": [one.requests / one.pods for one in turns[OURS]],
        }
        for what, values in asked.items():
            yield Row(subject, f"{OURS}, {what} to the API server", Measured(values), unit="/pod")

    # --- The contestants. ---

    def _plain(self, pods: int, pair: Pair) -> Turn:
        return self._bound(pods, {GPU: 1}, {**_configuration(pair), "extenders": []})

    def _nothing(self, pods: int, pair: Pair) -> Turn:
        port = self.plane.ports["nothing"]
        command = nothing.command(port, self.plane.kubeconfig(USER, *GROUPS))
        program = self.plane.run("nothing", command, cwd=ROOT)
        configuration = _configuration(pair)
        (extender,) = configuration["extenders"]
        del extender["prioritizeVerb"], extender["weight"]
        extender["urlPrefix"] = f"http://127.0.0.1:{port}"
        try:
            return self._bound(pods, SHARE, configuration)
        finally:
            program.stop()

    def _ours(self, pods: int, pair: Pair) -> Turn:
        pair.start_extender()
        try:
            return self._bound(pods, SHARE, _configuration(pair))
        finally:
            pair.stop()

    # --- One turn. ---

    def _bound(self, pods: int, limits: dict[str, Any], configuration: dict[str, Any]) -> Turn:
        self._turn += 1
        api, namespace = self.plane.api(), f"turn-{self._turn}"
        self.plane.make_namespace(namespace)
        path = f"/api/v1/namespaces/{namespace}/pods"
        api.each(lambda n: api.create(path, a_pod(f"p{n}", limits)), range(pods))
        name = f"scheduler-{self._turn}"
        scheduler = self.plane.start_scheduler(configuration, name=name, host=HOST, user=USER, groups=GROUPS)
        try:
            entries = wait_for(lambda: self._all(namespace, pods), f"{pods} bound", SECONDS)
        finally:
            scheduler.stop()
        api.delete(path, gracePeriodSeconds="0")
        moments = sorted(datetime.fromisoformat(one.answered).timestamp() for one in entries)
        mine = [one for one in self.plane.audited() if one.namespace == namespace and one.agent.startswith("hami/")]
        return Turn(pods, moments[-1] - moments[0], sum(one.writes for one in mine), len(mine))

    def _all(self, namespace: str, pods: int) -> list[Entry] | None:
        """The Bindings of a namespace, when they are all there."""
        time.sleep(0.5)  # reading the log costs the processors that are being measured
        if sum(1 for _ in _lines(self.plane.audit_log, namespace)) < pods:
            return None
        found = [one for one in self.plane.audited() if one.namespace == namespace and one.resource == "pods/binding"]
        done = [one for one in found if one.status == 201]
        return done if len(done) >= pods else None


def _configuration(pair: Pair) -> dict[str, Any]:
    return dict(yaml.safe_load(hami("scheduler", "config", sets=pair.settings)))


def _lines(log: Path, namespace: str) -> Iterator[bytes]:
    needle = f"/namespaces/{namespace}/pods/".encode()
    with log.open("rb") as lines:
        yield from (line for line in lines if needle in line and b"/binding" in line and ANSWERED in line)
