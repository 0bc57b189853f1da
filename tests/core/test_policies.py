"""The core's opinion on nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from hami_core import placement, policies, table
from hami_core.model import Link, Policy, Request, Score, Selector
from hami_core.testing import strategies
from tests.core.fleet import a_capacity, a_request, a_row, a_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.table import NodeTable


def scored(requests: Sequence[Request], columns: NodeTable) -> Score:
    return policies.score(requests, columns, placement.fit(requests, columns))


def test_binpack_is_how_full_the_node_would_be_the_mean_of_slots_memory_and_cores() -> None:
    row = a_row(8000, 8000, used=[2000, 0])

    values = scored([a_request(memory=3000, cores=30)], row).values

    assert values.tolist() == pytest.approx([(2 / 20 + 5000 / 16000 + 30 / 200) / 3])


def test_spread_is_how_empty() -> None:
    row = a_row(8000)
    full = scored([a_request()], row).values
    empty = scored([a_request(policy=Policy(node="spread"))], row).values

    assert (full + empty).tolist() == pytest.approx([1.0])


def test_every_container_counts() -> None:
    row = a_row(8000, 8000)

    one = scored([a_request(count=2)], row).values
    two = scored([a_request("a"), a_request("b")], row).values

    assert one.tolist() == two.tolist()


def test_a_percentage_counts_as_that_part_of_the_mean_device() -> None:
    row = a_table([a_capacity("d0", 4000), a_capacity("d1", 12000)])

    percent = scored([a_request(percent=50)], row).values

    assert percent.tolist() == scored([a_request(memory=4000)], row).values.tolist()


@given(strategies.requests("acme"), strategies.tables(overfull=True))
def test_opinions_lie_between_0_and_1(requests: tuple[Request, ...], columns: NodeTable) -> None:
    values = scored(requests, columns.locked()).values

    assert values.shape == (columns.shape[0],)
    assert ((values >= 0) & (values <= 1)).all()


def test_a_percentage_counts_the_devices_that_could_serve_and_no_others() -> None:
    row = a_table([a_capacity("d0", 4000), a_capacity("d1", 12000, model="Big")])
    big = (Selector("use", ("big",)),)

    percent = scored([a_request(percent=50, selectors=big)], row).values

    assert percent.tolist() == scored([a_request(memory=6000, selectors=big)], row).values.tolist()


def test_a_device_for_oneself_counts_with_all_its_slots() -> None:
    row = a_row(8000, 8000, slots=4)

    alone = scored([a_request(cores=100)], row).values

    assert alone.tolist() == pytest.approx([(4 / 8 + 3000 / 16000 + 100 / 200) / 3])


# --- Connections -----------------------------------------------------------------------------------------------------

JOINED = Policy(device=("topology-aware",))
PAIRS = [(0, 1, 100), (2, 3, 100)]  # two pairs


def pairs(*busy: tuple[int, int], nodes: int = 2) -> NodeTable:
    """Nodes of two joined pairs; ``busy`` (node, device) have no slot left."""
    rows = [(f"n{n}", [a_capacity(f"n{n}-d{w}") for w in range(4)]) for n in range(nodes)]
    links = {f"n{n}": [Link(f"n{n}-d{a}", f"n{n}-d{b}", "wire", score=score) for a, b, score in PAIRS] for n in range(nodes)}
    columns = table.build(rows, links=links)
    for n, w in busy:
        columns.take(n, w, 10, 0, 0)
    return columns


def test_a_node_with_a_whole_pair_goes_before_a_fuller_one_whose_pairs_are_broken() -> None:
    columns = pairs((0, 0), (0, 2))
    columns.take(0, 1, 5, 4000, 90)

    values = scored([a_request(count=2, policy=JOINED)], columns).values

    assert scored([a_request(count=2)], columns).values.argmax() == 0
    assert values.argmax() == 1


def test_one_device_goes_where_a_pair_is_broken_already() -> None:
    values = scored([a_request(policy=Policy("spread", ("topology-aware",)))], pairs((1, 0))).values

    assert values.argmax() == 1


def test_between_nodes_that_are_connected_alike_the_node_policy_decides() -> None:
    columns = pairs()
    columns.take(1, 0, 1, 1000, 0)

    assert scored([a_request(count=2, policy=JOINED)], columns).values.argmax() == 1


def test_bound_to_a_numa_node_only_connections_within_one_count() -> None:
    def row(*numa: int) -> NodeTable:
        devices = [a_capacity(f"d{w}", numa=number) for w, number in enumerate(numa)]
        return table.build([("n0", devices)], links={"n0": [Link("d0", "d1", "wire", score=100)]})

    request = a_request(count=2, policy=JOINED, numa_bind="bind")

    apart, together = (scored([request], row(*numa)).values[0] for numa in ((0, 1, 0, 1), (0, 0, 1, 1)))

    assert apart < together
