"""The sentence for a refusal: what is asked, and what there is, of the devices that passed all the tests before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from hami_core import placement, table
from hami_core.explain import refusal
from hami_core.model import ID, MAIN, Policy, Reason, Request, Resources, Selector
from hami_core.testing import strategies
from tests.core.fleet import ACME, CARD, CORES, MEMORY, PERCENT, a_capacity, a_kind, a_request, a_row, a_table

if TYPE_CHECKING:
    from hami_core.table import NodeTable


def busy(row: NodeTable, device: int, slots: int = 0, memory: int = 0, cores: int = 0) -> NodeTable:
    row.take(0, device, slots, memory, cores)
    return row


SICK = [a_capacity("d0"), a_capacity("d1", healthy=False)]
OR_ONE = ", or one that has it for itself"
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
            f"0 of 1 device may carry one more task, 1 needed; a device carries at most 1{OR_ONE} ({CARD})",
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
        (
            a_request(selectors=(Selector("use-type", ("a100", "H100")),)),
            a_row(8000, 8000),
            "1 device of a model with a100 or H100 asked, 0 of 2 are such; there is One (use-type)",
        ),
        (
            a_request(count=2, selectors=(Selector("use", ("T4",)), Selector("avoid", ("L4",), out=True))),
            a_table([a_capacity("d0"), a_capacity("d1", model="T4")]),
            "2 devices of a model with T4 and of a model without L4 asked, 1 of 2 is such; there are One, T4 (use, avoid)",
        ),
        (
            a_request(selectors=(Selector("use-id", ("d7",), ID), Selector("avoid-id", ("d1",), ID, out=True))),
            a_row(8000),
            "1 device of the id d7 and other than d1 asked, 0 of 1 are such (use-id, avoid-id)",
        ),
        (
            a_request(),
            table.build([("n0", [a_capacity("d0")])], cordoned={"n0": ["d0"]}),
            "1 device asked, 0 of 1 are in service, the others are cordoned (hami.io/device-cordon on the node)",
        ),
        (
            a_request(cores=100),
            a_row(8000, 8000, used=[1, 1]),
            f"1 device that nobody uses asked, 0 of 2 are idle ({CORES}: 100 % of the cores mean the whole device)",
        ),
        (
            a_request(count=2, policy=Policy(device=("mutex",))),
            a_row(8000, 8000, used=[1, 0]),
            "2 devices that nobody uses asked, 1 of 2 is idle (hami.io/gpu-scheduler-policy: mutex)",
        ),
        (
            a_request(count=2, numa_bind="bind"),
            a_table([a_capacity("d0", numa=0), a_capacity("d1", numa=1)]),
            "2 devices on one NUMA node asked, of 2 with room at most 1 is on the same (bind)",
        ),
        (
            a_request(numa_bind="bind"),
            a_row(8000, 8000),
            "1 device on one NUMA node asked, of 2 with room at most 0 are on the same, 2 on none that is known (bind)",
        ),
    ],
    ids=range(23),
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
        assert not re.search(r"(^|\s)-\d", sentence)
