"""Hypothesis strategies: small random pods' requests, devices, links, tables, for the contract suite and the core's own tests.

Numbers are drawn from narrow ranges, so that requests and capacities meet: a table on which everything fits teaches nothing.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from attrs import evolve
from hypothesis import strategies as st

from hami_core import table
from hami_core.model import (
    DEVICE_POLICIES,
    ID,
    MAIN,
    MODEL,
    NODE_POLICIES,
    SHARE,
    Capacity,
    Device,
    DeviceInventory,
    Link,
    Policy,
    Request,
    Selector,
    Weights,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Kind
    from hami_core.table import NodeTable

PHASES = ((MAIN,), (1,), (2,), (MAIN, 1, 2), (MAIN, 2))  # main, two init containers, a sidecar before and one between them


def policies() -> st.SearchStrategy[Policy]:
    """Any policy: one word for devices, or several in any order."""
    words = st.lists(st.sampled_from(DEVICE_POLICIES), unique=True, min_size=1, max_size=3)
    weights = st.sampled_from((Weights(), Weights(), Weights(1, 0, 3), Weights(0, 2, 0)))
    return st.builds(Policy, node=st.sampled_from(NODE_POLICIES), device=words.map(tuple), weights=weights)


def selectors(words: Sequence[str] = ("iny", "BIG"), ids: Sequence[str] = ("n0-d0", "n1-d1")) -> st.SearchStrategy[Selector]:
    """A wish by model or id, in or out: some of the words, or of the ids."""
    by_model = st.lists(st.sampled_from(words), min_size=1, max_size=2, unique=True)
    by_id = st.lists(st.sampled_from(ids), min_size=1, max_size=2, unique=True)
    return st.one_of(
        st.builds(Selector, key=st.just("wish/model"), words=by_model.map(tuple), by=st.just(MODEL), out=st.booleans()),
        st.builds(Selector, key=st.just("wish/id"), words=by_id.map(tuple), by=st.just(ID), out=st.booleans()),
    )


def _seldom() -> st.SearchStrategy[bool]:
    """A condition too many, and nothing fits: wishes are for one pod in four."""
    return st.sampled_from((False, False, False, True))


@st.composite
def requests(
    draw: st.DrawFn,
    kind: str,
    largest: int = 40,
    longest: int = 3,
    selecting: st.SearchStrategy[Selector] | None = None,
) -> tuple[Request, ...]:
    """What the containers of one pod ask of a kind; memory up to ``largest`` MiB or in percent; the pod's wishes rule all."""
    policy = draw(policies())
    wished = st.lists(selectors() if selecting is None else selecting, min_size=1, max_size=2).map(tuple)
    chosen = draw(wished) if draw(_seldom()) else ()
    bound = "wish/numa" if draw(_seldom()) else ""
    own = [draw(_request(kind, f"c{number}", largest)) for number in range(draw(st.integers(1, longest)))]
    return tuple(evolve(request, policy=policy, selectors=chosen, numa_bind=bound) for request in own)


@st.composite
def _request(draw: st.DrawFn, kind: str, container: str, largest: int) -> Request:
    absolute = draw(st.booleans())
    return Request(
        container=container,
        kind=kind,
        count=draw(st.integers(1, 3)),
        memory=draw(st.integers(1, largest)) if absolute else None,
        percent=None if absolute else draw(st.integers(1, 100)),
        cores=draw(st.sampled_from((0, 0, 1, 30, 50, 100))),
        phases=draw(st.sampled_from(PHASES)),
    )


@st.composite
def capacities(draw: st.DrawFn, device: str) -> Capacity:
    """One device as a splitting might offer it: scaled memory, several slots, now and then sick."""
    physical = draw(st.integers(10, 40))
    return Capacity(
        device=device,
        model=draw(st.sampled_from(("Tiny", "Tiny", "Big"))),
        slots=draw(st.integers(1, 3)),
        memory=physical * draw(st.sampled_from((1, 1, 2))),
        physical=physical,
        overhead=draw(st.sampled_from((0, 0, 4))),
        cores=draw(st.sampled_from((50, 100, 100))),
        numa=draw(st.sampled_from((None, 0, 1))),
        healthy=draw(st.integers(0, 4)) > 0,
    )


@st.composite
def links(draw: st.DrawFn, ids: Sequence[str]) -> tuple[Link, ...]:
    """Some pairs of these devices with a score from a narrow range, so that sets tie; or none, or all pairs alike."""
    scores = draw(st.sampled_from(((0,), (7,), (0, 1, 2), (10, 20, 1220))))
    pairs = list(combinations(sorted(ids), 2))
    return tuple(Link(a, b, "wire", score=draw(st.sampled_from(scores))) for a, b in pairs)


@st.composite
def tables(draw: st.DrawFn, *, overfull: bool = False, widest: int = 4) -> NodeTable:
    """Up to four nodes of a few devices, linked, partly taken, some cordoned.

    ``overfull``: also taken by more than there is, as after a repair.
    """
    rows = [
        (f"n{n}", [draw(capacities(f"n{n}-d{w}")) for w in range(draw(st.integers(0, widest)))])
        for n in range(draw(st.integers(1, 4)))
    ]
    linked = {node: draw(links([one.device for one in devices])) for node, devices in rows}
    out = {"n0": ("n0-d0",)} if draw(_seldom()) else {}
    return draw(filled(table.build(rows, links=linked, cordoned=out), overfull=overfull))


@st.composite
def filled(draw: st.DrawFn, columns: NodeTable, *, overfull: bool = False) -> NodeTable:
    """The table with random amounts taken of its devices."""
    for n, ids in enumerate(columns.devices):
        for w in range(len(ids)):
            free = [int(column[n, w]) for column in (columns.slots, columns.memory, columns.cores)]
            columns.take(n, w, *(draw(st.integers(0, most + overfull)) if draw(st.booleans()) else 0 for most in free))
    return columns


def inventories(kind: Kind, models: Sequence[Device] = ()) -> st.SearchStrategy[DeviceInventory]:
    """Up to four devices of a kind, linked: any of ``models``, or invented ones where there are none; some are sick."""
    chosen = st.lists(st.sampled_from(models), unique=True, max_size=4) if models else _invented()
    return chosen.flatmap(lambda devices: _linked(kind, tuple(devices)))


def _linked(kind: Kind, devices: tuple[Device, ...]) -> st.SearchStrategy[DeviceInventory]:
    found = links([device.id for device in devices])
    return found.map(lambda pairs: DeviceInventory(kind.name, devices, pairs))


@st.composite
def _invented(draw: st.DrawFn) -> list[Device]:
    return [
        Device(
            id=f"invented-{index}",
            index=index,
            model=draw(st.sampled_from(("One", "Two"))),
            memory=draw(st.sampled_from((8000, 16000))),
            numa=draw(st.sampled_from((None, 0, 0, 1))),
            sick="" if draw(st.integers(0, 4)) else "invented to be sick",
        )
        for index in range(draw(st.integers(0, 4)))
    ]


__all__ = ["PHASES", "SHARE", "capacities", "filled", "inventories", "links", "policies", "requests", "selectors", "tables"]
