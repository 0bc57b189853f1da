"""Inventories, health and capacities that are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from hami_core.model import DeviceInventory, Kind, Link
from tests.core.contract.plugins import Case, a_plugin, split
from tests.core.fleet import a_device, an_inventory

if TYPE_CHECKING:
    from collections.abc import Callable


def capacity(**changes: Any) -> Callable[..., Any]:
    def hook(kind: Kind, inventory: DeviceInventory, settings: Any) -> Any:
        offered = split(kind, inventory, settings)
        return offered and [evolve(one, **changes) for one in offered]

    return hook


def offers_twice(kind: Kind, inventory: DeviceInventory, settings: Any) -> Any:
    offered = split(kind, inventory, settings)
    return offered and offered * 2


CASES: dict[str, Case] = {
    "discovers one inventory": (
        "test_what_it_discovers_is_of_its_kinds_and_can_be_sent_to_another_process",
        a_plugin(hami_discover=lambda: [a_device()]),
        "hami_discover answers Device at [0] where DeviceInventory belongs",
    ),
    "health of a number": (
        "test_its_health_and_use_have_their_shape_and_can_be_sent_to_another_process",
        a_plugin(hami_check_health=lambda kind: {"d0": 1} if kind.name == "acme" else None),
        "hami_check_health answers 1 (int) at ['d0'] where str belongs",
    ),
    "health of another": (
        "test_its_health_and_use_have_their_shape_and_can_be_sent_to_another_process",
        a_plugin(hami_check_health=lambda kind: {"d9": "hot"} if kind.name == "acme" else None),
        "hami_check_health speaks of {'d9'}, which it was not asked about",
    ),
    "discovers another kind": (
        "test_what_it_discovers_is_of_its_kinds_and_can_be_sent_to_another_process",
        a_plugin(hami_discover=lambda: [an_inventory(kind="other")]),
        "hami_discover lists other, no kind of the plugin",
    ),
    "discovers one id twice": (
        "test_what_it_discovers_is_of_its_kinds_and_can_be_sent_to_another_process",
        a_plugin(hami_discover=lambda: [an_inventory(a_device(), a_device())]),
        "hami_discover lists two devices of one id: ['d0', 'd0']",
    ),
    "discovers a link to nowhere": (
        "test_what_it_discovers_is_of_its_kinds_and_can_be_sent_to_another_process",
        a_plugin(hami_discover=lambda: [evolve(an_inventory(), links=(Link("d0", "d1", "bus"),))]),
        "must be between two listed devices, the smaller id first",
    ),
    "offers twice": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=offers_twice),
        "hami_split offers one device twice",
    ),
    "no slot": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(slots=0)),
        "has 0 slots, at least 1 is needed",
    ),
    "no memory": ("test_splitting_is_pure_and_offers_what_is_there", a_plugin(hami_split=capacity(memory=0)), "offers 0 MiB"),
    "no metal": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(physical=0)),
        "0 MiB of metal",
    ),
    "cores": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(cores=101)),
        "offers 101 % of its cores, not 0 to 100",
    ),
    "sick as healthy": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(healthy=True)),
        "hami_split offers a sick device as healthy",
    ),
    "undeclared column": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(extra=(("slices", 7),))),
        "which the splitting does not declare",
    ),
}
