from __future__ import annotations

from attrs import evolve

from hami_core import names, plugins, site, wire
from hami_core.model import Capacity, Device, DeviceInventory, Kind, NodeDevices, Resources
from hami_core.node import inventory
from hami_core.node.publishing import Marks
from hami_core.settings import resolve
from hami_scheduler import inventory as reading

ACME = Kind("acme", Resources("acme.dev/card", memory="acme.dev/mem"), "ACME_VISIBLE")
KEY = names.inventory_key("acme")
CARDS = DeviceInventory(
    "acme", (Device("card-0", 0, "Acme One (rev. 2)", 8000, numa=1), Device("card-1", 1, "Acme One (rev. 2)", 4000, numa=-1))
)


def offered(found: DeviceInventory = CARDS, slots: int = 2) -> NodeDevices:
    return NodeDevices(
        found,
        (
            (
                "share",
                tuple(
                    Capacity(one.id, one.model, slots, one.memory, one.memory, numa=one.numa, healthy=not one.sick)
                    for one in found.devices
                ),
            ),
        ),
    )


def test_every_slot_of_a_device_is_a_token_on_its_numa_node() -> None:
    offer = inventory.offer(ACME, offered())

    assert (offer.resource, offer.kind) == ("acme.dev/card", "acme")
    assert [(one.token, one.healthy, one.numa) for one in offer.devices] == [
        ("card-0::0", True, 1),
        ("card-0::1", True, 1),
        ("card-1::0", True, None),
        ("card-1::1", True, None),
    ]


def test_a_sick_device_is_marked_for_both_readers() -> None:
    sick = offered(site.judged(CARDS, {"card-1": "lost"}))

    assert {one.token: one.healthy for one in inventory.offer(ACME, sick).devices} == {
        "card-0::0": True,
        "card-0::1": True,
        "card-1::0": False,
        "card-1::1": False,
    }
    assert inventory.schedulable(sick) == {"card-0"}
    read = wire.decode(NodeDevices, str(inventory.marks({"acme": sick}).annotations[KEY]), KEY)
    assert [(one.device, one.healthy) for one in dict(read.capacities)["share"]] == [("card-0", True), ("card-1", False)]


def test_a_device_that_two_splittings_list_is_offered_once() -> None:
    both = evolve(offered(), capacities=(*offered().capacities, ("halves", offered(slots=7).capacities[0][1][:1])))

    assert len(inventory.offer(ACME, both).devices) == 4


def test_the_scheduler_reads_what_is_published() -> None:
    loaded = plugins.load(block="")
    settings = resolve(plugins.settings_classes(loaded), [("test", {})])
    catalogue = plugins.catalogue(loaded, settings)
    gpus = DeviceInventory(
        "nvidia", (Device("GPU-a", 0, "Tesla T4", 15360), Device("GPU-b", 1, "Tesla T4", 15360, sick="lost"))
    )
    found = site.offered(loaded, catalogue, settings, gpus)

    annotations = {key: str(text) for key, text in inventory.marks({"nvidia": found}).annotations.items()}

    assert reading._devices("nvidia", annotations[names.inventory_key("nvidia")], "key") == found
    assert len(inventory.offer(catalogue.kind("nvidia"), found).devices) == 20


def test_labels_say_what_is_built_in() -> None:
    labels = inventory.marks({"acme": offered()}).labels

    assert labels == {"acme.hami.io/count": "2", "acme.hami.io/memory": "4000", "acme.hami.io/model": "Acme-One-rev.-2"}


def test_labels_do_not_change_with_health() -> None:
    sick = offered(site.judged(CARDS, {"card-1": "lost"}))

    assert inventory.marks({"acme": sick}).labels == inventory.marks({"acme": offered()}).labels


def test_a_node_with_several_models_says_so() -> None:
    mixed = evolve(CARDS, devices=(CARDS.devices[0], evolve(CARDS.devices[1], model="Acme Two")))

    assert inventory.marks({"acme": offered(mixed)}).labels["acme.hami.io/model"] == "mixed"


def test_one_that_does_not_say_what_it_is_makes_no_node_mixed() -> None:
    mute = evolve(CARDS, devices=(CARDS.devices[0], Device("card-1", 1, "unknown", 0, sick="mute")))

    labels = inventory.marks({"acme": offered(mute)}).labels

    assert (labels["acme.hami.io/memory"], labels["acme.hami.io/model"]) == ("8000", "Acme-One-rev.-2")


def test_without_devices_nothing_is_said() -> None:
    assert inventory.marks({}) == Marks()


def test_what_was_published_before_is_closed_where_nobody_can_say_what_there_is() -> None:
    before = str(inventory.marks({"acme": offered()}).annotations[KEY])

    shut = inventory.closed(before, KEY, "the driver is silent")

    assert shut is not None
    assert [one.sick for one in shut.inventory.devices] == ["the driver is silent"] * 2
    assert inventory.schedulable(shut) == set()


def test_what_cannot_be_read_is_not_taken_over() -> None:
    assert inventory.closed("{", KEY, "silent") is None
