"""One pod's way through the hooks: judged, ranked, placed and granted by whoever owns the kind, and always the same way."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core import decision, hookimpl, plugins, requests, site
from hami_core.errors import PluginError, ValidationError
from hami_core.ledger import Ledger
from hami_core.model import (
    SHARE,
    SPLITTING,
    Capacity,
    Device,
    Fit,
    Grant,
    Holding,
    Kind,
    Link,
    Policy,
    Reason,
    Request,
    Resources,
    Score,
    Selector,
    Splitting,
)
from hami_core.plugins import Found
from hami_core.settings import defaults
from hami_core.sharing import CoreSettings
from hami_core.wishes import Keys
from tests.core.fleet import ACME, CARD, MEMORY, a_container, a_device, a_pod, a_share, an_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


OTHER = Kind("other", Resources(count="other.example/card"), "OTHER_VISIBLE")
DEFAULTS = defaults(CoreSettings)


class World:
    """Some plugins, their catalogue, and the nodes they have found."""

    def __init__(self, nodes: Mapping[str, Mapping[str, list[Device]]], *modules: ModuleType) -> None:
        self.plugins = plugins.load([Found(f"p{n}", "d", "0", lambda one=one: one) for n, one in enumerate(modules)], "")  # type: ignore[misc]
        assert not self.plugins.failures
        self.hook = self.plugins.hook
        self.catalogue = plugins.catalogue(self.plugins, DEFAULTS)
        published = {
            node: {
                kind: site.offered(self.plugins, self.catalogue, DEFAULTS, an_inventory(*devices, kind=kind))
                for kind, devices in kinds.items()
            }
            for node, kinds in nodes.items()
        }
        self.tables = decision.tables(self.catalogue, published)
        self.ledger = Ledger(self.tables)

    def asks(self, pod: Mapping[str, Any]) -> tuple[decision.Ask, ...]:
        return decision.ask(self.hook, self.catalogue, DEFAULTS, pod)

    def choose(self, pod: Mapping[str, Any]) -> decision.Choice:
        return decision.choose(self.hook, self.asks(pod), self.tables)

    def run(self, uid: str, pod: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
        """Decide on a pod and hold what it gets: (node, devices), or None if it fits nowhere."""
        node = self.choose(pod).node
        if node is None:
            return None
        shares = [share for ask in self.asks(pod) for share in decision.place(self.hook, ask, self.tables, node)]
        name = next(iter(self.tables.values())).nodes[node]
        self.ledger.hold(name, Holding(uid, uid, "default", tuple(shares)))
        return name, tuple(share.device for share in shares)


def a_plugin(*kinds: Kind, **hooks: Callable[..., Any]) -> ModuleType:
    module = ModuleType("a_plugin")
    for name, function in {"hami_kinds": lambda: kinds, "hami_split": _split, **hooks}.items():
        setattr(module, name, hookimpl(cast("Any", function)))
    return module


def _split(inventory: Any) -> list[Capacity]:
    return [
        Capacity(one.id, one.model, slots=4, memory=one.memory, physical=one.memory, healthy=not one.sick)
        for one in inventory.devices
    ]


def two_nodes(*modules: ModuleType, kind: str = "acme") -> World:
    """Two nodes of two devices of 8000 MiB."""
    nodes = {f"n{n}": {kind: [a_device(0, id=f"n{n}-d0"), a_device(1, id=f"n{n}-d1")]} for n in range(2)}
    return World(nodes, *(modules or (a_plugin(ACME),)))


def wanting(**limits: Any) -> dict[str, Any]:
    return a_pod(a_container(limits={CARD: 1, MEMORY: 3000} | limits))


# --- Ask -------------------------------------------------------------------------------------------------------------


def test_a_pod_is_asked_about_the_kinds_that_it_names() -> None:
    world = two_nodes(a_plugin(ACME), a_plugin(OTHER))

    assert [ask.kind.name for ask in world.asks(wanting())] == ["acme"]
    assert world.asks(a_pod(a_container(limits={"cpu": 1}))) == ()


def test_admission_looks_at_every_kind() -> None:
    world = two_nodes(a_plugin(ACME), a_plugin(OTHER))

    with pytest.raises(ValidationError, match="OTHER_VISIBLE: all"):
        decision.admit(world.catalogue, a_pod(a_container(env=[{"name": "OTHER_VISIBLE", "value": "all"}])))


# --- Choose ----------------------------------------------------------------------------------------------------------


def test_binpack_fills_a_node_and_spread_on_devices_takes_the_emptier_one() -> None:
    world = two_nodes()

    assert [world.run(uid, wanting()) for uid in "abcde"] == [
        ("n0", ("n0-d0",)),
        ("n0", ("n0-d1",)),
        ("n0", ("n0-d0",)),
        ("n0", ("n0-d1",)),
        ("n1", ("n1-d0",)),
    ]


def test_spread_takes_the_emptier_node() -> None:
    world = two_nodes()
    pod = wanting() | {"metadata": {"annotations": {"hami.io/node-scheduler-policy": "spread"}}}

    assert [world.run(uid, pod) for uid in "abc"] == [("n0", ("n0-d0",)), ("n1", ("n1-d0",)), ("n0", ("n0-d1",))]


def test_a_pod_that_fits_nowhere_gets_no_node_and_a_reason_for_each() -> None:
    choice = two_nodes().choose(wanting(**{CARD: 3}))

    assert choice.node is None
    assert choice.verdicts[0].reasons.tolist() == [Reason.COUNT, Reason.COUNT]


def test_a_node_must_hold_all_kinds_of_a_pod() -> None:
    nodes = {"n0": {"acme": [a_device(id="a")]}, "n1": {"acme": [a_device(id="b")], "other": [a_device(id="c")]}}
    world = World(nodes, a_plugin(ACME), a_plugin(OTHER))

    assert world.run("u", wanting(**{"other.example/card": 1})) == ("n1", ("b", "c"))


def test_two_nodes_that_each_hold_one_kind_do_not_hold_the_pod() -> None:
    nodes = {"n0": {"acme": [a_device(id="a")]}, "n1": {"other": [a_device(id="b")]}}
    world = World(nodes, a_plugin(ACME), a_plugin(OTHER))

    assert world.choose(wanting(**{"other.example/card": 1})).node is None


def test_a_node_without_the_kind_has_no_device_of_it() -> None:
    world = World({"n0": {}, "n1": {"acme": [a_device(sick="fell off the bus")]}}, a_plugin(ACME))

    assert world.choose(wanting()).verdicts[0].reasons.tolist() == [Reason.NO_DEVICE, Reason.HEALTH]


def test_opinions_are_averaged_by_weight() -> None:
    def prefer_the_last(table: Any) -> Score:
        return Score(np.arange(table.shape[0]) / table.shape[0], weight=3.0)

    world = two_nodes(a_plugin(ACME), a_plugin(hami_score=prefer_the_last))
    (ask,) = world.asks(wanting())
    verdict = decision.judge(world.hook, ask, world.tables)

    core = (3000 / 16000 + 1 / 8 + 0) / 3
    expected = [(core * 1 + 0.0 * 3) / 4, (core * 1 + 0.5 * 3) / 4]
    assert decision.rank(world.hook, ask, world.tables, verdict) == pytest.approx(expected)
    assert world.choose(wanting()).node == 1


def test_opinions_are_not_asked_where_there_is_no_choice() -> None:
    def refuse() -> NoReturn:
        raise AssertionError("asked")

    world = World({"n0": {"acme": [a_device()]}}, a_plugin(ACME, hami_score=refuse))

    assert world.choose(wanting()).node == 0


# --- Splittings ------------------------------------------------------------------------------------------------------

HALVES = Splitting("acme", "halves")


def halves(**hooks: Callable[..., Any]) -> ModuleType:
    """A second way of splitting acme: devices of two slots with half of the memory each."""

    def split(kind: Kind, splitting: Splitting, inventory: Any) -> list[Capacity] | None:
        if (kind.name, splitting.name) != ("acme", "halves"):
            return None
        return [
            Capacity(f"{one.id}/{half}", one.model, 1, one.memory // 2, one.memory)
            for one in inventory.devices
            for half in "ab"
        ]

    return a_plugin(hami_splittings=lambda: (HALVES, Splitting("acme", SHARE)), hami_split=split, **hooks)


def test_a_request_is_served_from_the_first_splitting_with_room() -> None:
    world = World({"n0": {"acme": [a_device()]}}, a_plugin(ACME), halves())

    assert [world.run(uid, wanting()) for uid in "abc"] == [("n0", ("d0/a",)), ("n0", ("d0/b",)), ("n0", ("d0",))]
    assert world.run("d", wanting(**{MEMORY: 7000})) is None


def test_a_node_is_ranked_by_the_splitting_that_will_serve() -> None:
    def opinion(splitting: Splitting, table: Any) -> Score:
        return Score(np.full(table.shape[0], 1.0 if splitting == HALVES else 0.0), weight=1e9)

    world = World({"n0": {"acme": [a_device()]}}, a_plugin(ACME), halves(hami_score=opinion))
    (ask,) = world.asks(wanting())

    ranks = decision.rank(world.hook, ask, world.tables, decision.judge(world.hook, ask, world.tables))

    assert ranks.tolist() == pytest.approx([1.0])


def test_of_two_splittings_the_closer_miss_is_the_reason() -> None:
    world = World({"n0": {"acme": [a_device()]}}, a_plugin(ACME), halves())
    world.run("a", wanting(**{MEMORY: 5000}))

    assert world.choose(wanting(**{MEMORY: 5000})).verdicts[0].reasons.tolist() == [Reason.MEMORY]


def test_a_grant_is_asked_of_the_splitting_that_served() -> None:
    def grant(kind: Kind, splitting: Splitting, shares: Any) -> Grant | None:
        return Grant(shares[0].container, kind.name, "half") if splitting == HALVES else None

    world = World({"n0": {"acme": [a_device()]}}, a_plugin(ACME), halves(hami_grant=grant))
    shares = [a_share("d0/a", "a", splitting="halves"), a_share("d0", "b")]

    told = decision.grants(world.hook, world.catalogue, DEFAULTS, shares)

    assert [told[name][0].visible for name in ("a", "b")] == ["half", "d0"]


def choosing(**words: str) -> ModuleType:
    """Acme, whose pods choose by annotation, or each container by its own name, how their devices are cut."""

    def parse(kind: Kind, pod: Any) -> tuple[Request, ...] | None:
        if kind.name != "acme":
            return None
        found = requests.parse(kind, pod, Policy(), Keys(splitting="acme/mode", splittings={"soft": SHARE, "hard": "halves"}))
        return tuple(
            evolve(one, selectors=(Selector("acme/mode", (words[one.container],), SPLITTING),))
            if one.container in words
            else one
            for one in found
        )

    return a_plugin(ACME, hami_parse=parse)


@pytest.mark.parametrize(("word", "device"), [("soft", "d0"), ("hard", "d0/a"), ("soft,hard", "d0/a")])
def test_a_pod_chooses_how_the_devices_are_cut_that_serve_it(word: str, device: str) -> None:
    world = World({"n0": {"acme": [a_device()]}}, choosing(), halves())
    pod = wanting() | {"metadata": {"annotations": {"acme/mode": word}}}

    assert world.run("u", pod) == ("n0", (device,))


def test_containers_of_one_pod_are_served_from_different_splittings_in_the_pod_s_order() -> None:
    world = World({"n0": {"acme": [a_device()]}}, choosing(a=SHARE, b="halves"), halves())
    pod = a_pod(*(a_container(name, limits={CARD: 1, MEMORY: 3000}) for name in "abc"))

    assert world.run("u", pod) == ("n0", ("d0", "d0/a", "d0/b"))


def test_a_container_that_may_be_served_from_either_takes_what_the_choosy_one_left() -> None:
    world = World({"n0": {"acme": [a_device()]}}, choosing(a="halves"), halves())
    pod = a_pod(*(a_container(name, limits={CARD: count, MEMORY: 3000}) for name, count in (("a", 1), ("b", 2))))
    both = a_pod(*(a_container(name, limits={CARD: 2, MEMORY: 3000}) for name in "ab"))
    fitting = a_pod(*(a_container(name, limits={CARD: count, MEMORY: 3000}) for name, count in (("a", 2), ("b", 1))))

    assert world.choose(pod).verdicts[0].reasons.tolist() == [Reason.SLOTS]
    assert world.choose(both).verdicts[0].reasons.tolist() == [Reason.SLOTS]
    assert world.run("u", fitting) == ("n0", ("d0/a", "d0/b", "d0"))


def test_the_part_that_was_refused_is_the_one_whose_reason_was_given() -> None:
    world = World({"n0": {"acme": [a_device()]}}, choosing(a=SHARE, b="halves"), halves())
    (ask,) = world.asks(a_pod(a_container("a"), a_container("b", limits={CARD: 3})))
    verdict = decision.judge(world.hook, ask, world.tables)

    splitting, refused = decision.refused(ask, verdict, 0)

    assert (splitting.name, [one.container for one in refused]) == ("halves", ["b"])


def test_a_splitting_that_nobody_brings_is_refused_by_its_key() -> None:
    world = World({"n0": {"acme": [a_device()]}}, choosing(main="halves"))

    hint = "no plugin that is loaded splits acme devices in this way; without the annotation share serves"
    with pytest.raises(ValidationError, match=f"acme/mode: halves in the pod's annotations: {hint}"):
        world.asks(wanting())


# --- Links and cordons reach the table -------------------------------------------------------------------------------


def test_the_links_of_an_inventory_and_the_cordons_of_a_node_are_in_its_table() -> None:
    world = two_nodes()
    found = evolve(an_inventory(a_device(0), a_device(1)), links=(Link("d0", "d1", "wire", score=7),))
    offered = site.offered(world.plugins, world.catalogue, DEFAULTS, found)

    built = decision.tables(world.catalogue, {"n0": {"acme": offered}, "n1": {}}, {"n0": {"d1"}})["acme", SHARE]

    assert built.wiring.scores[built.wired[0]].tolist() == [[0, 7], [7, 0]]
    assert built.cordoned.tolist() == [[False, True], [False, False]]


def test_a_container_with_shares_of_two_kinds_is_told_of_both() -> None:
    world = two_nodes(a_plugin(ACME), a_plugin(OTHER))
    shares = [a_share("x", "b", kind="other"), a_share("d1", "a"), a_share("d0", "b"), a_share("d1", "b")]

    told = decision.grants(world.hook, world.catalogue, DEFAULTS, shares)

    assert {name: [(one.kind, one.visible) for one in grants] for name, grants in told.items()} == {
        "a": [("acme", "d1")],
        "b": [("acme", "d0,d1"), ("other", "x")],
    }


# --- A plugin that is at fault ---------------------------------------------------------------------------------------


def raising() -> NoReturn:
    raise ZeroDivisionError("boom")


@pytest.mark.parametrize("hook", ["hami_parse", "hami_fit", "hami_score", "hami_place", "hami_grant"])
def test_an_exception_in_a_decision_names_the_plugin_and_the_hook(hook: str) -> None:
    world = two_nodes(a_plugin(ACME), a_plugin(**{hook: raising}))

    def decide() -> None:
        world.run("u", wanting())
        decision.grants(world.hook, world.catalogue, DEFAULTS, [a_share()])

    with pytest.raises(PluginError) as caught:
        decide()

    assert str(caught.value) == f'plugin "p1": hook {hook}: ZeroDivisionError: boom'
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_mistake_of_the_user_passes_as_it_is() -> None:
    with pytest.raises(ValidationError, match=f"{MEMORY}: 3Gi"):
        two_nodes().asks(wanting(**{MEMORY: "3Gi"}))


def test_a_hook_cannot_write_to_the_columns() -> None:
    def vandal(table: Any) -> None:
        table.memory_used[0, 0] = 0

    with pytest.raises(PluginError, match='plugin "p1": hook hami_fit: ValueError: assignment destination is read-only'):
        two_nodes(a_plugin(ACME), a_plugin(hami_fit=vandal)).choose(wanting())


def test_an_answer_of_another_length_is_refused() -> None:
    def short(requests: Any, table: Any) -> Fit:
        n, w = table.shape
        return Fit(np.ones(n - 1, bool), np.zeros(n - 1, np.int8), np.ones((len(requests), n - 1, w), bool))

    with pytest.raises(PluginError, match="hook hami_fit: 1 rows for 2 nodes"):
        two_nodes(a_plugin(ACME, hami_fit=short)).choose(wanting())


# --- Replay ----------------------------------------------------------------------------------------------------------

TRACE = st.lists(
    st.tuples(
        st.integers(0, 5), st.none() | st.tuples(st.integers(1, 2), st.sampled_from((500, 3000, 8000)), st.integers(0, 60))
    ),
    max_size=15,
)


def replay(trace: list[tuple[int, tuple[int, int, int] | None]]) -> list[object]:
    world = two_nodes()
    told: list[object] = []
    for uid, asked in trace:
        if asked is None:
            told.append(world.ledger.release(str(uid)))
        else:
            count, memory, cores = asked
            told.append(world.run(str(uid), wanting(**{CARD: count, MEMORY: memory, "acme.example/cores": cores})))
    return told


@settings(max_examples=30)
@given(TRACE)
def test_replays_of_a_trace_give_the_same_placements(trace: list[tuple[int, tuple[int, int, int] | None]]) -> None:
    assert replay(trace) == replay(trace)


def test_no_policy_changes_what_fits() -> None:
    world = two_nodes()
    (ask,) = world.asks(wanting())
    verdicts = [
        decision.judge(
            world.hook, decision.Ask(ask.kind, ask.splittings, (Request("main", "acme", 1, 3000, policy=policy),)), world.tables
        )
        for policy in (Policy("binpack", ("spread",)), Policy("spread", ("binpack",)))
    ]

    assert verdicts[0].nodes.tolist() == verdicts[1].nodes.tolist()
