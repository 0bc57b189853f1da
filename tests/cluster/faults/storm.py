"""A storm: pods come and go all the time while everything that may go wrong does, by chance.

*Weather* is what goes wrong between the extender and the API server, and who is killed. The *crowd* is the pods: random shares,
more than there is room for, deleted, completed and left to terminate. Both are thrown by one seed each.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from attrs import define, field

from hami_core.testing.cluster.api import ApiRefused
from tests.cluster.faults.mischief import (
    ClosedWatch,
    Delay,
    Drip,
    Fault,
    HalfAnswer,
    Instead,
    LateAnswer,
    LostAnswer,
    LostRequest,
)
from tests.cluster.faults.scene import NOW
from tests.cluster.scheduling import CORES, GPU, MEMORY, a_pod, wait_for

if TYPE_CHECKING:
    from tests.cluster.faults.mischief import Rule
    from tests.cluster.faults.scene import Behind, Scene

BINDING, WATCH, LIST = "/binding", "watch=", r"/api/v1/(pods|nodes|resourcequotas)\?(?!.*watch=)"
DECISIONS = "hami_scheduler_decisions_total{"
WEATHER: tuple[tuple[str, str, str, Fault, float], ...] = (
    ("the request is lost", "POST", BINDING, LostRequest(), 0.02),
    ("the answer is lost", "POST", BINDING, LostAnswer(), 0.03),
    ("the answer breaks off", "POST", BINDING, HalfAnswer(), 0.01),
    ("the request is late", "POST", BINDING, Delay(0.1, 3.0), 0.03),
    ("the answer comes too late", "POST", BINDING, LateAnswer(5.0), 0.003),
    ("the answer drips", "POST", BINDING, Drip(0.002), 0.01),
    ("409", "POST", BINDING, Instead(409), 0.02),
    ("429", "POST", BINDING, Instead(429, retry_after=1), 0.02),
    ("500", "POST", BINDING, Instead(500), 0.02),
    ("503", "POST", BINDING, Instead(503), 0.02),
    ("a watch is closed", "GET", WATCH, ClosedWatch(2.0), 0.3),
    ("a watch is answered 410", "GET", WATCH, Instead(410), 0.1),
    ("a watch is answered 500", "GET", WATCH, Instead(500), 0.1),
    ("a list is answered 429", "GET", LIST, Instead(429, retry_after=1), 0.1),
    ("a list is answered 500", "GET", LIST, Instead(500), 0.1),
    ("a list breaks off", "GET", LIST, HalfAnswer(), 0.1),
)


@define(eq=False)
class Weather:
    """What befalls one pair, from ``__enter__`` to ``__exit__``; then all is well again, and it leads."""

    pair: Behind
    seed: int
    pause: float = 8.0  # seconds between two blows, on average
    blows: Counter[str] = field(factory=Counter, init=False)
    _rules: list[tuple[str, Rule]] = field(factory=list, init=False)
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        for name, method, target, fault, chance in WEATHER:
            self._rules.append((name, self.pair.proxy.when(method, target, fault, chance=chance)))
        self._thread = threading.Thread(target=self._blow, name="weather")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.pair.proxy.calm()
        self.pair.proxy.cut_connections()  # what hangs in the air is over
        for name, rule in self._rules:
            self.blows[name] += rule.hits

    def _blow(self) -> None:
        dice = random.Random(self.seed)
        blows = (self._gone, self._cut, self._freeze, self._close, self._kill, self._pause, self._kill_kube_scheduler)
        weights = (3, 4, 3, 4, 4, 2, 1)
        while not self._stop.wait(dice.uniform(0.5, 1.5) * self.pause):
            dice.choices(blows, weights)[0](dice)

    def _gone(self, dice: random.Random) -> None:
        self.blows["the API server is gone for seconds"] += 1
        with self.pair.proxy.gone():
            self._stop.wait(dice.uniform(0.2, 4))

    def _cut(self, _: random.Random) -> None:
        self.blows["all connections break"] += 1
        self.pair.proxy.cut_connections()

    def _freeze(self, dice: random.Random) -> None:
        self.blows["watches say nothing for seconds"] += 1
        self.pair.proxy.freeze_watches()
        self._stop.wait(dice.uniform(0.5, 4))
        self.pair.proxy.thaw_watches()

    def _close(self, _: random.Random) -> None:
        self.blows["all watches are closed"] += 1
        self.pair.proxy.close_watches()

    def _kill(self, _: random.Random) -> None:
        self.blows["the extender is killed"] += 1
        self.pair.restart_extender()
        begun = time.monotonic()
        while not self.pair.leads() and time.monotonic() < begun + 10 and not self._stop.wait(0.1):
            pass

    def _pause(self, dice: random.Random) -> None:
        self.blows["the extender stands still for seconds"] += 1
        extender = self.pair.plane[self.pair.extender]
        extender.send(signal.SIGSTOP)
        self._stop.wait(dice.uniform(0.2, 4))
        extender.send(signal.SIGCONT)

    def _kill_kube_scheduler(self, _: random.Random) -> None:
        self.blows["kube-scheduler is killed"] += 1
        scheduler = self.pair.plane[self.pair.scheduler]
        if scheduler.running:
            scheduler.send(signal.SIGKILL)  # the test's kubelet starts it again


@define(eq=False)
class Crowd:
    """Pods that come and go until so many decisions have been made about them."""

    scene: Scene
    pair: Behind
    seed: int
    waiting: int = 100  # at most so many without a node
    made: int = field(default=0, init=False)
    decisions: int = field(default=0, init=False)  # seen; those after the last look before a kill are not counted
    _told: int = field(default=0, init=False)
    ends: Counter[str] = field(factory=Counter, init=False)
    _dice: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def live(self, decisions: int) -> None:
        """Until so many have been seen."""
        while self.decisions < decisions:
            alive = self.scene.pods()
            bound = [pod for pod in alive if pod["spec"].get("nodeName")]
            room = self.waiting - (len(alive) - len(bound))
            if room > 0:
                self.scene.create(*(self._pod() for _ in range(room)))
            self._end(bound, max(room, self.waiting // 10))
            self._count()

    def _count(self) -> None:
        """A process that is started anew begins at nothing."""
        page = self.pair.get("/metrics").decode().splitlines()
        told = int(sum(float(line.split()[-1]) for line in page if line.startswith(DECISIONS)))
        if page:
            self.decisions += told - self._told if told >= self._told else told
            self._told = told

    def _pod(self) -> dict[str, Any]:
        dice, name = self._dice, f"storm-{self.made}"
        self.made += 1
        limits: dict[str, object] = {GPU: dice.choice((1, 1, 1, 1, 2)), MEMORY: dice.randrange(500, 9000, 500)}
        if dice.random() < 0.7:
            limits[CORES] = dice.choice((5, 10, 20, 30, 50, 100))
        more = {"init": {GPU: 1, MEMORY: dice.randrange(500, 9000, 500)}} if dice.random() < 0.1 else {}
        return a_pod(name, limits, **more)

    def _end(self, bound: list[dict[str, Any]], count: int) -> None:
        """So many of those that hold something, and a few of the others."""
        chosen = self._dice.sample(bound, min(count, len(bound)))
        ways = self._dice.choices((self._deleted, self._completed, self._terminating), (6, 2, 2), k=len(chosen))
        self.scene.api.each(lambda pair: pair[0](pair[1]["metadata"]["name"]), zip(ways, chosen, strict=True))

    def _deleted(self, name: str) -> None:
        self.ends["deleted"] += 1
        self.scene.delete(name)

    def _completed(self, name: str) -> None:
        """Its phase ends it; the object stays, until it is chosen again."""
        self.ends["completed"] += 1
        try:
            self.scene.api.merge(f"{self.scene.pods_path}/{name}/status", {"status": {"phase": "Succeeded"}})
        except ApiRefused as error:
            assert error.status in {404, 409}, error

    def _terminating(self, name: str) -> None:
        """It holds what it has until it is gone: nobody here ends it before it is chosen again."""
        self.ends["left terminating"] += 1
        self.scene.delete(name, grace=3600)

    def make_room(self) -> None:
        """Most of those that hold something go; where that is not enough for all who wait, the others too."""
        for part, seconds in ((0.9, 20), (1.0, 60)):
            self._thin_out(part)
            with contextlib.suppress(AssertionError):
                self.scene.all_bound(seconds)
                return

    def _thin_out(self, part: float) -> None:
        bound = [pod["metadata"]["name"] for pod in self.scene.pods() if pod["spec"].get("nodeName")]
        self.scene.api.each(self.scene.delete, self._dice.sample(bound, int(len(bound) * part)))

    def leave(self) -> None:
        """All of them, at once."""
        self.scene.api.delete(self.scene.pods_path, **NOW)
        wait_for(lambda: not self.scene.pods(), "all gone")
