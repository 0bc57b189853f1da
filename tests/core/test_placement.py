"""Fit and place, against the obvious loop: one node, one device, one number at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core import placement
from hami_core.model import MAIN, Policy, Reason, Share
from hami_core.testing import strategies
from tests.core.fleet import a_capacity, a_request, a_row, a_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Request
    from hami_core.table import NodeTable

BINPACK = Policy(device="binpack")


# --- The slow twin ---------------------------------------------------------------------------------------------------


@define
class SlowNode:
    """One node of a table as numbers, and what the pod has taken: (phase, device, memory, cores) for each share."""

    table: NodeTable
    n: int
    taken: list[tuple[int, int, int, int]] = field(factory=list)

    def most_taken(self, w: int, phases: Sequence[int]) -> tuple[int, int, int]:
        sums = [
            [(1, memory, cores) for phase, device, memory, cores in self.taken if (phase, device) == (one, w)] for one in phases
        ]
        by_phase = [tuple(map(sum, zip((0, 0, 0), *shares, strict=True))) for shares in sums]
        return tuple(max(column) for column in zip((0, 0, 0), *by_phase, strict=True))

    def needs(self, request: Request, w: int) -> int:
        if request.memory is not None:
            return request.memory
        return max(1, int(self.table.physical[self.n, w]) * (request.percent or 0) // 100)

    def passes(self, request: Request, w: int) -> dict[Reason, bool]:
        t, n, memory = self.table, self.n, self.needs(request, w)
        slots_taken, memory_taken, cores_taken = self.most_taken(w, request.phases)
        return {
            Reason.COUNT: bool(t.present[n, w]),
            Reason.HEALTH: bool(t.healthy[n, w]),
            Reason.SIZE: bool(
                t.overhead[n, w] < memory <= min(t.memory[n, w], t.physical[n, w]) and request.cores <= t.cores[n, w]
            ),
            Reason.SLOTS: bool(t.slots_used[n, w] + slots_taken + 1 <= t.slots[n, w]),
            Reason.MEMORY: bool(t.memory_used[n, w] + memory_taken + memory <= t.memory[n, w]),
            Reason.CORES: request.cores == 0 or bool(t.cores_used[n, w] + cores_taken + request.cores <= t.cores[n, w]),
        }

    def fullness(self, w: int) -> float:
        t, n = self.table, self.n
        slots, memory, cores = self.most_taken(w, sorted({phase for phase, _, _, _ in self.taken}))
        parts = [
            (t.slots_used[n, w] + slots) / max(t.slots[n, w], 1),
            (t.memory_used[n, w] + memory) / max(t.memory[n, w], 1),
            (t.cores_used[n, w] + cores) / max(t.cores[n, w], 1),
        ]
        return float(sum(parts) / 3)

    def held_elsewhere(self, request: Request, w: int) -> bool:
        return any(device == w and phase not in request.phases for phase, device, _, _ in self.taken)

    def best_first(self, request: Request, devices: list[int]) -> list[int]:
        sign = -1 if request.policy.device == "binpack" else 1
        return sorted(devices, key=lambda w: (not self.held_elsewhere(request, w), round(sign * self.fullness(w), 9), w))

    def take(self, request: Request, w: int) -> None:
        self.taken += [(phase, w, self.needs(request, w), request.cores) for phase in request.phases]


def slow_reason(request: Request, passes: Sequence[dict[Reason, bool]]) -> Reason:
    left = list(passes)
    for reason in placement.REASONS:
        left = [one for one in left if one[reason]]
        if len(left) < request.count:
            return Reason.NO_DEVICE if reason is Reason.COUNT and not left else reason
    return Reason.FITS


def slow_fit(requests: Sequence[Request], table: NodeTable, n: int) -> tuple[Reason, list[list[bool]], list[list[int]]]:
    """The reason, which devices could hold each request, and which are chosen for it."""
    node, reason, masks, chosen = SlowNode(table, n), Reason.FITS, [], []
    for request in requests:
        passes = [node.passes(request, w) for w in range(table.shape[1])]
        masks.append([all(one.values()) for one in passes])
        reason = reason or slow_reason(request, passes)
        chosen.append(sorted(node.best_first(request, [w for w, ok in enumerate(masks[-1]) if ok])[: request.count]))
        for w in chosen[-1]:
            node.take(request, w)
    return reason, masks, chosen


# --- The same answers ------------------------------------------------------------------------------------------------

ASKED = strategies.requests("acme")


@settings(max_examples=150)
@given(ASKED, strategies.tables(overfull=True))
def test_the_columns_agree_with_the_obvious_loop(requests: tuple[Request, ...], table: NodeTable) -> None:
    slow = [slow_fit(requests, table, n) for n in range(table.shape[0])]

    fit = placement.fit(requests, table.locked())

    assert [Reason(reason) for reason in fit.reasons] == [reason for reason, _, _ in slow]
    assert fit.nodes.tolist() == [reason is Reason.FITS for reason, _, _ in slow]
    assert fit.devices.tolist() == [[masks[r] for _, masks, _ in slow] for r in range(len(requests))]


@settings(max_examples=150)
@given(ASKED, strategies.tables(overfull=True))
def test_a_node_fits_if_and_only_if_placing_on_it_succeeds_and_on_the_same_devices(
    requests: tuple[Request, ...], table: NodeTable
) -> None:
    fit = placement.fit(requests, table)
    for n in range(table.shape[0]):
        shares = placement.place(requests, table.row(n).locked(), "share")
        _, _, chosen = slow_fit(requests, table, n)

        assert bool(shares) == bool(fit.nodes[n])
        if shares:
            assert [share.device for share in shares] == [table.devices[n][w] for devices in chosen for w in devices]
            assert [share.container for share in shares] == [one.container for one in requests for _ in range(one.count)]


@settings(max_examples=80)
@given(ASKED, strategies.tables())
def test_placed_shares_never_exceed_a_device_in_any_phase(requests: tuple[Request, ...], table: NodeTable) -> None:
    for n in range(table.shape[0]):
        shares = placement.place(requests, table.row(n), "share")
        for phase in range(3):
            for w, device in enumerate(table.devices[n]):
                here = [share for share in shares if share.device == device and phase in share.phases]
                assert table.slots_used[n, w] + len(here) <= table.slots[n, w]
                assert table.memory_used[n, w] + sum(share.memory for share in here) <= table.memory[n, w]
                assert table.cores_used[n, w] + sum(share.cores for share in here) <= table.cores[n, w]


@settings(max_examples=60)
@given(ASKED, strategies.tables(overfull=True))
def test_a_node_is_judged_alike_alone_and_among_others(requests: tuple[Request, ...], table: NodeTable) -> None:
    alone = [int(placement.fit(requests, table.row(n)).reasons[0]) for n in range(table.shape[0])]

    assert placement.fit(requests, table).reasons.tolist() == alone


@given(ASKED, strategies.tables())
def test_inputs_stay_as_they_were(requests: tuple[Request, ...], table: NodeTable) -> None:
    before = [getattr(table, name).copy() for name in ("slots_used", "memory_used", "cores_used", "present")]

    placement.fit(requests, table)
    placement.place(requests, table.row(0), "share")

    after = [getattr(table, name) for name in ("slots_used", "memory_used", "cores_used", "present")]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


# --- Every reason ----------------------------------------------------------------------------------------------------

REFUSALS = {
    Reason.FITS: (a_request(), a_row(8000)),
    Reason.NO_DEVICE: (a_request(), a_row()),
    Reason.COUNT: (a_request(count=2), a_row(8000)),
    Reason.HEALTH: (a_request(count=2), a_table([a_capacity("d0"), a_capacity("d1", healthy=False)])),
    Reason.SIZE: (a_request(memory=9000), a_row(8000)),
    Reason.SLOTS: (a_request(), a_row(8000, slots=1, used=[1])),
    Reason.MEMORY: (a_request(), a_row(8000, used=[5001])),
    Reason.CORES: (a_request(cores=60), a_row(8000)),
}
REFUSALS[Reason.CORES][1].take(0, 0, 1, 0, 50)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.name)
def test_every_reason_can_be_reached(reason: Reason) -> None:
    request, row = REFUSALS[reason]

    assert placement.fit([request], row).reasons.tolist() == [reason]


def test_the_last_mib_fits_and_the_next_does_not() -> None:
    row = a_row(8000, used=[5000])

    assert placement.fit([a_request(memory=3000)], row).nodes[0]
    assert not placement.fit([a_request(memory=3001)], row).nodes[0]


def test_one_share_is_never_larger_than_the_metal_however_much_is_handed_out() -> None:
    row = a_table([a_capacity(memory=16000, physical=8000)])

    assert placement.fit([a_request(memory=8000), a_request(memory=8000)], row).nodes[0]
    assert placement.fit([a_request(memory=8001)], row).reasons.tolist() == [Reason.SIZE]


def test_a_share_has_to_hold_more_than_the_driver_takes_of_it() -> None:
    row = a_row(8000, overhead=500)

    assert placement.fit([a_request(memory=500)], row).reasons.tolist() == [Reason.SIZE]
    assert placement.fit([a_request(memory=501)], row).nodes[0]


def test_who_asks_for_no_cores_fits_beside_more_than_all_of_them() -> None:
    row = a_row(8000)
    row.take(0, 0, 1, 0, 130)

    assert placement.fit([a_request(cores=0)], row).nodes[0]


def test_a_percentage_is_of_the_metal_not_of_the_scaled_memory() -> None:
    row = a_table([a_capacity(memory=16000, physical=8000)])

    (share,) = placement.place([a_request(percent=50)], row, "share")

    assert share.memory == 4000


# --- Which device ----------------------------------------------------------------------------------------------------


def test_spread_takes_the_emptiest_device_and_binpack_the_fullest_that_has_room() -> None:
    row = a_row(8000, 8000, 8000, used=[2000, 0, 6000])

    (spread,) = placement.place([a_request()], row, "share")
    (binpack,) = placement.place([a_request(policy=BINPACK)], row, "share")

    assert (spread.device, binpack.device) == ("d1", "d0")


def test_equals_keep_the_order_of_the_devices() -> None:
    shares = placement.place([a_request(count=2)], a_row(8000, 8000, 8000), "share")

    assert [share.device for share in shares] == ["d0", "d1"]


def test_an_init_container_and_a_main_container_use_the_same_memory_one_after_the_other() -> None:
    both = [a_request("setup", memory=8000, phases=(1,)), a_request("main", memory=8000)]

    shares = placement.place(both, a_row(8000, 8000), "share")

    assert {share.device for share in shares} == {"d0"}


def test_a_sidecar_and_a_main_container_do_not() -> None:
    both = [a_request("proxy", memory=5000, phases=(MAIN, 1)), a_request("main", memory=5000)]

    assert placement.place(both, a_row(8000), "share") == ()


def test_two_containers_that_each_fit_alone_do_not_both_get_the_last_gigabyte() -> None:
    fit = placement.fit([a_request("a", memory=5000), a_request("b", memory=5000)], a_row(8000))

    assert fit.reasons.tolist() == [Reason.MEMORY]


def test_a_share_carries_what_was_asked() -> None:
    request = a_request(cores=30, options=(("priority", "0"),), phases=(1,))

    shares = placement.place([request], a_row(8000), "share")

    assert shares == (
        Share("main", "acme", "d0", memory=3000, physical=8000, cores=30, phases=(1,), options=(("priority", "0"),)),
    )


@given(st.integers(1, 3))
def test_a_table_without_any_node_or_any_device_is_judged_too(count: int) -> None:
    request = evolve(a_request(), count=count)

    assert placement.fit([request], a_table()).reasons.tolist() == []
    assert placement.fit([request], a_table([], [])).reasons.tolist() == [Reason.NO_DEVICE, Reason.NO_DEVICE]
