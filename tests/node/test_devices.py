"""What is offered after what drivers have said, one thing after the other; without any loop, thread or file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_core.errors import DriverError
from hami_core.node import devices, inventory
from hami_core.node.devices import Change, Devices
from hami_core.site import discover
from tests.local.acme import Here
from tests.node.agents import KEY, Vendor, site_of

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.node.devices import Standing
    from hami_core.site import Site

SETTLE, SILENCE = 10.0, 60.0


class Node:
    """The devices of a vendor, and the vendor."""

    def __init__(self, where: Site, vendor: Vendor) -> None:
        self.vendor, self._site = vendor, where
        self.devices = Devices(where, SETTLE, SILENCE)

    def discover(self, now: float) -> Standing:
        self.devices.found(discover(self._site, Here(self._site.plugins, 1.0)), now)
        return self.devices.standing(now)

    def told(self, now: float, **reasons: str) -> Standing:
        self.devices.told("acme", {device.replace("_", "-"): why for device, why in reasons.items()}, now)
        return self.devices.standing(now)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    vendor = Vendor()
    return Node(site_of(vendor, tmp_path), vendor)


def well(standing: Standing) -> set[str]:
    """The devices that may carry something new."""
    return {device for found in standing.offered.values() for device in inventory.schedulable(found)}


def published(standing: Standing) -> dict[str, str]:
    return {key: str(text) for key, text in inventory.marks(standing.offered).annotations.items()}


def test_nothing_is_offered_before_anybody_was_asked(node: Node) -> None:
    assert node.devices.standing(0).offered == {}


def test_while_nothing_changes_it_is_the_same_object(node: Node) -> None:
    first = node.discover(0)

    assert node.told(5) is first
    assert node.discover(6) is first


def test_what_changed_is_told_by_device(node: Node) -> None:
    first, fallen, risen = node.discover(0), node.told(1, card_0="lost"), node.told(20)

    assert devices.changes(first, fallen) == [Change("acme", "card-0", "lost")]
    assert devices.changes(fallen, risen) == [Change("acme", "card-0", "")]


def test_another_reason_is_no_change_of_the_device(node: Node) -> None:
    node.discover(0)
    before, now = node.told(1, card_0="lost"), node.told(61, card_0="lost, and hot")

    assert (before is now, devices.changes(before, now)) == (False, [])


def test_silence_runs_out_without_anybody_saying_so(node: Node) -> None:
    node.discover(0)

    assert well(node.devices.standing(59.9)) == {"card-0", "card-1"}
    assert well(node.devices.standing(60)) == set()


def test_a_device_that_its_driver_does_not_describe_any_more_stays_as_sick(node: Node) -> None:
    node.discover(0)
    node.vendor.cards, node.vendor.faults = {"card-0": 8000}, ("card 1 cannot be described",)

    standing = node.discover(1)

    assert well(standing) == {"card-0"}
    assert standing.sick == {("acme", "card-1"): inventory.UNDESCRIBED}
    node.vendor.cards, node.vendor.faults = {"card-0": 8000, "card-1": 8000}, ()
    assert well(node.discover(2)) == {"card-0", "card-1"}


def test_so_it_does_over_a_restart(node: Node) -> None:
    before = published(node.discover(0))
    node.vendor.cards, node.vendor.faults = {"card-0": 8000}, ("card 1 cannot be described",)
    again = Node(node._site, node.vendor)
    again.discover(1)

    again.devices.remember(before, 1)

    assert again.devices.standing(1).sick == {("acme", "card-1"): inventory.UNDESCRIBED}


def test_a_device_that_is_taken_out_is_gone(node: Node) -> None:
    node.discover(0)
    node.vendor.cards = {"card-0": 8000}

    assert [one.id for one in node.discover(1).offered["acme"].inventory.devices] == ["card-0"]


def test_a_sick_device_of_before_a_restart_settles_first(node: Node) -> None:
    node.discover(0)
    before = published(node.told(1, card_0="lost"))
    again = Node(node._site, node.vendor)
    again.discover(100)

    again.devices.remember(before, 100)

    assert published(again.devices.standing(100)) == before
    assert well(again.told(109.9)) == {"card-1"}
    assert well(again.told(110)) == {"card-0", "card-1"}


def test_what_is_sick_now_counts_and_not_what_was_said_before(node: Node) -> None:
    node.discover(0)
    before = published(node.told(1, card_0="lost"))
    again = Node(node._site, node.vendor)
    again.discover(100)
    again.told(100, card_0="hot")

    again.devices.remember(before, 100)

    assert again.devices.standing(100).sick == {("acme", "card-0"): "hot"}


def test_what_a_silent_driver_had_is_closed_until_it_speaks(node: Node) -> None:
    before = published(node.discover(0))
    again = Node(node._site, node.vendor)
    node.vendor.discovery_fails = DriverError("acme", "hangs")
    again.discover(1)

    again.devices.remember(before, 1)

    assert again.devices.standing(1).sick == {("acme", "card-0"): devices.SILENT, ("acme", "card-1"): devices.SILENT}
    node.vendor.discovery_fails = None
    assert well(again.discover(2)) == {"card-0", "card-1"}


@pytest.mark.parametrize("text", ["{", '{"v": 99}'])
def test_what_cannot_be_read_of_before_is_left_out_of_account(node: Node, text: str) -> None:
    first = node.discover(0)

    node.devices.remember({KEY: text}, 0)

    assert node.devices.standing(0) is first
