"""A changing cluster: judged for pod after pod while nodes change and pods come and go; beside bare numpy and dicts."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from bench.decision import KIND, Plugin
from bench.interleave import compare
from hami_core import decision, plugins
from hami_core.decision import Ask
from hami_core.fleet import Fleet
from hami_core.judging import Judge
from hami_core.model import SHARE, Capacity, DeviceInventory, Holding, NodeDevices, Request, Share
from hami_core.plugins import Found
from hami_core.settings import defaults
from hami_core.sharing import CoreSettings
from hami_scheduler.filtering import best

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.interleave import Row

MANY, DEVICES, OFFERED, KEPT = 5000, 8, 500, 16
KEY = (KIND.name, SHARE)
REQUEST = Request("main", KIND.name, 1, 1000, cores=1)
BARE = "one bare comparison"


class World:
    """So many nodes of eight 64 GB devices, with so many pods on each, and a judge."""

    def __init__(self, nodes: int, pods: int) -> None:
        loaded = plugins.load([Found("bench", "bench", "0", Plugin)], block="")
        catalogue = plugins.catalogue(loaded, defaults(CoreSettings))
        self.hook, self.catalogue = loaded.hook, catalogue
        self.ask = Ask(KIND, catalogue.splittings[KIND.name], (REQUEST,))
        self.fleet = Fleet(catalogue)
        self.fleet.replace({f"n{n}": (published(n), ()) for n in range(nodes)})
        for uid in range(nodes * pods):
            n = uid % nodes
            self.fleet.hold(f"n{n}", a_holding(str(uid), f"n{n}-d{(uid // nodes + n) % DEVICES}", 100 + uid * 37 % 900))
        self.judge = Judge(self.hook, self.fleet)

    def judged_anew(self) -> int:
        """As where nothing is remembered; the call gives the node that ranks highest."""
        found = Judge(self.hook, self.fleet).judged([self.ask])
        return int(np.where(found.verdicts[0].nodes, found.ranks, -1.0).argmax())

    def judged_again(self) -> Callable[[], int]:
        """As where one row has changed since."""
        uids, nodes = count(), len(self.fleet.nodes())

        def judge() -> int:
            uid = f"again-{next(uids)}"
            self.fleet.hold(f"n{next(uids) % nodes}", a_holding(uid, "none", 1))
            found = self.judge.judged([self.ask])
            self.fleet.release(uid)
            return int(np.where(found.verdicts[0].nodes, found.ranks, -1.0).argmax())

        return judge

    def compared(self) -> int:
        """The least that a judgement by numpy can be: one comparison for each number, and the fullest node that fits."""
        table = self.fleet.tables[KEY]
        memory, cores = table.memory - table.memory_used, table.cores - table.cores_used
        fits = (table.healthy & (table.slots > table.slots_used) & (memory >= 1000) & (cores >= 1)).any(axis=1)
        return int(np.where(fits, table.memory_used.sum(axis=1), -1).argmax())

    def decided(self) -> Callable[[], str]:
        """A whole decision about a pod that is offered 500 nodes: the best 16, its devices on the first, and held there."""
        names = [f"n{n}" for n in np.random.default_rng(3).permutation(len(self.fleet.nodes()))[:OFFERED]]
        order = np.arange(self.fleet.tables[KEY].shape[0])
        uids = count()

        def decide() -> str:
            found = self.judge.judged([self.ask])
            rows = self.fleet.rows(names)
            kept = best(rows[found.verdicts[0].nodes[rows]], found.ranks, order, KEPT)
            shares = decision.place(self.hook, self.ask, self.fleet.tables, int(kept[0]))
            uid = f"decided-{next(uids)}"
            self.fleet.hold(self.fleet.tables[KEY].nodes[kept[0]], Holding(uid, uid, "default", shares))
            return shares[0].device

        return decide


def published(n: int, *, healthy: bool = True) -> dict[str, NodeDevices]:
    """What a node says of its devices."""
    capacities = (Capacity(f"n{n}-d{w}", "One", 1000, 64000, 64000, 100, healthy=healthy) for w in range(DEVICES))
    return {KIND.name: NodeDevices(DeviceInventory(KIND.name, ()), ((SHARE, tuple(capacities)),))}


def a_holding(uid: str, device: str, memory: int) -> Holding:
    """One share."""
    return Holding(uid, uid, "default", (Share("main", KIND.name, device, memory, 64000, 1),))


def _put(fleet: Fleet, nodes: int) -> Callable[[], None]:
    """One node falls sick, or is well again."""
    both = [[published(n, healthy=healthy) for n in range(nodes)] for healthy in (False, True)]
    calls = count()

    def put() -> None:
        turn, n = divmod(next(calls), nodes)
        fleet.put(f"n{n}", both[turn % 2][n])

    return put


def _hold(fleet: Fleet, nodes: int) -> Callable[[], None]:
    calls = count()

    def hold() -> None:
        n = next(calls) % nodes
        fleet.hold(f"n{n}", a_holding("one more", f"n{n}-d3", 1000))
        fleet.release("one more")

    return hold


def rows() -> Iterable[Row]:
    """Goals: 1.5 ms for 5,000 x 8, however many pods run; 0.2 ms where one row has changed; 500 decisions a second."""
    for nodes, pods, goals in ((MANY, 1, (1.5e-3, 0.2e-3)), (MANY, 20, (1.5e-3, 0.2e-3)), (100, 20, (0.3e-3, 0.2e-3))):
        world = World(nodes, pods)
        anew, again = world.judged_anew, world.judged_again()
        assert anew() == again(), "the two judgements differ: the ratio would compare different work"
        candidates = {"all rows": (anew, goals[0]), "one row has changed": (again, goals[1])}
        yield from compare(f"judge {nodes:,} nodes x 8, {pods} pods each", (BARE, world.compared), candidates, 30, 5)
    world = World(MANY, 1)
    subject = f"a whole decision, {OFFERED} of {MANY:,} nodes offered"
    yield from compare(subject, (BARE, world.compared), {"judge, keep 16, place, hold": (world.decided(), 2e-3)}, 30, 20)
    yield from _changes(World(MANY, 1))


def _changes(world: World) -> Iterable[Row]:
    fleet, books = world.fleet, {f"n{n}": n for n in range(MANY)}
    every = {f"n{n}": (published(n), ()) for n in range(MANY)}
    names = ["".join(name) for name in books]  # texts of their own, as those out of a request are

    def looked_up() -> list[int]:
        return [books[name] for name in names]

    candidates: dict[str, tuple[Callable[[], object], float | None]] = {
        "5,000 names to rows": (lambda: fleet.rows(names), 0.4e-3),
        "a node changes": (_put(fleet, MANY), 50e-6),
        "a pod comes and goes": (_hold(fleet, MANY), 10e-6),
    }
    yield from compare("the fleet follows", ("5,000 names in a dict", looked_up), candidates, 30, 20)
    empty = {"5,000 nodes from nothing": (lambda: Fleet(world.catalogue).replace(every), 0.3)}
    yield from compare("the fleet starts", ("5,000 names in a dict", looked_up), empty, 3)
