"""Fit and place, against the obvious loop: one node, one device, one number at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core import placement, table
from hami_core.model import ID, MAIN, Policy, Reason, Selector, Share
from hami_core.testing import strategies
from tests.core import slow
from tests.core.fleet import a_capacity, a_request, a_row, a_table

if TYPE_CHECKING:
    from hami_core.model import Request
    from hami_core.table import NodeTable

BINPACK = Policy(device=("binpack",))


# --- The same answers ------------------------------------------------------------------------------------------------

ASKED = strategies.requests("acme")


@settings(max_examples=100)
@given(ASKED, strategies.tables(overfull=True))
def test_the_columns_agree_with_the_obvious_loop(requests: tuple[Request, ...], table: NodeTable) -> None:
    obvious = [slow.fit(requests, table, n) for n in range(table.shape[0])]

    fit = placement.fit(requests, table.locked())

    assert [Reason(reason) for reason in fit.reasons] == [reason for reason, _, _ in obvious]
    assert fit.nodes.tolist() == [reason is Reason.FITS for reason, _, _ in obvious]
    assert fit.devices.tolist() == [[masks[r] for _, masks, _ in obvious] for r in range(len(requests))]


@settings(max_examples=100)
@given(ASKED, strategies.tables(overfull=True))
def test_a_node_fits_if_and_only_if_placing_on_it_succeeds_and_on_the_same_devices(
    requests: tuple[Request, ...], table: NodeTable
) -> None:
    fit = placement.fit(requests, table)
    for n in range(table.shape[0]):
        shares = placement.place(requests, table.row(n).locked(), "share")
        chosen = slow.place(requests, table, n)

        assert bool(shares) == bool(fit.nodes[n]) == (chosen is not None)
        if chosen is not None:
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
    Reason.MODEL: (a_request(selectors=(Selector("use", ("Two",)),)), a_row(8000)),
    Reason.ID: (a_request(selectors=(Selector("avoid", ("d0",), ID, out=True),)), a_row(8000)),
    Reason.HEALTH: (a_request(count=2), a_table([a_capacity("d0"), a_capacity("d1", healthy=False)])),
    Reason.CORDON: (a_request(), table.build([("n0", [a_capacity()])], cordoned={"n0": ["d0"]})),
    Reason.SIZE: (a_request(memory=9000), a_row(8000)),
    Reason.SLOTS: (a_request(), a_row(8000, slots=1, used=[1])),
    Reason.MEMORY: (a_request(), a_row(8000, used=[5001])),
    Reason.IN_USE: (a_request(cores=100), a_row(8000, used=[1])),
    Reason.CORES: (a_request(cores=60), a_row(8000)),
    Reason.NUMA: (a_request(count=2, numa_bind="bind"), a_table([a_capacity("d0", numa=0), a_capacity("d1", numa=1)])),
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


def test_a_percentage_is_of_each_device_by_itself_on_mixed_models() -> None:
    row = a_table([a_capacity("d0", 16384), a_capacity("d1", 40960, model="Two")])

    shares = placement.place([a_request(percent=50, count=2)], row, "share")

    assert [(share.device, share.memory) for share in shares] == [("d0", 8192), ("d1", 20480)]


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
