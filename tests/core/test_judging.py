"""What is remembered of a fleet's nodes is what a fresh look would say, and a fresh look is taken only at what has changed."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from hami_core import decision, hookimpl, placement, plugins
from hami_core.decision import Ask
from hami_core.fleet import Fleet
from hami_core.judging import Judge
from hami_core.model import SHARE, SPLITTING, Request, Selector, Splitting
from hami_core.plugins import Found
from hami_core.settings import defaults
from hami_core.sharing import CoreSettings
from hami_core.testing import strategies
from tests.core.fleet import ACME, a_capacity, a_holding, a_request, a_share
from tests.core.test_fleet import NODES, OTHER, SHARES, UIDS, devices, published

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from hami_core.judging import Judged
    from hami_core.model import Fit, NodeDevices
    from hami_core.table import NodeTable


class World:
    """A fleet, its judge, and the numbers of rows that the hook of fit was asked about, in order."""

    def __init__(self, most: int = 64) -> None:
        self.looks: list[int] = []
        loaded = plugins.load([Found("p", "d", "0", lambda: _plugin(self._fit))], block="")
        assert not loaded.failures
        self.hook = loaded.hook
        self.catalogue = plugins.catalogue(loaded, defaults(CoreSettings))
        self.fleet = Fleet(self.catalogue)
        self.judge = Judge(self.hook, self.fleet, most, small=0)

    def ask(self, *requests: Request) -> Ask:
        kind = self.catalogue.kind(requests[0].kind)
        return Ask(kind, self.catalogue.splittings[kind.name], requests)

    def judged(self, *requests: Request) -> Judged:
        return self.judge.judged([self.ask(*requests)])

    def _fit(self, requests: Sequence[Request], table: NodeTable) -> Fit:
        self.looks.append(table.shape[0])
        return placement.fit(requests, table)


def _plugin(fit: Callable[..., Fit]) -> ModuleType:
    def hami_fit(requests: Sequence[Request], table: NodeTable) -> Fit:
        return fit(requests, table)

    module = ModuleType("a_plugin")
    columns = (("slices", "int8"),)
    splittings = [Splitting("acme", SHARE), Splitting("acme", "cut", columns), Splitting("other", SHARE)]
    for name, function in (
        ("hami_kinds", lambda: [ACME, OTHER]),
        ("hami_splittings", lambda: splittings),
        ("hami_fit", hami_fit),
    ):
        function.__name__ = name
        setattr(module, name, hookimpl(cast("Any", function)))
    return module


def a_world(nodes: int = 20, most: int = 64) -> World:
    """So many nodes of one device each."""
    world = World(most)
    world.fleet.replace({f"n{n}": (devices(a_capacity(f"n{n}-d0")), ()) for n in range(nodes)})
    return world


def where_it_fits(world: World, judged: Judged) -> list[str]:
    nodes = world.fleet.tables["acme", SHARE].nodes
    return [node for node, fits in zip(nodes, judged.verdicts[0].nodes, strict=True) if fits]


# --- What is looked at -----------------------------------------------------------------------------------------------


def test_the_same_demand_is_judged_once_while_nothing_changes() -> None:
    world = a_world()

    first, second = world.judged(a_request()), world.judged(a_request())

    assert second is first
    assert world.looks == [20, 20]  # once for each splitting


def test_after_a_change_only_the_rows_that_changed_are_looked_at() -> None:
    world = a_world()
    world.judged(a_request())
    world.looks.clear()

    world.fleet.hold("n3", a_holding("a", a_share("n3-d0", memory=8000)))
    world.fleet.put("n5", devices(a_capacity("n5-d0", healthy=False)))
    judged = world.judged(a_request())

    assert world.looks == [2, 2]
    assert where_it_fits(world, judged) == [f"n{n}" for n in range(20) if n not in (3, 5)]


def test_all_rows_are_looked_at_where_many_have_changed() -> None:
    world = a_world()
    world.judged(a_request())
    world.looks.clear()

    for n in range(10):
        world.fleet.hold(f"n{n}", a_holding(f"{n}", a_share(f"n{n}-d0")))
    world.judged(a_request())

    assert world.looks == [20, 20]


def test_the_rank_of_a_row_that_changed_is_another() -> None:
    world = a_world()
    before = world.judged(a_request())
    n = world.fleet.row("n3")

    world.fleet.hold("n3", a_holding("a", a_share("n3-d0")))
    after = world.judged(a_request())

    assert after.ranks[n] > before.ranks[n]
    assert after.ranks.tolist() == Judge(world.hook, world.fleet).judged([world.ask(a_request())]).ranks.tolist()


def test_a_small_fleet_is_looked_at_as_a_whole() -> None:
    world = a_world()
    judge = Judge(world.hook, world.fleet)
    judge.judged([world.ask(a_request())])
    world.looks.clear()

    world.fleet.hold("n3", a_holding("a", a_share("n3-d0")))
    judge.judged([world.ask(a_request())])

    assert world.looks == [20, 20]


def test_what_was_said_before_a_change_stays_as_it_was() -> None:
    world = a_world()
    before = world.judged(a_request())

    world.fleet.hold("n3", a_holding("a", a_share("n3-d0", memory=8000)))
    world.judged(a_request())

    assert len(where_it_fits(world, before)) == 20


def test_pods_that_differ_in_names_alone_are_one_demand() -> None:
    world = a_world()

    first = world.judged(a_request("train"), a_request("watch"))

    assert world.judged(a_request("serve"), a_request("log", notes=("a word to the user",))) is first


@pytest.mark.parametrize(
    "other",
    [
        a_request(memory=3001),
        a_request(cores=1),
        a_request(count=2),
        a_request(phases=(1,)),
        a_request(selectors=(Selector("use", ("One",)),)),
        a_request(numa_bind="bind"),
        a_request(options=(("priority", "0"),)),
    ],
)
def test_other_numbers_are_another_demand(other: Request) -> None:
    world = a_world()

    first = world.judged(a_request())

    assert world.judged(other) is not first


def test_the_demand_that_was_not_made_for_longest_is_forgotten() -> None:
    world = a_world(most=2)
    one, two, three = (a_request(memory=n) for n in (1, 2, 3))

    first = world.judged(one)
    second = world.judged(two)
    again = world.judged(one)
    world.judged(three)

    assert again is first
    assert world.judged(one) is first
    assert world.judged(two) is not second


def test_what_a_hook_raises_is_not_remembered() -> None:
    world = a_world()
    broken = a_request(selectors=(Selector("use", ("One",), by="model"),))
    object.__setattr__(broken.selectors[0], "words", (None,))

    for _ in range(2):
        with pytest.raises(Exception, match="hami_fit"):
            world.judged(broken)


# --- Any order -------------------------------------------------------------------------------------------------------

CHOOSY = Selector("wish/splitting", ("cut",), SPLITTING)


@st.composite
def asked(draw: st.DrawFn) -> tuple[tuple[Request, ...], ...]:
    """What a pod asks of one kind or both; some requests want a splitting of their own."""
    kinds = draw(st.sampled_from((("acme",), ("acme",), ("acme", "other"))))
    demands = []
    for kind in kinds:
        requests = draw(strategies.requests(kind))
        if kind == "acme" and draw(st.booleans()):
            requests = (evolve(requests[0], selectors=(*requests[0].selectors, CHOOSY)), *requests[1:])
        demands.append(requests)
    return tuple(demands)


def plain(judged: Judged) -> list[Any]:
    """All arrays as values."""
    arrays: list[NDArray[Any]] = [judged.ranks]
    for verdict in judged.verdicts:
        arrays += [verdict.nodes, verdict.reasons]
        arrays += [array for way in verdict.fits for fit in way for array in (fit.nodes, fit.reasons, fit.devices)]
    return [array.tolist() for array in arrays]


class Judges(RuleBasedStateMachine):
    """A judge who remembers, and one who does not."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(most=3)
        self.demands: list[tuple[tuple[Request, ...], ...]] = [((a_request(memory=3),),)]
        for number in range(10):
            self.put_a_plain_node(number, sick=False)

    @rule(node=NODES, found=published(), cordoned=st.sampled_from(((), (), ("d0",))))
    def put(self, node: str, found: Mapping[str, NodeDevices], cordoned: Sequence[str]) -> None:
        self.world.fleet.put(node, found, cordoned)

    @rule(number=st.integers(0, 9), sick=st.booleans())
    def put_a_plain_node(self, number: int, sick: bool) -> None:
        self.world.fleet.put(f"plain-{number}", devices(*(a_capacity(f"d{w}", 40, healthy=not sick) for w in range(2))))

    @rule(node=NODES)
    def remove(self, node: str) -> None:
        self.world.fleet.remove(node)

    @rule(uid=UIDS, node=NODES, shares=st.lists(SHARES, min_size=1, max_size=3))
    def hold(self, uid: str, node: str, shares: list[Any]) -> None:
        self.world.fleet.hold(node, a_holding(uid, *shares))

    @rule(uid=UIDS, number=st.integers(0, 9), memory=st.integers(0, 30))
    def hold_on_a_plain_node(self, uid: str, number: int, memory: int) -> None:
        self.world.fleet.hold(f"plain-{number}", a_holding(uid, a_share("d1", memory=memory, physical=40)))

    @rule(uid=UIDS)
    def release(self, uid: str) -> None:
        self.world.fleet.release(uid)

    @rule(demand=asked())
    def ask(self, demand: tuple[tuple[Request, ...], ...]) -> None:
        self.demands.append(demand)

    @invariant()
    def the_first_and_the_last_are_remembered_rightly(self) -> None:
        for demand in (self.demands[0], self.demands[-1]):
            self._compare(demand)

    def _compare(self, demand: tuple[tuple[Request, ...], ...]) -> None:
        world = self.world
        asks = [ask for ask in (world.ask(*requests) for requests in demand) if ask.ways]
        if asks:
            assert plain(world.judge.judged(asks)) == plain(Judge(world.hook, world.fleet).judged(asks))
            verdicts = [decision.judge(world.hook, ask, world.fleet.tables) for ask in asks]
            ranks = [decision.rank(world.hook, ask, world.fleet.tables, one) for ask, one in zip(asks, verdicts, strict=True)]
            judged = world.judge.judged(asks)
            assert [one.reasons.tolist() for one in judged.verdicts] == [one.reasons.tolist() for one in verdicts]
            assert judged.ranks.tolist() == np.sum(ranks, axis=0).tolist()


@pytest.mark.slow
def test_after_any_changes_what_is_remembered_is_what_a_fresh_look_says() -> None:
    run_state_machine_as_test(Judges, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))
