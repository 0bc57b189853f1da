"""A whole decision (parse, fit, score, place) through the hooks, against the obvious loop that finds the same device."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bench.interleave import compare
from hami_core import decision, hookimpl, plugins
from hami_core.model import Capacity, Kind, Resources
from hami_core.plugins import Found
from hami_core.settings import defaults
from hami_core.sharing import CoreSettings
from hami_core.table import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.interleave import Row
    from hami_core.table import NodeTable

KIND = Kind(
    "bench",
    Resources(count="bench.example/device", memory="bench.example/memory", cores="bench.example/cores"),
    visible_env="BENCH_VISIBLE",
)
LIMITS = {"bench.example/device": 1, "bench.example/memory": 3000, "bench.example/cores": 30}
POD = {"metadata": {"name": "pod"}, "spec": {"containers": [{"name": "main", "resources": {"limits": LIMITS}}]}}
BASELINE = "a loop over attrs objects"


class Plugin:
    """One kind, everything else by the core's defaults."""

    @hookimpl
    def hami_kinds(self) -> list[Kind]:
        """The one."""
        return [KIND]


@frozen
class Slot:
    """One device as a loop would have it."""

    id: str
    slots: int
    memory: int
    cores: int
    slots_used: int
    memory_used: int
    cores_used: int


def fleet(nodes: int, devices: int) -> NodeTable:
    """Nodes of so many 16 GB devices, each partly taken, the same in every run."""
    table = build([(f"n{n}", [Capacity(f"n{n}-d{w}", "One", 10, 16000, 16000) for w in range(devices)]) for n in range(nodes)])
    dice = random.Random(11)
    for n in range(nodes):
        for w in range(devices):
            table.take(n, w, dice.randint(0, 9), dice.randint(0, 14000), dice.randint(0, 70))
    return table


def through_the_hooks(table: NodeTable) -> Callable[[], str]:
    """The decision as every door makes it; the call gives the device."""
    loaded = plugins.load([Found("bench", "bench", "0", Plugin)], block="")
    settings = defaults(CoreSettings)
    catalogue = plugins.catalogue(loaded, settings)
    tables = {(KIND.name, "share"): table}

    def decide() -> str:
        (ask,) = decision.ask(loaded.hook, catalogue, settings, POD)
        node = decision.choose(loaded.hook, [ask], tables).node
        assert node is not None
        (share,) = decision.place(loaded.hook, ask, tables, node)
        return share.device

    return decide


def by_a_loop(table: NodeTable) -> Callable[[], str]:
    """The same decision, device by device: binpack on nodes, spread on devices. Parsing is left out, in its favour."""
    nodes = [[_slot(table, n, w) for w in range(len(ids))] for n, ids in enumerate(table.devices)]
    memory, cores = LIMITS["bench.example/memory"], LIMITS["bench.example/cores"]

    def has_room(one: Slot) -> bool:
        return (
            one.slots - one.slots_used >= 1 and one.memory - one.memory_used >= memory and one.cores - one.cores_used >= cores
        )

    def fullness(node: list[Slot]) -> float:
        slots = (sum(one.slots_used for one in node) + 1) / sum(one.slots for one in node)
        taken = (sum(one.memory_used for one in node) + memory) / sum(one.memory for one in node)
        busy = (sum(one.cores_used for one in node) + cores) / sum(one.cores for one in node)
        return (slots + taken + busy) / 3

    def decide() -> str:
        best = max((node for node in nodes if any(map(has_room, node))), key=fullness)
        return min(filter(has_room, best), key=_fullness).id

    return decide


def _slot(table: NodeTable, n: int, w: int) -> Slot:
    columns: dict[str, Any] = {name: int(getattr(table, name)[n, w]) for name in Slot.__annotations__ if name != "id"}
    return Slot(id=table.devices[n][w], **columns)


def _fullness(one: Slot) -> float:
    return one.slots_used / one.slots + one.memory_used / one.memory + one.cores_used / one.cores


def rows() -> Iterable[Row]:
    """5,000 nodes of 8 devices, and one machine."""
    for subject, nodes, goal, rounds, calls in (
        ("decision, 5,000 nodes x 8", 5000, 2e-3, 30, 1),
        ("decision, one machine of 8", 1, 0.2e-3, 30, 50),
    ):
        table = fleet(nodes, 8)
        quick, slow = through_the_hooks(table), by_a_loop(table)
        assert quick() == slow(), "the two decisions differ: the ratio would compare different work"
        yield from compare(subject, (BASELINE, slow), {"through the hooks": (quick, goal)}, rounds, calls)
