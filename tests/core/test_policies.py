"""The core's opinion on nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from hami_core import placement, policies
from hami_core.model import Policy, Request, Score
from hami_core.testing import strategies
from tests.core.fleet import a_capacity, a_request, a_row, a_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.table import NodeTable


def scored(requests: Sequence[Request], table: NodeTable) -> Score:
    return policies.score(requests, table, placement.fit(requests, table))


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
def test_opinions_lie_between_0_and_1(requests: tuple[Request, ...], table: NodeTable) -> None:
    values = scored(requests, table.locked()).values

    assert values.shape == (table.shape[0],)
    assert ((values >= 0) & (values <= 1)).all()
