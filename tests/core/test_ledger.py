"""Holdings and the tables' used columns: always the sum, in whatever order pods come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core.ledger import Claim, Ledger, claims
from hami_core.model import MAIN
from hami_core.table import USED
from tests.core.fleet import a_capacity, a_holding, a_row, a_share, a_table

if TYPE_CHECKING:
    from hami_core.model import Holding
    from hami_core.table import NodeTable

KEY = ("acme", "share")


def a_ledger(table: NodeTable | None = None) -> Ledger:
    return Ledger({KEY: table if table is not None else a_row(8000, 8000)})


def used(ledger: Ledger) -> list[list[int]]:
    return [getattr(ledger.tables[KEY], name)[0].tolist() for name in USED]


def test_a_holding_is_counted_on_its_device() -> None:
    ledger = a_ledger()

    unknown = ledger.hold("n0", a_holding("a", a_share("d1", memory=3000, cores=30)))

    assert (unknown, used(ledger)) == ((), [[0, 1], [0, 3000], [0, 30]])


def test_an_exclusive_share_takes_all_slots_and_gives_all_back() -> None:
    ledger = a_ledger(a_row(8000, slots=4))

    ledger.hold("n0", a_holding("a", a_share(exclusive=True, cores=100)))
    taken = used(ledger)
    ledger.release("a")

    assert (taken, used(ledger)) == ([[4], [3000], [100]], [[0], [0], [0]])


def test_holding_twice_is_holding_once() -> None:
    ledger = a_ledger()

    ledger.hold("n0", a_holding("a"))
    ledger.hold("n0", a_holding("a"))

    assert used(ledger) == [[1, 0], [3000, 0], [0, 0]]
    assert len(ledger.holdings) == 1


def test_releasing_gives_back_and_says_what_it_was() -> None:
    ledger, holding = a_ledger(), a_holding("a")
    ledger.hold("n0", holding)

    assert ledger.release("a") == holding
    assert used(ledger) == [[0, 0], [0, 0], [0, 0]]


def test_releasing_what_is_not_held_does_nothing() -> None:
    assert a_ledger().release("a") is None


def test_holdings_are_listed_oldest_first() -> None:
    ledger = a_ledger()
    for uid in "bac":
        ledger.hold("n0", a_holding(uid))
    ledger.release("a")

    assert [holding.uid for holding in ledger.holdings] == ["b", "c"]


@pytest.mark.parametrize(
    ("node", "share"),
    [
        ("n0", a_share("gone")),
        ("n9", a_share("d0")),
        ("n0", a_share("d0", kind="other")),
        ("n0", a_share("d0", splitting="mig")),
    ],
)
def test_a_device_that_no_table_knows_is_named_and_still_held(node: str, share: object) -> None:
    ledger = a_ledger()

    unknown = ledger.hold(node, a_holding("a", share))  # type: ignore[arg-type]

    assert unknown in [("gone",), ("d0",)]
    assert used(ledger) == [[0, 0], [0, 0], [0, 0]]
    assert ledger.release("a") is not None


def test_a_claim_is_the_largest_of_the_phases_for_each_number_by_itself() -> None:
    shares = [
        a_share(container="setup", memory=5000, cores=10, phases=(1,)),
        a_share(container="a", memory=2000, cores=30),
        a_share(container="b", memory=1000, cores=30),
        a_share(container="proxy", memory=100, cores=0, phases=(MAIN, 1)),
    ]

    assert claims(shares) == {("acme", "share", "d0"): Claim(slots=3, memory=5100, cores=60)}


# --- Any order -------------------------------------------------------------------------------------------------------

SHARES = st.builds(
    a_share,
    device=st.sampled_from(("d0", "d1", "gone")),
    container=st.sampled_from(("a", "b")),
    memory=st.integers(0, 50),
    cores=st.integers(0, 100),
    phases=st.sampled_from(((MAIN,), (1,), (MAIN, 1))),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(("n0", "n1")), st.sampled_from("abcd"), st.none() | st.lists(SHARES, min_size=1, max_size=3)),
    max_size=12,
)


def recomputed(held: dict[str, tuple[str, Holding]], table: NodeTable) -> list[list[list[int]]]:
    """The used columns from nothing: every phase of every pod summed share by share, the largest phase of each taken."""
    columns = [np.zeros(table.shape, int) for _ in USED]
    for node, holding in held.values():
        n = table.nodes.index(node)
        for w, device in enumerate(table.devices[n]):
            here = [share for share in holding.shares if share.device == device]
            phases = [[(1, share.memory, share.cores) for share in here if phase in share.phases] for phase in (MAIN, 1)]
            for number, column in enumerate(columns):
                column[n, w] += max(sum(share[number] for share in shares) for shares in phases)
    return [column.tolist() for column in columns]


@settings(max_examples=120)
@given(STEPS)
def test_the_columns_are_the_sum_of_what_is_held_after_any_sequence(steps: list[tuple[str, str, list[object] | None]]) -> None:
    table = a_table([a_capacity("d0"), a_capacity("d1")], [a_capacity("d0")])
    ledger = a_ledger(table)
    held: dict[str, tuple[str, Holding]] = {}
    for node, uid, shares in steps:
        if shares is None:
            ledger.release(uid)
            held.pop(uid, None)
        else:
            ledger.hold(node, a_holding(uid, *shares))  # type: ignore[arg-type]
            held.setdefault(uid, (node, a_holding(uid, *shares)))  # type: ignore[arg-type]

        assert [getattr(table, name).tolist() for name in USED] == recomputed(held, table)
        assert all((getattr(table, name) >= 0).all() for name in USED)
    assert {holding.uid for holding in ledger.holdings} == set(held)
