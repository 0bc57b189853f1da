"""The sentence for a refusal: what is asked, and what there is, of the devices that passed all the tests before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from hami_core import placement
from hami_core.explain import refusal
from hami_core.model import MAIN, Reason, Request, Resources
from hami_core.testing import strategies
from tests.core.fleet import ACME, CARD, CORES, MEMORY, PERCENT, a_capacity, a_kind, a_request, a_row, a_table

if TYPE_CHECKING:
    from hami_core.table import NodeTable


def busy(row: NodeTable, device: int, slots: int = 0, memory: int = 0, cores: int = 0) -> NodeTable:
    row.take(0, device, slots, memory, cores)
    return row


SICK = [a_capacity("d0"), a_capacity("d1", healthy=False)]
DEFAULT = " (the default, none was given)"
WHOLE = a_request(percent=100, defaulted=frozenset({"memory"}))


@pytest.mark.parametrize(
    ("request_", "row", "sentence"),
    [
        (a_request(), a_row(), f"there is no device of the kind acme ({CARD})"),
        (a_request(count=99), a_row(8000), f"99 devices asked, there is 1 ({CARD})"),
        (a_request(count=2), a_table(SICK), f"2 devices asked, 1 of 2 is healthy ({CARD})"),
        (a_request(memory=9000), a_row(8000), f"9000 MiB asked, 8000 in all on the largest of 1 device ({MEMORY})"),
        (
            a_request(memory=9000, count=2),
            a_row(8000, 9000),
            f"9000 MiB asked, 1 of 2 devices has that much in all, 2 needed ({MEMORY})",
        ),
        (
            a_request(memory=9000),
            a_table([a_capacity(memory=16000, physical=8000)]),
            f"9000 MiB asked, 8000 in all on the largest of 1 device ({MEMORY})",
        ),
        (
            a_request(memory=300),
            a_table([a_capacity("d0", overhead=500), a_capacity("d1", overhead=400)]),
            f"300 MiB asked, the driver takes 400 MiB of a share for each program; ask for more than that ({MEMORY})",
        ),
        (
            a_request(memory=300, count=2),
            a_table([a_capacity("d0", overhead=500), a_capacity("d1", overhead=100)]),
            f"300 MiB asked, the driver takes 500 MiB of a share for each program; ask for more than that ({MEMORY})",
        ),
        (
            a_request(cores=60),
            a_row(8000, cores=50),
            f"60 % of a device's cores asked, 50 % in all on the largest of 1 device ({CORES})",
        ),
        (
            a_request(),
            busy(a_row(8000, slots=1), 0, slots=1),
            f"0 of 1 device may carry one more task, 1 needed; a device carries at most 1 ({CARD})",
        ),
        (
            a_request(),
            a_row(8000, 8000, used=[6200, 7000]),
            f"3000 MiB asked, 1800 free on the emptiest of 2 devices ({MEMORY})",
        ),
        (
            a_request(count=2),
            a_row(8000, 8000, 8000, used=[6200, 7000, 0]),
            f"3000 MiB asked, 1 of 3 devices has that much free, 2 needed ({MEMORY})",
        ),
        (
            WHOLE,
            a_row(8000, used=[6000]),
            f"100 % of a device's memory asked{DEFAULT}, 25 % free on the emptiest of 1 device ({PERCENT})",
        ),
        (
            a_request(cores=60),
            busy(a_row(8000), 0, 1, 0, 70),
            f"60 % of a device's cores asked, 30 % free on the emptiest of 1 device ({CORES})",
        ),
        (
            a_request(cores=60),
            busy(a_row(8000), 0, 1, 0, 130),
            f"60 % of a device's cores asked, 0 % free on the emptiest of 1 device ({CORES})",
        ),
    ],
    ids=range(15),
)
def test_a_refusal_says_what_is_asked_and_what_there_is(request_: Request, row: NodeTable, sentence: str) -> None:
    assert refusal(ACME, [request_], row) == f'container "main": {sentence}'


def test_what_fits_has_no_refusal() -> None:
    assert refusal(ACME, [a_request()], a_row(8000)) == ""


def test_the_first_container_that_does_not_fit_is_named_and_its_siblings_shares_count_as_taken() -> None:
    pod = [a_request("a", memory=5000), a_request("b", memory=5000), a_request("c", memory=9000)]

    expected = f'container "b": 5000 MiB asked, 3000 free on the emptiest of 1 device ({MEMORY})'
    assert refusal(ACME, pod, a_row(8000)) == expected


def test_a_sibling_of_another_phase_does_not_count() -> None:
    pod = [a_request("setup", memory=5000, phases=(1,)), a_request("main", memory=9000, phases=(MAIN,))]

    assert "8000 in all on the largest" in refusal(ACME, pod, a_row(8000))


def test_a_device_without_a_free_slot_does_not_count_as_free_memory() -> None:
    row = busy(a_row(8000, 8000, used=[0, 7000], slots=2), 0, slots=2)

    assert (
        refusal(ACME, [a_request()], row)
        == f'container "main": 3000 MiB asked, 1000 free on the emptiest of 1 device ({MEMORY})'
    )


def test_a_kind_without_a_name_for_the_number_is_told_by_its_count() -> None:
    kind = a_kind("bare", Resources(count="bare.example/card"))

    assert refusal(kind, [a_request(percent=100)], a_row(8000, used=[10])).endswith("(bare.example/card)")


@given(strategies.requests("acme"), strategies.tables(overfull=True))
def test_there_is_a_sentence_if_and_only_if_the_node_does_not_fit(requests: tuple[Request, ...], table: NodeTable) -> None:
    fit = placement.fit(requests, table)
    for n in range(table.shape[0]):
        sentence = refusal(ACME, requests, table.row(n))

        assert bool(sentence) == (fit.reasons[n] != Reason.FITS)
        assert "-" not in sentence.replace("memory-percentage", "")
