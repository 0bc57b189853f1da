"""hami_nvidia.shares: what a GPU offers under the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_core.model import Device, DeviceInventory
from hami_nvidia import contexts, shares
from hami_nvidia.settings import NvidiaSettings

if TYPE_CHECKING:
    from hami_core.model import Capacity

T4 = Device(id="GPU-a", index=0, model="Tesla T4", memory=15360)
A100 = Device(id="GPU-b", index=1, model="NVIDIA A100-SXM4-40GB", memory=40960, sick="Xid 79")


def offered(**changed: object) -> list[Capacity]:
    return shares.capacities(DeviceInventory("nvidia", (T4, A100)), NvidiaSettings(**changed))  # type: ignore[arg-type]


def test_by_default_a_gpu_carries_ten_tasks_and_all_its_memory() -> None:
    found = offered()

    assert [(one.slots, one.memory, one.physical, one.cores, one.healthy) for one in found] == [
        (10, 15360, 15360, 100, True),
        (10, 40960, 40960, 100, False),
    ]
    assert [one.overhead for one in found] == [contexts.memory("Tesla T4"), contexts.memory("NVIDIA A100-SXM4-40GB")]


@pytest.mark.parametrize(("scaling", "memory"), [(5, 76800), (0.7, 10752), (1.1, 16896)])
def test_scaled_memory_is_the_nearest_whole_number_and_the_metal_stays(scaling: float, memory: int) -> None:
    (t4, _) = offered(memory_scaling=scaling)

    assert (t4.memory, t4.physical) == (memory, 15360)


def test_scaled_cores_are_the_nearest_whole_number() -> None:
    assert [one.cores for one in offered(core_scaling=0.29)] == [29, 29]


def test_a_gpu_that_is_filtered_by_number_or_by_uuid_offers_nothing() -> None:
    assert [one.device for one in offered(filtered_indices=(0,))] == ["GPU-b"]
    assert [one.device for one in offered(filtered_uuids=("GPU-b",))] == ["GPU-a"]
