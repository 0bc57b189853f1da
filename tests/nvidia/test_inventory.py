"""One sick GPU never hides its siblings, whatever it is sick of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_core.errors import DriverError
from hami_nvidia import shares
from hami_nvidia.inventory import numa_node, taken
from hami_nvidia.settings import NvidiaSettings
from tests.nvidia.driver import LOST, NOT_SUPPORTED, FakeGpu, FakeNvml, address, gpus

if TYPE_CHECKING:
    from pathlib import Path


def test_a_gpu_that_does_not_say_who_it_is_is_a_fault() -> None:
    fake = FakeNvml(gpus(3), refuses={("nvmlDeviceGetHandleByIndex", 1): LOST})

    found = taken(fake.nvml, "nvidia", "/nowhere", 5)

    assert [device.id for device in found.devices] == ["GPU-0", "GPU-2"]
    assert found.faults == ("GPU 1 cannot be described: GPU is lost",)


def test_a_gpu_without_memory_is_listed_as_sick() -> None:
    fake = FakeNvml(gpus(2), refuses={("nvmlDeviceGetMemoryInfo", 1): LOST})

    found = taken(fake.nvml, "nvidia", "/nowhere", 5)

    assert [(device.memory, device.sick) for device in found.devices] == [(15360, ""), (0, "memory: GPU is lost")]


def test_a_gpu_that_does_not_say_how_much_memory_it_has_is_told_what_can() -> None:
    fake = FakeNvml(gpus(1), refuses={"nvmlDeviceGetMemoryInfo": NOT_SUPPORTED})

    (unsaid,), (configured,) = (taken(fake.nvml, "nvidia", "/nowhere", 5, memory).devices for memory in (0, 8000))

    assert (unsaid.memory, unsaid.sick) == (
        0,
        "does not say how much memory it has; set devicePlugin.preConfiguredDeviceMemory",
    )
    assert (configured.memory, configured.sick) == (8000, "")


def test_a_gpu_that_is_in_mig_mode_now_is_not_shared_as_a_whole() -> None:
    modes = (None, (0, 0), (0, 1), (1, 1), (1, 0))
    fake = FakeNvml(tuple(FakeGpu(n, address(n), mig=mode) for n, mode in enumerate(modes)))

    offered = shares.capacities(taken(fake.nvml, "nvidia", "/nowhere", 5), NvidiaSettings())

    assert [one.healthy for one in offered] == [True, True, True, False, False]
    in_instances = "is in MIG mode: programs run in its instances only (devicePlugin.migStrategy is none)"
    assert {device.sick for device in taken(fake.nvml, "nvidia", "/nowhere", 5).devices[3:]} == {in_instances}


def test_a_gpu_that_hangs_is_listed_as_sick_and_not_asked_while_it_does() -> None:
    fake = FakeNvml(gpus(3), hangs={("nvmlDeviceGetName", 1)})
    nvml = fake.nvml

    found = taken(nvml, "nvidia", "/nowhere", 0.1)
    again = taken(nvml, "nvidia", "/nowhere", 5)

    assert [device.sick for device in found.devices] == ["", "no answer within 0.1 s", ""]
    assert [(link.a, link.b) for link in found.links] == [("GPU-0", "GPU-2")]
    assert [device.id for device in again.devices] == ["GPU-0", "GPU-2"]
    assert again.faults == ("GPU 1 cannot be described: an earlier call to it still hangs",)


def test_a_gpu_that_hangs_before_it_says_who_it_is_is_a_fault() -> None:
    fake = FakeNvml(gpus(2), hangs={("nvmlDeviceGetUUID", 0)})

    found = taken(fake.nvml, "nvidia", "/nowhere", 0.1)

    assert [device.id for device in found.devices] == ["GPU-1"]
    assert found.faults == ("GPU 0 cannot be described: no answer within 0.1 s",)


def test_a_driver_that_cannot_count_fails_as_a_whole() -> None:
    with pytest.raises(DriverError, match="nvidia: counting devices: Unknown Error"):
        taken(FakeNvml(gpus(1), refuses={"nvmlDeviceGetCount": 999}).nvml, "nvidia", "/nowhere", 5)


@pytest.mark.parametrize(("text", "node"), [("1\n", 1), ("0\n", 0), ("-1\n", None), ("", None)])
def test_the_numa_node_is_the_kernels_word(tmp_path: Path, text: str, node: int | None) -> None:
    folder = tmp_path / "sys/bus/pci/devices/0000:1b:00.0"
    folder.mkdir(parents=True)
    (folder / "numa_node").write_text(text)

    assert numa_node("00000000:1B:00.0", str(tmp_path)) == node
