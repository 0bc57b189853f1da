"""Hypothesis strategies: small random pods' requests, devices and tables, for the contract suite and the core's own tests.

Numbers are drawn from narrow ranges, so that requests and capacities meet: a table on which everything fits teaches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from hami_core import table
from hami_core.model import MAIN, SHARE, Capacity, Device, DeviceInventory, Policy, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Kind
    from hami_core.table import NodeTable

WORDS = ("binpack", "spread")
PHASES = ((MAIN,), (1,), (2,), (MAIN, 1, 2), (MAIN, 2))  # main, two init containers, a sidecar before and one between them


def policies() -> st.SearchStrategy[Policy]:
    """Any policy."""
    return st.builds(Policy, node=st.sampled_from(WORDS), device=st.sampled_from(WORDS))


@st.composite
def requests(draw: st.DrawFn, kind: str, largest: int = 40, longest: int = 3) -> tuple[Request, ...]:
    """What the containers of one pod ask of a kind; memory up to ``largest`` MiB or in percent."""
    policy = draw(policies())
    return tuple(draw(_request(kind, f"c{number}", policy, largest)) for number in range(draw(st.integers(1, longest))))


@st.composite
def _request(draw: st.DrawFn, kind: str, container: str, policy: Policy, largest: int) -> Request:
    absolute = draw(st.booleans())
    return Request(
        container=container,
        kind=kind,
        count=draw(st.integers(1, 3)),
        memory=draw(st.integers(1, largest)) if absolute else None,
        percent=None if absolute else draw(st.integers(1, 100)),
        cores=draw(st.sampled_from((0, 0, 1, 30, 50, 100))),
        phases=draw(st.sampled_from(PHASES)),
        policy=policy,
    )


@st.composite
def capacities(draw: st.DrawFn, device: str) -> Capacity:
    """One device as a splitting might offer it: scaled memory, several slots, now and then sick."""
    physical = draw(st.integers(10, 40))
    return Capacity(
        device=device,
        model="Tiny",
        slots=draw(st.integers(1, 3)),
        memory=physical * draw(st.sampled_from((1, 1, 2))),
        physical=physical,
        overhead=draw(st.sampled_from((0, 0, 4))),
        cores=draw(st.sampled_from((50, 100, 100))),
        numa=draw(st.sampled_from((None, 0, 1))),
        healthy=draw(st.integers(0, 4)) > 0,
    )


@st.composite
def tables(draw: st.DrawFn, *, overfull: bool = False) -> NodeTable:
    """Up to four nodes of up to four devices, partly taken. ``overfull``: also by more than there is, as after a repair."""
    rows = [
        (f"n{n}", [draw(capacities(f"n{n}-d{w}")) for w in range(draw(st.integers(0, 4)))])
        for n in range(draw(st.integers(1, 4)))
    ]
    return draw(filled(table.build(rows), overfull=overfull))


@st.composite
def filled(draw: st.DrawFn, columns: NodeTable, *, overfull: bool = False) -> NodeTable:
    """The table with random amounts taken of its devices."""
    for n, ids in enumerate(columns.devices):
        for w in range(len(ids)):
            free = [int(column[n, w]) for column in (columns.slots, columns.memory, columns.cores)]
            columns.take(n, w, *(draw(st.integers(0, most + overfull)) if draw(st.booleans()) else 0 for most in free))
    return columns


def inventories(kind: Kind, models: Sequence[Device] = ()) -> st.SearchStrategy[DeviceInventory]:
    """Up to four devices of a kind: any of ``models``, or invented ones where there are none; now and then a sick one."""
    chosen = st.lists(st.sampled_from(models), unique=True, max_size=4) if models else _invented()
    return chosen.map(lambda devices: DeviceInventory(kind.name, tuple(devices)))


@st.composite
def _invented(draw: st.DrawFn) -> list[Device]:
    return [
        Device(
            id=f"invented-{index}",
            index=index,
            model=draw(st.sampled_from(("One", "Two"))),
            memory=draw(st.sampled_from((8000, 16000))),
            sick="" if draw(st.integers(0, 4)) else "invented to be sick",
        )
        for index in range(draw(st.integers(0, 4)))
    ]


__all__ = ["PHASES", "SHARE", "capacities", "filled", "inventories", "policies", "requests", "tables"]
