"""CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, as NVIDIA documents them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from tests.mock.conftest import environment

if TYPE_CHECKING:
    from pathlib import Path

    from hami_mock.machine import Machine

NO_DEVICE = 100
CODE = """
import ctypes
cuda, count, uuid = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.create_string_buffer(16)
result = cuda.cuInit(0)
found = [result]
if not result:
    cuda.cuDeviceGetCount(ctypes.byref(count))
    for device in range(count.value):
        cuda.cuDeviceGetUuid_v2(uuid, device)
        found.append(uuid.raw.hex())
print(" ".join(map(str, found)))
"""
MIXED = """
schema = "hami-mock/v1"
machine = "mixed"
driver = {version = "580.65.06", nvml = "13.580.65.06", cuda = 13000}

[[gpus]]
index = 0
bus = "0000:3B:00.0"
profile = "t4"

[[gpus]]
index = 1
bus = "0000:5E:00.0"
profile = "h100-sxm5-80gb"
"""


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Four T4."""
    return machine.install("t4x4", tmp_path_factory.mktemp("visible") / "t4x4")


def seen(on: Machine, **variables: str) -> list[int]:
    """The machine's numbers of the devices that a program sees, in order; [-error] where it cannot start."""
    env = {**environment(on), **variables}
    result, *uuids = subprocess.run(
        [sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True
    ).stdout.split()
    all_of_them = [uuid.removeprefix("GPU-").replace("-", "") for uuid in on.uuids]
    return [-int(result)] if result != "0" else [all_of_them.index(uuid) for uuid in uuids]


@pytest.mark.parametrize(
    ("wanted", "devices"),
    [
        ("2,0", [2, 0]),
        (" 3 , 1", [3, 1]),
        ("1,7,0", [1]),
        ("0,-1,2", [0]),
        ("", [-NO_DEVICE]),
        ("none", [-NO_DEVICE]),
        ("1,1", [-NO_DEVICE]),
        ("2x", [-NO_DEVICE]),
    ],
)
def test_indices_choose_and_order_devices_and_the_first_that_is_none_ends_the_list(
    four: Machine, wanted: str, devices: list[int]
) -> None:
    assert seen(four, CUDA_VISIBLE_DEVICES=wanted) == devices


def test_uuids_may_be_cut_as_long_as_they_mean_one_device(four: Machine) -> None:
    assert seen(four, CUDA_VISIBLE_DEVICES=f"{four.uuids[3]},{four.uuids[1][:14]}") == [3, 1]
    assert seen(four, CUDA_VISIBLE_DEVICES="GPU-") == [-NO_DEVICE]
    assert seen(four, CUDA_VISIBLE_DEVICES=four.uuids[2].upper()) == [2]


def test_without_the_variable_all_are_seen(four: Machine) -> None:
    assert seen(four) == [0, 1, 2, 3]


@pytest.mark.parametrize(("order", "devices"), [("FASTEST_FIRST", [1, 0]), ("PCI_BUS_ID", [0, 1])])
def test_the_order_is_fastest_first_unless_it_is_the_bus(tmp_path: Path, order: str, devices: list[int]) -> None:
    (tmp_path / "mixed.toml").write_text(MIXED)
    on = machine.install(str(tmp_path / "mixed.toml"), tmp_path / "mixed")

    assert seen(on, CUDA_DEVICE_ORDER=order) == devices
    assert seen(on, CUDA_DEVICE_ORDER=order, CUDA_VISIBLE_DEVICES="0") == devices[:1]
