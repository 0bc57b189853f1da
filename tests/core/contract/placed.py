"""Shares that are placed wrongly."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hami_core import placement
from hami_core.model import Kind, Policy, Splitting
from tests.core.contract.plugins import Case, a_plugin, forgetful

if TYPE_CHECKING:
    from collections.abc import Callable

ALTERNATE = forgetful()


def own_place(answer: Callable[..., Any]) -> Callable[..., Any]:
    def hook(kind: Kind, splitting: Splitting, requests: Any, row: Any) -> Any:
        return answer(requests, row, placement.place(requests, row, splitting.name)) if kind.name == "acme" else None

    return hook


def replaced(requests: Any, row: Any, **changes: Any) -> Any:
    """Placed as if the requests had not wished that."""
    return placement.place([evolve(one, **changes) for one in requests], row, "share")


def shares_it(requests: Any, row: Any, placed: Any) -> Any:
    """As if nobody wanted a device for himself, but said so of the shares."""
    modest = [evolve(one, cores=min(one.cores, 99), policy=Policy()) for one in requests]
    wanted = {one.container: one for one in requests}
    shares = placement.place(modest, row, "share")
    return [evolve(one, cores=wanted[one.container].cores, exclusive=wanted[one.container].exclusive) for one in shares]


def uncordoned(requests: Any, row: Any, placed: Any) -> Any:
    open_row = copy(row)
    open_row.any_cordoned = False
    return placement.place(requests, open_row, "share")


CASES: dict[str, Case] = {
    "nothing is placed": (
        "test_a_node_fits_if_and_only_if_placing_on_it_succeeds",
        a_plugin(hami_place=own_place(lambda requests, row, placed: ())),
        "hami_fit fits a node where hami_place gives nothing",
    ),
    "the same device twice": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, device=placed[0].device) for one in placed])),
        "different devices, not",
    ),
    "one share too few": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: placed[:1])),
        "hami_place gives shares of (container, kind, splitting)",
    ),
    "a device from elsewhere": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, device="x" + one.device) for one in placed])),
        "no devices of the node",
    ),
    "more than is free": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, memory=10**6) for one in placed])),
        "hami_place takes 1000000 of a device's memory where",
    ),
    "other phases": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, phases=(7,)) for one in placed])),
        "hami_place gives a share of (phases, exclusive) ((7,), ",
    ),
    "a share that shares what it was to have alone": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, exclusive=False) for one in placed])),
        "hami_place gives a share of (phases, exclusive)",
    ),
    "a device that was not wished for": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(lambda requests, row, placed: replaced(requests, row, selectors=()))),
        "does not admit",
    ),
    "devices of two NUMA nodes": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(lambda requests, row, placed: replaced(requests, row, numa_bind=""))),
        "hami_place gives devices of the NUMA nodes",
    ),
    "a device that somebody uses": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(shares_it)),
        "which is in use, to a request that wants it for itself",
    ),
    "a device out of service": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(uncordoned)),
        "which is sick or cordoned",
    ),
    "a place that changes its mind": (
        "test_deciding_is_pure",
        a_plugin(hami_place=own_place(lambda requests, row, placed: ALTERNATE(placed, ()))),
        "hami_place gives another answer when it is asked again",
    ),
}
