"""The sentence for a pod that fits nowhere: what is counted, which numbers stand there, and that it is short and stable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from hami_core import decision, plugins, table
from hami_core.decision import Ask
from hami_core.model import ID, MODEL, SHARE, Kind, Policy, Reason, Resources, Selector, Splitting
from hami_scheduler import whynot
from tests.core.fleet import ACME, a_capacity, a_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Capacity, Request
    from hami_core.table import NodeTable

HOOK = plugins.load([], "").hook
SHARES = Splitting("acme", SHARE)


def nodes(*capacities: Sequence[Capacity], cordoned: dict[str, list[str]] | None = None) -> NodeTable:
    """A table of these nodes, named n0, n1 and so on."""
    return table.build([(f"n{n}", found) for n, found in enumerate(capacities)], cordoned=cordoned or {})


def told(columns: NodeTable, *requests: Request, others: dict[str, int] | None = None) -> str:
    asks = (Ask(ACME, (SHARES,), requests),)
    tables = {("acme", SHARE): columns}
    verdicts = [decision.judge(HOOK, asked, tables) for asked in asks]
    return whynot.sentence(asks, verdicts, tables, np.arange(len(columns.nodes)), others or {})


def used(columns: NodeTable, node: int, device: int = 0, slots: int = 1, memory: int = 0, cores: int = 0) -> None:
    columns.take(node, device, slots, memory, cores)


def test_reasons_are_counted_the_commonest_first_with_the_numbers_that_matter() -> None:
    t4, a100 = a_capacity(model="Tesla T4", memory=15360), a_capacity(model="A100", memory=40960)
    columns = nodes(*[[a100]] * 7, *[[a100]] * 3, *[[t4]] * 2, cordoned={f"n{n}": ["d0"] for n in (7, 8, 9)})
    for n in range(7):
        used(columns, n, memory=40960 - 22528 + n)

    text = told(columns, a_request(memory=40000, selectors=(Selector("acme.example/use-type", ("A100",)),)))

    assert text == (
        "0/12 nodes: 7 lack a device with 40000 MiB free (largest 22528; acme.example/memory), 3 cordoned, "
        "2 of type Tesla T4, not A100"
    )


def busy(**changes: Any) -> NodeTable:
    columns = nodes([a_capacity("d0", **changes), a_capacity("d1", **changes)])
    used(columns, 0, 0, 1, 6000, 80)
    used(columns, 0, 1, 1, 3000, 60)
    return columns


@pytest.mark.parametrize(
    ("columns", "request_", "sentence"),
    [
        (nodes([]), a_request(), "1 has no device (acme.example/card)"),
        (nodes([a_capacity()]), a_request(count=2), "1 lacks 2 devices (at most 1; acme.example/card)"),
        (
            nodes([a_capacity()]),
            a_request(selectors=(Selector("k", ("d7",), ID),)),
            "1 lacks a device of the ids asked for (k)",
        ),
        (
            nodes([a_capacity(model="Two")]),
            a_request(selectors=(Selector("k", ("Two",), MODEL, out=True),)),
            "1 of type Two, ruled out by k",
        ),
        (
            nodes([a_capacity("d0"), a_capacity("d1", model="Two")]),
            a_request(count=2, selectors=(Selector("k", ("One",)),)),
            "1 lacks 2 devices of type One (at most 1)",
        ),
        (nodes([a_capacity(healthy=False)]), a_request(), "1 lacks a healthy device"),
        (
            nodes([a_capacity(), a_capacity("d1", healthy=False)]),
            a_request(count=2),
            "1 lacks 2 healthy devices (at most 1)",
        ),
        (
            nodes([a_capacity(), a_capacity("d1")], cordoned={"n0": ["d1"]}),
            a_request(count=2),
            "1 lacks 2 devices that are not cordoned (at most 1)",
        ),
        (
            nodes([a_capacity(memory=8000)]),
            a_request(memory=9000),
            "1 lacks a device with 9000 MiB in all (largest 8000; acme.example/memory)",
        ),
        (
            nodes([a_capacity(overhead=400)]),
            a_request(memory=300),
            "1 has a driver that takes 400 MiB of each share (acme.example/memory)",
        ),
        (
            nodes([a_capacity(cores=50)]),
            a_request(cores=60),
            "1 lacks a device with 60 % of compute in all (most 50 %; acme.example/cores)",
        ),
        (busy(slots=1), a_request(memory=1), "1 lacks a device that may carry one more task (acme.example/card)"),
        (
            busy(),
            a_request(memory=1, cores=100),
            "1 lacks a device that nobody uses (acme.example/cores)",
        ),
        (
            busy(),
            a_request(memory=1, policy=Policy(device=("mutex",))),
            "1 lacks a device that nobody uses (hami.io/gpu-scheduler-policy)",
        ),
        (
            busy(),
            a_request(memory=5001),
            "1 lacks a device with 5001 MiB free (largest 5000; acme.example/memory)",
        ),
        (
            busy(),
            a_request(memory=5001, defaulted=frozenset({"memory"})),
            "1 lacks a device with 5001 MiB, the default, free (largest 5000; acme.example/memory)",
        ),
        (
            busy(),
            a_request(memory=3000, count=2),
            "1 lacks 2 devices with 3000 MiB free (at most 1; acme.example/memory)",
        ),
        (
            busy(),
            a_request(percent=70),
            "1 lacks a device with 70 % of its memory free (most 62 %; acme.example/memory-percentage)",
        ),
        (
            busy(),
            a_request(memory=1, cores=50),
            "1 lacks a device with 50 % of compute free (most 40 %; acme.example/cores)",
        ),
        (
            nodes([a_capacity(numa=0), a_capacity("d1", numa=1)]),
            a_request(count=2, numa_bind="acme.example/numa-bind"),
            "1 lacks 2 devices on one NUMA node (at most 1; acme.example/numa-bind)",
        ),
    ],
)
def test_every_reason_has_its_words(columns: NodeTable, request_: Request, sentence: str) -> None:
    assert told(columns, request_) == f"0/1 nodes: {sentence}"


def test_what_the_pod_s_own_containers_take_counts_as_taken() -> None:
    columns = nodes([a_capacity(memory=15000)])

    text = told(columns, a_request("one", memory=10000), a_request("two", memory=10000))

    assert text == '0/1 nodes: 1 lacks a device with 10000 MiB free (largest 5000; acme.example/memory) for "two"'


def test_nodes_that_published_nothing_are_counted_too() -> None:
    assert told(nodes([]), a_request(), others={"published no device": 4}) == (
        "0/5 nodes: 4 published no device, 1 has no device (acme.example/card)"
    )


def test_of_two_kinds_the_first_that_a_node_cannot_serve_is_named() -> None:
    other = Kind("other", Resources(count="other.example/card"), "OTHER_VISIBLE")
    asks = (Ask(ACME, (SHARES,), (a_request(),)), Ask(other, (Splitting("other", SHARE),), (a_request(kind="other"),)))
    tables = {("acme", SHARE): nodes([a_capacity()], []), ("other", SHARE): nodes([], [a_capacity()])}
    verdicts = [decision.judge(HOOK, asked, tables) for asked in asks]

    text = whynot.sentence(asks, verdicts, tables, np.arange(2))

    assert text == "0/2 nodes: 1 has no device (acme.example/card), 1 has no device (other.example/card)"


def test_a_reason_of_a_plugin_s_own_fit_has_words_too() -> None:
    columns = nodes([a_capacity()])
    asks = (Ask(ACME, (SHARES,), (a_request(memory=9000),)),)
    verdict = decision.judge(HOOK, asks[0], {("acme", SHARE): columns})
    strange = np.array([Reason.IN_USE], np.int8)
    verdict = evolve(verdict, reasons=strange, fits=((evolve(verdict.fits[0][0], reasons=strange),),))

    assert whynot.sentence(asks, [verdict], {("acme", SHARE): columns}, np.arange(1)) == (
        "0/1 nodes: 1 does not fit (acme.example/card)"
    )


def test_a_sentence_that_would_be_too_long_counts_the_rest() -> None:
    long = [[a_capacity(model=f"Model {n} {'x' * 60}", memory=9000)] for n in range(2)]
    columns = nodes(*long, [], [a_capacity(model="A100", healthy=False)], [a_capacity(model="A100", memory=8000)])

    text = told(columns, a_request(memory=9000, selectors=(Selector("k", ("A100",)),)))

    assert text == (f"0/5 nodes: 2 of type Model 0 {'x' * 60} or Model 1 {'x' * 60}, not A100, 3 for other reasons")
    assert len(text) <= whynot.LONGEST


CAPACITIES = st.lists(
    st.builds(
        a_capacity,
        st.sampled_from(["d0", "d1"]),
        st.integers(0, 9000),
        model=st.sampled_from(["One", "Two"]),
        healthy=st.booleans(),
        slots=st.integers(0, 2),
        numa=st.sampled_from([None, 0, 1]),
        cores=st.sampled_from([50, 100]),
    ),
    max_size=2,
    unique_by=lambda one: one.device,
)
REQUESTS = st.builds(
    a_request,
    st.sampled_from(["one", "two"]),
    count=st.integers(1, 2),
    memory=st.integers(1, 9000),
    cores=st.sampled_from([0, 60, 100]),
    numa_bind=st.sampled_from(["", "bind"]),
    selectors=st.sampled_from([(), (Selector("k", ("One",)),), (Selector("i", ("d1",), ID, out=True),)]),
)


@given(
    st.lists(CAPACITIES, min_size=1, max_size=6),
    st.lists(REQUESTS, min_size=1, max_size=2, unique_by=lambda one: one.container),
)
def test_every_judgement_can_be_told(capacities: list[list[Capacity]], requests: list[Request]) -> None:
    columns = nodes(*capacities)
    asks = (Ask(ACME, (SHARES,), tuple(requests)),)
    verdict = decision.judge(HOOK, asks[0], {("acme", SHARE): columns})

    text = told(columns, *requests)

    fitting = int(verdict.nodes.sum())
    assert text.startswith(f"{fitting}/{len(capacities)} nodes")
    assert len(text) <= whynot.LONGEST
