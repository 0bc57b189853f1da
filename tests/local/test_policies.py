"""A machine by itself honours what a pod wishes: the same words, links, NUMA nodes and cordons as on a cluster."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from hami_core import hookimpl, requests, sharing
from hami_core.errors import NeverFits
from hami_core.local import admission
from hami_core.model import Capacity, Device, DeviceInventory, Holding, Kind, Link, Share
from hami_core.wishes import Keys
from tests.local.acme import Acme, a_container, a_host, a_pod, card

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hami_core.local.host import Host
    from hami_core.local.manifest import PodSpec

KEYS = Keys(use_model="acme.dev/use", avoid_id="acme.dev/avoid", numa_bind="acme.dev/numa")


class Wired(Acme):
    """Six cards on two NUMA nodes; those of one node are joined."""

    @hookimpl
    def hami_discover(self) -> list[DeviceInventory]:
        cards = tuple(Device(f"card-{n}", n, "Acme One" if n else "Acme Old", 8000, numa=n // 3) for n in range(6))
        links = (
            Link(f"card-{a}", f"card-{b}", "bus", score=100 if a // 3 == b // 3 else 1) for a, b in combinations(range(6), 2)
        )
        return [DeviceInventory("acme", cards, tuple(links))]

    @hookimpl
    def hami_split(self, kind: Kind, inventory: DeviceInventory) -> list[Capacity]:
        return [Capacity(one.id, one.model, 10, one.memory, one.memory, numa=one.numa) for one in inventory.devices]

    @hookimpl
    def hami_parse(self, kind: Kind, pod: Any, settings: Any) -> Sequence[Any]:
        return requests.parse(kind, pod, sharing.default_policy(settings), KEYS)


def a_wired_host(root: Path) -> Host:
    return a_host(root, plugin=Wired([]))


def wishing(here: Host, count: int, annotations: dict[str, str]) -> PodSpec:
    pod = a_pod(here, a_container(limits=card(1000, count)))
    pod.manifest["metadata"]["annotations"] = annotations
    return pod


def placed(here: Host, pod: PodSpec, *held: str) -> list[str]:
    holdings = [Holding("u", "other", "default", tuple(Share("c", "acme", one, 1000, 8000, 0) for one in held))] if held else []
    shares = admission.place(here, admission.asks(here, pod), holdings)
    assert isinstance(shares, tuple), shares
    return [share.device for share in shares]


def test_the_best_connected_set_of_this_machine_is_taken(tmp_path: Path) -> None:
    here = a_wired_host(tmp_path)
    pod = wishing(here, 3, {"hami.io/gpu-scheduler-policy": "topology-aware"})

    assert placed(here, pod, "card-0") == ["card-3", "card-4", "card-5"]


@pytest.mark.parametrize(
    ("annotations", "devices"),
    [
        ({"acme.dev/numa": "true"}, ["card-3", "card-4"]),
        ({"acme.dev/use": "old", "acme.dev/numa": "false"}, ["card-0"]),
        ({"acme.dev/avoid": "card-1,card-2"}, ["card-3", "card-4"]),
        ({"hami.io/gpu-scheduler-policy": "mutex,binpack"}, ["card-2", "card-3"]),
        ({"hami.io/gpu-scheduler-policy": "binpack"}, ["card-0", "card-1"]),
    ],
    ids=str,
)
def test_each_wish_is_honoured_beside_what_is_held(tmp_path: Path, annotations: dict[str, str], devices: list[str]) -> None:
    here = a_wired_host(tmp_path)

    assert placed(here, wishing(here, len(devices), annotations), "card-0", "card-1") == devices


def test_a_wish_that_this_machine_can_never_grant_is_refused_with_its_key(tmp_path: Path) -> None:
    here = a_wired_host(tmp_path)

    why = r"4 devices on one NUMA node asked, of 6 with room at most 3 are on the same \(acme\.dev/numa\)"
    with pytest.raises(NeverFits, match=why):
        admission.asks(here, wishing(here, 4, {"acme.dev/numa": "true"}))


def test_a_pod_waits_for_a_device_of_its_own_and_nobody_joins_it(tmp_path: Path) -> None:
    here = a_wired_host(tmp_path)
    alone = wishing(here, 6, {"hami.io/gpu-scheduler-policy": "mutex"})
    shares = admission.place(here, admission.asks(here, alone), [])
    assert isinstance(shares, tuple)
    holding = Holding("u", "alone", "default", shares)

    why = admission.place(here, admission.asks(here, wishing(here, 1, {})), [holding])

    told = "0 of 6 devices may carry one more task, 1 needed; a device carries at most 10, or one that has it for itself"
    assert why == f'container "main": {told} (acme.dev/card); held by alone'
