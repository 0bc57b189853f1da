"""Quotas: which limits hold, what is used of them, and what a pod will take before it is placed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core import decision, ledger
from hami_core.model import MAIN, Holding
from hami_scheduler import bounds, choosing, quota
from hami_scheduler.asked import Asked
from hami_scheduler.quota import Limit, Quotas, Usage
from hami_scheduler.state import State
from tests.core.fleet import CARD, CORES, MEMORY, PERCENT, a_container, a_share
from tests.scheduler.world import a_node, a_pod, a_quota, a_world

WORLD = a_world()
HOOK, CATALOGUE, SETTINGS = WORLD.cluster._hook, WORLD.cluster._catalogue, WORLD.cluster._settings


def limits(quotas: Quotas, namespace: str = "default") -> list[tuple[str, int, str]]:
    return [(limit.role, limit.amount, limit.quota) for limit in quotas.limits(namespace, "acme")]


def test_the_least_of_all_quotas_holds_for_each_number() -> None:
    quotas = Quotas(CATALOGUE)

    quotas.replaced(
        [
            a_quota("a", limits_memory="30k", requests_cores="100"),
            a_quota("b", requests_memory="20k", limits_cores="200", limits_card="4"),
            a_quota("c", namespace="other", limits_memory="1"),
        ]
    )

    assert limits(quotas) == [("cores", 100, "a"), ("count", 4, "b"), ("memory", 20000, "b")]


def test_a_quota_that_changes_or_goes_is_followed() -> None:
    quotas = Quotas(CATALOGUE)
    quotas.put(a_quota("a", limits_memory="10"))
    quotas.put(a_quota("b", limits_memory="20"))

    quotas.put(a_quota("a", limits_memory="30"))
    changed = limits(quotas)
    quotas.remove(a_quota("b"))
    quotas.remove(a_quota("a"))

    assert (changed, limits(quotas)) == ([("memory", 20, "b")], [])


def test_what_no_number_of_ours_is_named_by_is_not_looked_at() -> None:
    quotas = Quotas(CATALOGUE)
    one = a_quota("a")
    one.spec.hard = {"cpu": "half", "limits.memory": "30Gi", f"count/{CARD}": "x", "requests.other.example/card": "?"}

    quotas.put(one)

    assert (limits(quotas), list(quotas.faults())) == ([], [])


def test_a_limit_that_cannot_be_read_is_tighter_than_any_that_can() -> None:
    quotas = Quotas(CATALOGUE)

    quotas.replaced([a_quota("a", limits_memory="0"), a_quota("b", limits_memory="30Gi")])

    assert limits(quotas) == [("memory", 0, "b")]
    assert "30Gi" in quotas.limits("default", "acme")[0].fault


@pytest.mark.parametrize(
    ("used", "more", "refused"),
    [(0, 10, False), (0, 11, True), (10, 1, True), (12, 0, False), (10, 0, False)],
)
def test_a_namespace_may_take_as_much_as_is_left_and_nothing_is_always_there(used: int, more: int, refused: bool) -> None:
    limit = Limit("memory", 10, "q", "limits.memory")

    assert bool(quota.refusal([limit], (0, used, 0), (0, more, 0), "default")) is refused


def test_cores_that_nobody_asks_need_no_quota() -> None:
    world = a_world(a_node("n0"), quotas=[a_quota(limits_cores="0")])

    assert world.filter(a_pod("a"), "n0") == ("n0",)
    assert world.filter(a_pod("b", cores=1), "n0") == ()


def test_a_limit_on_cores_that_cannot_be_read_concerns_pods_that_ask_for_none_too() -> None:
    world = a_world(a_node("n0"), quotas=[a_quota(limits_cores="half")])

    assert world.filter(a_pod("a"), "n0") == ()


def test_shares_are_counted_by_the_device() -> None:
    world = a_world(a_node("n0", 8000, 8000), quotas=[a_quota(limits_card="3")])

    assert world.filter(a_pod("a", a_container(limits={CARD: 2, MEMORY: 1})), "n0") == ("n0",)
    assert world.filter(a_pod("b", a_container(limits={CARD: 2, MEMORY: 1})), "n0") == ()
    assert world.filter(a_pod("c", a_container(limits={CARD: 1, MEMORY: 1})), "n0") == ("n0",)


# --- Used: always the sum. ---

SHARES = st.builds(
    a_share,
    device=st.sampled_from(("d0", "d1")),
    kind=st.sampled_from(("acme", "other")),
    container=st.sampled_from(("a", "b")),
    memory=st.integers(0, 50),
    cores=st.integers(0, 100),
    phases=st.sampled_from(((MAIN,), (MAIN,), (1,), (MAIN, 1))),
)
HOLDINGS = st.builds(
    Holding,
    uid=st.sampled_from("abcd"),
    name=st.just("pod"),
    namespace=st.sampled_from(("red", "blue")),
    shares=st.lists(SHARES, max_size=3).map(tuple),
)


@given(st.lists(HOLDINGS, max_size=12))
def test_what_is_used_is_the_sum_of_what_is_held_after_any_sequence(steps: list[Holding]) -> None:
    usage, held = Usage(), dict[str, Holding]()
    for holding in steps:
        if holding.uid in held:
            usage.remove(held.pop(holding.uid))
        else:
            held[holding.uid] = holding
            usage.add(holding)

        sums: dict[tuple[str, str], np.ndarray] = {}
        for one in held.values():
            for (kind, _, _), claim in ledger.claims(one.shares).items():
                sums[one.namespace, kind] = sums.get((one.namespace, kind), 0) + np.array(
                    (claim.slots, claim.memory, claim.cores)
                )
        assert dict(usage.items()) == {key: tuple(amounts.tolist()) for key, amounts in sums.items() if amounts.any()}


# --- Before a pod is placed. ---

LIMITS = st.fixed_dictionaries(
    {CARD: st.sampled_from((1, 1, 2))},
    optional={MEMORY: st.integers(1, 40), PERCENT: st.integers(1, 100), CORES: st.sampled_from((0, 30, 100))},
)
LAYOUTS = st.lists(st.lists(st.sampled_from((20, 40, 60)), min_size=1, max_size=3), min_size=1, max_size=4)


def a_state(layouts: list[list[int]]) -> State:
    state = State(HOOK, CATALOGUE)
    state.nodes_replaced([a_node(f"n{n}", *sizes) for n, sizes in enumerate(layouts)])
    return state


def an_asked(limits: list[dict[str, int]], inits: list[dict[str, int]]) -> Asked:
    containers = [a_container(f"c{n}", limits=one) for n, one in enumerate(limits)]
    pod = a_pod("a", *containers, initContainers=[a_container(f"i{n}", limits=one) for n, one in enumerate(inits)])
    return Asked("a", "default", "pod-a", "1", decision.ask(HOOK, CATALOGUE, SETTINGS, pod), 0, prepared=True)


@settings(max_examples=200, deadline=None)
@given(
    LAYOUTS,
    st.lists(LIMITS, min_size=1, max_size=2),
    st.lists(LIMITS, max_size=1),
    st.sampled_from(quota.ROLES),
    st.integers(0, 200),
)
def test_what_is_sure_before_a_pod_is_placed_is_true_when_it_is(
    layouts: list[list[int]], limits: list[dict[str, int]], inits: list[dict[str, int]], role: str, amount: int
) -> None:
    state, asked = a_state(layouts), an_asked(limits, inits)
    (one,) = asked.asks
    verdict = decision.judge(HOOK, one, state.tables)
    limit = Limit(role, amount, "q", "key")

    within, over = bounds.surely(one, verdict, state.tables, [limit], quota.NOTHING)

    for row in np.flatnonzero(verdict.nodes):
        shares = choosing.place(HOOK, state, asked, int(row))
        assert not isinstance(shares, str)
        refused = bool(quota.refusal([limit], quota.NOTHING, quota.amounts(shares)["acme"], "default"))
        assert not (within[row] and refused)
        assert not (over[row] and not refused)


@settings(max_examples=100, deadline=None)
@given(LAYOUTS, st.lists(LIMITS, min_size=1, max_size=2), st.lists(LIMITS, max_size=1), st.integers(1, 120))
def test_the_nodes_that_are_kept_are_those_on_which_the_quota_holds(
    layouts: list[list[int]], limits: list[dict[str, int]], inits: list[dict[str, int]], memory: int
) -> None:
    state, asked = a_state(layouts), an_asked(limits, inits)
    names = [f"n{n}" for n in range(len(layouts))]
    free = choosing.choose(HOOK, state, asked, names, 0).filtered.kept
    state.quotas.put(a_quota(limits_memory=str(memory)))

    kept = choosing.choose(HOOK, state, asked, names, 0).filtered.kept

    rows = state.fleet.rows(free).tolist()
    assert kept == tuple(
        name for name, row in zip(free, rows, strict=True) if not isinstance(choosing.place(HOOK, state, asked, row), str)
    )
