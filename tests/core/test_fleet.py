"""Nodes that come, change and go, and holdings that stay: always what a fleet built from nothing would be."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any, cast

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from hami_core import placement, policies
from hami_core.fleet import Fleet
from hami_core.model import SHARE, Capacity, DeviceInventory, Link, NodeDevices, Request, Splitting
from hami_core.plugins import Catalogue
from hami_core.table import TOTALS, USED
from hami_core.testing import strategies
from tests.core.fleet import ACME, a_capacity, a_holding, a_kind, a_share
from tests.core.slow_fleet import SlowFleet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_core.table import NodeTable

KEY, CUT, OTHER_KEY = ("acme", SHARE), ("acme", "cut"), ("other", SHARE)
OTHER = a_kind(
    "other", evolve(ACME.resources, count="other.example/card", memory=None, memory_percent=None, cores=None, priority=None)
)
CATALOGUE = Catalogue(
    kinds=(ACME, OTHER),
    owners={"acme": "a", "other": "b"},
    splittings={
        "acme": (Splitting("acme", SHARE), Splitting("acme", "cut", (("slices", "int8"),))),
        "other": (Splitting("other", SHARE),),
    },
)


def devices(
    *offered: Capacity, links: Sequence[Link] = (), kind: str = "acme", splitting: str = SHARE
) -> dict[str, NodeDevices]:
    return {kind: NodeDevices(DeviceInventory(kind, (), tuple(links)), ((splitting, offered),))}


def a_fleet(**nodes: Mapping[str, NodeDevices]) -> Fleet:
    fleet = Fleet(CATALOGUE)
    for node, found in nodes.items():
        fleet.put(node, found)
    return fleet


def used(fleet: Fleet, node: str) -> list[list[int]]:
    """Slots, memory and cores that are used on the devices of a node."""
    n = fleet.row(node)
    assert n is not None
    table = fleet.tables[KEY]
    return [getattr(table, name)[n, : len(table.devices[n])].tolist() for name in USED]


# --- Nodes -----------------------------------------------------------------------------------------------------------


def test_a_node_keeps_its_row_while_others_come_and_go() -> None:
    fleet = a_fleet(n0=devices(a_capacity("d0")), n1=devices(a_capacity("d1")))
    before = fleet.row("n1")

    fleet.remove("n0")
    fleet.put("n2", devices(a_capacity("d2"), a_capacity("d3")))

    assert fleet.row("n1") == before
    assert fleet.row("n0") is None
    assert sorted(fleet.nodes()) == ["n1", "n2"]


def test_the_row_of_a_node_that_is_gone_has_no_name_and_no_device_and_is_used_again() -> None:
    fleet = a_fleet(n0=devices(a_capacity("d0")))
    n = cast("int", fleet.row("n0"))

    fleet.remove("n0")
    table = fleet.tables[KEY]

    assert (table.nodes[n], table.devices[n], bool(table.present.any())) == ("", (), False)
    fleet.put("n1", devices(a_capacity("d1")))
    assert fleet.row("n1") == n


def test_many_rows_are_found_at_once() -> None:
    fleet = a_fleet(n0=devices(), n1=devices())

    assert fleet.rows(["n1", "gone", "n0"]).tolist() == [fleet.row("n1"), -1, fleet.row("n0")]


def test_what_is_put_again_unchanged_changes_nothing() -> None:
    fleet = a_fleet(n0=devices(a_capacity("d0")))
    version, view = fleet.version, fleet.tables[KEY].locked()

    fleet.put("n0", devices(a_capacity("d0")))

    assert fleet.version == version
    assert fleet.tables[KEY].locked() is view


def test_a_column_that_a_newer_node_has_and_this_build_has_not_is_left_out() -> None:
    fleet = a_fleet(n0=devices(a_capacity("d0", extra=(("slices", 7), ("colours", 3))), splitting="cut"))

    assert {name: column.max() for name, column in fleet.tables[CUT].extra.items()} == {"slices": 7}


def test_a_whole_list_leaves_the_nodes_that_it_names() -> None:
    fleet = a_fleet(n0=devices(a_capacity("d0")), n1=devices(a_capacity("d1")))

    fleet.replace({"n1": (devices(a_capacity("d1")), ("d1",)), "n2": (devices(a_capacity("d2")), ())})

    assert sorted(fleet.nodes()) == ["n1", "n2"]
    assert fleet.tables[KEY].cordoned[fleet.rows(["n1", "n2"]), 0].tolist() == [True, False]


# --- Holdings --------------------------------------------------------------------------------------------------------


def test_a_device_that_goes_and_comes_back_is_counted_once() -> None:
    both, one = devices(a_capacity("d0"), a_capacity("d1")), devices(a_capacity("d0"))
    fleet = a_fleet(n0=both)

    missing = fleet.hold("n0", a_holding("a", a_share("d0", memory=1000), a_share("d1", "other", memory=2000)))
    fleet.put("n0", one)
    shrunk = used(fleet, "n0")
    fleet.put("n0", both)

    assert (missing, shrunk) == ((), [[1], [1000], [0]])
    assert used(fleet, "n0") == [[1, 1], [1000, 2000], [0, 0]]
    fleet.release("a")
    assert used(fleet, "n0") == [[0, 0], [0, 0], [0, 0]]


def test_what_is_held_on_a_node_that_nobody_knows_is_counted_when_it_comes() -> None:
    fleet = a_fleet()

    missing = fleet.hold("n0", a_holding("a"))
    fleet.put("n0", devices(a_capacity("d0")))

    assert (missing, used(fleet, "n0")) == (("d0",), [[1], [3000], [0]])


def test_a_device_that_falls_sick_keeps_what_is_used_of_it() -> None:
    fleet = a_fleet(n0=devices(a_capacity("d0")))
    fleet.hold("n0", a_holding("a"))

    fleet.put("n0", devices(a_capacity("d0", healthy=False)))

    assert used(fleet, "n0") == [[1], [3000], [0]]


def test_an_exclusive_share_takes_as_many_slots_as_its_device_has_now() -> None:
    fleet = a_fleet(n0=devices(a_capacity("d0", slots=4)))
    fleet.hold("n0", a_holding("a", a_share(exclusive=True)))

    fleet.put("n0", devices(a_capacity("d0", slots=6)))
    taken = used(fleet, "n0")
    fleet.release("a")

    assert (taken, used(fleet, "n0")) == ([[6], [3000], [0]], [[0], [0], [0]])


def test_holding_twice_is_holding_once_and_releasing_tells_what_it_was() -> None:
    fleet, holding = a_fleet(n0=devices(a_capacity("d0"))), a_holding("a")
    fleet.hold("n0", holding)
    fleet.hold("n1", holding)

    assert list(fleet.holdings()) == [("n0", holding)]
    assert fleet.holding("a") == ("n0", holding)
    assert fleet.release("a") is holding
    assert (fleet.release("a"), fleet.holding("a"), used(fleet, "n0")) == (None, None, [[0], [0], [0]])


@pytest.mark.slow
def test_a_hundred_thousand_pods_are_small() -> None:
    fleet = a_fleet()
    tracemalloc.start()
    try:
        for number in range(100_000):
            fleet.hold(f"n{number % 1000}", a_holding(f"{number:036}", a_share()))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size < 150e6


# --- Versions --------------------------------------------------------------------------------------------------------


def test_a_version_tells_which_rows_have_changed_since() -> None:
    fleet = a_fleet(n0=devices(a_capacity("d0")), n1=devices(a_capacity("d1")), n2=devices(a_capacity("d2")))
    version = fleet.version

    fleet.hold("n1", a_holding("a", a_share("d1")))
    fleet.put("n2", devices(a_capacity("d2", healthy=False)))

    assert fleet.changed(fleet.version) is not None
    assert sorted(cast("Any", fleet.changed(version)).tolist()) == sorted(fleet.rows(["n1", "n2"]).tolist())


@pytest.mark.parametrize(
    "change",
    [
        devices(a_capacity("d1", model="New")),
        devices(a_capacity("d1"), a_capacity("d2")),
        devices(a_capacity("d1", numa=3)),
        devices(a_capacity("d1"), links=(Link("d1", "d2", "wire", score=3),))
        | devices(a_capacity("e"), a_capacity("f"), kind="other"),
    ],
    ids=["a new model", "a wider node", "a new NUMA node", "another kind is wider"],
)
def test_a_change_of_what_is_said_once_for_all_concerns_all_rows(change: Mapping[str, NodeDevices]) -> None:
    fleet = a_fleet(n0=devices(a_capacity("d0")), n1=devices(a_capacity("d1")))
    version = fleet.version

    fleet.put("n1", change)

    assert fleet.changed(version) is None
    assert fleet.changed(fleet.version) is not None


# --- Any order -------------------------------------------------------------------------------------------------------

NODES = st.sampled_from(("a", "b", "c", "d"))
UIDS = st.sampled_from(tuple("0123456"))
SHARES = st.builds(
    a_share,
    device=st.sampled_from(("d0", "d1", "d2")),
    container=st.sampled_from(("x", "y")),
    kind=st.sampled_from(("acme", "acme", "acme", "other", "gone")),
    splitting=st.sampled_from((SHARE, SHARE, SHARE, "cut")),
    memory=st.integers(0, 50),
    cores=st.integers(0, 100),
    phases=st.sampled_from(((0,), (1,), (0, 1))),
    exclusive=st.booleans(),
)


@st.composite
def published(draw: st.DrawFn) -> dict[str, NodeDevices]:
    """What a node says of one kind or both, in one splitting or both."""
    found = {}
    for kind in draw(st.sampled_from((("acme",), ("acme",), ("acme", "other"), ("other",), ()))):
        ids = draw(st.sampled_from((("d0",), ("d0", "d1"), ("d0", "d1"), ("d1", "d0", "d2"), ("d0", "d1", "d2", "d3"), ())))
        offered = tuple(draw(strategies.capacities(device)) for device in ids)
        cut = tuple(evolve(one, extra=(("slices", n),)) for n, one in enumerate(offered[1:], start=1))
        splittings = draw(st.sampled_from((((SHARE, offered),), ((SHARE, offered), ("cut", cut)))))
        found[kind] = NodeDevices(DeviceInventory(kind, (), draw(strategies.links(ids))), splittings)
    return found


def told(table: NodeTable, nodes: Sequence[str]) -> dict[str, Any]:
    """All that a table says, whatever the order of its rows and codes."""
    _, width, _ = table.wiring.scores.shape
    assert (table.shape[1], len(table.nodes), len(table.devices)) == (width, table.shape[0], table.shape[0])
    assert len(set(table.models)) == len(table.models)
    return {
        "rows": {node: row_of(table, table.nodes.index(node)) for node in nodes},
        "models": sorted(table.models),
        "numa_nodes": table.numa_nodes,
        "wirings": sorted(zip(table.wiring.scores.tolist(), table.wiring.alike.tolist(), strict=True)),
        "top": table.wiring.top,
        "most_overhead": table.most_overhead,
        "any_cordoned": table.any_cordoned,
        "places": {f"d{d}": sorted((table.nodes[n], w) for n, w in table.locked().places(f"d{d}")) for d in range(4)},
    }


def row_of(table: NodeTable, n: int) -> dict[str, Any]:
    devices = len(table.devices[n])
    names = ("present", "healthy", "cordoned", "numa", *TOTALS, "largest", *USED)
    return {
        **{name: getattr(table, name)[n].tolist() for name in names},
        **{name: (column[n].tolist(), column.dtype) for name, column in table.extra.items()},
        "devices": table.devices[n],
        "models": [table.models[code] for code in table.model[n, :devices]],
        "fills": table.fills[:, n].tolist(),
        "wiring": table.wiring.scores[table.wired[n]].tolist() if devices else None,
    }


def judged(table: NodeTable, requests: Sequence[Request], nodes: Sequence[str]) -> dict[str, Any]:
    rows = [table.nodes.index(node) for node in nodes]
    fit = placement.fit(requests, table.locked())
    values = policies.score(requests, table.locked(), fit).values
    return {node: (fit.reasons[n], fit.devices[:, n].tolist(), values[n]) for node, n in zip(nodes, rows, strict=True)}


class Fleets(RuleBasedStateMachine):
    """The quick fleet and the slow one, told the same."""

    def __init__(self) -> None:
        super().__init__()
        self.quick, self.slow = Fleet(CATALOGUE), SlowFleet(CATALOGUE)
        self.known: dict[str, tuple[Mapping[str, NodeDevices], Sequence[str]]] = {}

    @rule(node=NODES, found=published(), cordoned=st.sampled_from(((), (), ("d0",), ("d0", "d1"))))
    def put(self, node: str, found: dict[str, NodeDevices], cordoned: Sequence[str]) -> None:
        self.known[node] = found, cordoned
        for fleet in (self.quick, self.slow):
            fleet.put(node, found, cordoned)

    @rule(node=NODES)
    def put_again(self, node: str) -> None:
        if node in self.known:
            self.quick.put(node, *self.known[node])

    @rule(node=NODES)
    def remove(self, node: str) -> None:
        self.known.pop(node, None)
        for fleet in (self.quick, self.slow):
            fleet.remove(node)

    @rule(nodes=st.dictionaries(NODES, st.tuples(published(), st.just(("d1",)))))
    def replace(self, nodes: dict[str, tuple[dict[str, NodeDevices], Sequence[str]]]) -> None:
        self.quick.replace(nodes)
        for node in list(self.known):
            self.slow.remove(node)
        for node, (found, cordoned) in nodes.items():
            self.slow.put(node, found, cordoned)
        self.known = dict(nodes)

    @rule(uid=UIDS, node=NODES, shares=st.lists(SHARES, min_size=1, max_size=3))
    def hold(self, uid: str, node: str, shares: list[Any]) -> None:
        holding = a_holding(uid, *shares)
        missing = [sorted(fleet.hold(node, holding)) for fleet in (self.quick, self.slow)]
        assert missing[0] == missing[1]

    @rule(uid=UIDS)
    def release(self, uid: str) -> None:
        assert self.quick.release(uid) == self.slow.release(uid)

    @rule(requests=strategies.requests("acme"))
    def judge(self, requests: tuple[Request, ...]) -> None:
        nodes = list(self.known)
        assert judged(self.quick.tables[KEY], requests, nodes) == judged(self.slow.tables[KEY], requests, nodes)

    @invariant()
    def both_say_the_same(self) -> None:
        nodes = list(self.known)
        assert sorted(self.quick.nodes()) == sorted(nodes)
        assert [*self.quick.holdings()] == [*self.slow.holdings()]
        for key, slow in self.slow.tables.items():
            quick = self.quick.tables[key]
            assert told(quick, nodes) == told(slow, nodes)
            assert [node for node in quick.nodes if node] == [quick.nodes[n] for n in sorted(self.quick.rows(nodes))]
            for n, node in enumerate(quick.nodes):
                assert node or not (quick.present[n].any() or quick.memory_used[n].any() or quick.devices[n])


@pytest.mark.slow
def test_after_any_changes_the_tables_are_what_they_would_be_if_built_from_nothing() -> None:
    run_state_machine_as_test(Fleets, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))
