from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from hami_core import names
from hami_core.errors import UserError
from hami_core.kube.errors import Conflict
from hami_core.model import Device, DeviceInventory, NodeDevices
from hami_core.node import cordon, inventory
from tests.node.cluster import Cluster

if TYPE_CHECKING:
    from hami_core.kube.connection import Connection


@pytest.fixture
def cluster() -> Cluster:
    """Two nodes with two cards each."""
    made = Cluster()
    for node in ("n1", "n2"):
        devices = tuple(Device(f"{node}-card-{n}", n, "Acme One", 8000) for n in range(2))
        published = inventory.marks({"acme": NodeDevices(DeviceInventory("acme", devices), ())}).annotations
        made.put(f"/api/v1/nodes/{node}", {"metadata": {"name": node, "uid": node, "annotations": published}})
    return made


def find(cluster: Cluster, *devices: str, node: str = "") -> dict[str, list[str]]:
    return cordon.find(cast("Connection", cluster), devices, node)


def change(cluster: Cluster, node: str, *devices: str, out: bool = True) -> bool:
    return cordon.change(cast("Connection", cluster), node, devices, out=out)


def said(cluster: Cluster, node: str = "n1") -> str | None:
    text: str | None = cluster.objects[f"/api/v1/nodes/{node}"]["metadata"]["annotations"].get(names.DEVICE_CORDON)
    return text


@pytest.mark.parametrize(
    ("before", "devices", "out", "after"),
    [
        ("", ("a",), True, "a"),
        ("a", ("b", "a"), True, "a,b"),
        (" a , b ,", ("c",), True, "a,b,c"),
        ("a,b,c", ("b",), False, "a,c"),
        ("a", ("a",), False, ""),
        ("a", ("b",), False, "a"),
    ],
)
def test_the_words_of_others_stay_in_their_order(before: str, devices: tuple[str, ...], out: bool, after: str) -> None:
    assert cordon.changed(before, devices, out=out) == after


def test_devices_are_found_on_their_nodes(cluster: Cluster) -> None:
    assert find(cluster, "n1-card-1", "n2-card-0") == {"n1": ["n1-card-1"], "n2": ["n2-card-0"]}


def test_one_that_nobody_publishes_is_told_and_nothing_is_done(cluster: Cluster) -> None:
    with pytest.raises(UserError, match="nope: no node publishes such a device"):
        find(cluster, "n1-card-0", "nope")


def test_on_one_node_what_is_there_is_told(cluster: Cluster) -> None:
    with pytest.raises(UserError, match="n2-card-0: the node n1 publishes no such device; it has n1-card-0, n1-card-1"):
        find(cluster, "n2-card-0", node="n1")


def test_a_node_whose_inventory_cannot_be_read_has_none(cluster: Cluster) -> None:
    cluster.objects["/api/v1/nodes/n1"]["metadata"]["annotations"][names.inventory_key("acme")] = "{"

    with pytest.raises(UserError, match="no node publishes"):
        find(cluster, "n1-card-0")


def test_out_of_service_and_back(cluster: Cluster) -> None:
    assert change(cluster, "n1", "n1-card-0")
    assert said(cluster) == "n1-card-0"
    assert change(cluster, "n1", "n1-card-0", out=False)
    assert said(cluster) is None


def test_what_is_so_already_is_not_written(cluster: Cluster) -> None:
    change(cluster, "n1", "n1-card-0")

    assert not change(cluster, "n1", "n1-card-0")
    assert len(cluster.writes) == 1


def test_what_changes_between_reading_and_writing_is_read_again(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = cordon.changed

    def meanwhile(text: str, devices: tuple[str, ...], *, out: bool) -> str:
        monkeypatch.setattr(cordon, "changed", changed)
        change(cluster, "n1", "n1-card-1")
        return changed(text, devices, out=out)

    monkeypatch.setattr(cordon, "changed", meanwhile)
    change(cluster, "n1", "n1-card-0")

    assert said(cluster) == "n1-card-1,n1-card-0"


def test_who_never_gets_through_gives_up(cluster: Cluster) -> None:
    cluster.refusal = Conflict(409, "Conflict", "changed")

    with pytest.raises(Conflict):
        change(cluster, "n1", "n1-card-0")
    assert len(cluster.writes) == cordon.ATTEMPTS
