"""The state file of a machine, through libhami-mock.so: compile a description, read the truth, change settings.

The structures are those of the C header driver/interface.h. Nothing here decides; machine.py says where files lie.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hami_core.errors import StateError

if TYPE_CHECKING:
    from hami_mock.description import Description, Gpu

LIBRARIES = Path(__file__).parent / "lib"
MIB = 1 << 20
EINVAL = 22
PROCESSES = 512 * 16  # rows of the table times devices


@cache
def _library() -> tuple[Any, Any]:
    """cffi's view of interface.h, made when the package was built, and the library."""
    ffi = import_module("hami_mock.lib.interface").ffi
    return ffi, ffi.dlopen(str(LIBRARIES / "libhami-mock.so"))


def _check(failure: int, path: Path) -> None:
    if failure == EINVAL:
        raise StateError(f"{path}: is no state of a simulated machine of this version; remove its folder to make a new one")
    if failure:
        raise StateError(f"{path}: {os.strerror(failure)}")


def compile_facts(description: Description) -> Any:
    """A cffi ``struct mock_facts``. Its digest is that of all other bytes."""
    ffi, _ = _library()
    facts = ffi.new("struct mock_facts *")
    facts.name = description.machine.encode()
    facts.driver_version, facts.nvml_version = description.driver.version.encode(), description.driver.nvml.encode()
    facts.cuda_version, facts.chips = description.driver.cuda, len(description.gpus)
    for gpu in description.gpus:
        _fill(facts.chip[gpu.index], gpu)
        facts.chip[gpu.index].common_ancestor = _row(description.levels[gpu.index])
        facts.chip[gpu.index].nvlinks = _row(description.nvlinks[gpu.index])
    facts.digest = list(hashlib.sha256(ffi.buffer(facts)).digest())
    return facts


def _row(values: tuple[int, ...]) -> list[int]:
    return [*values, *[0] * (16 - len(values))]


def _fill(chip: Any, gpu: Gpu) -> None:
    profile = gpu.profile
    chip.name, chip.serial = profile.name.encode(), gpu.serial.encode()
    chip.uuid = list(bytes.fromhex(gpu.uuid.removeprefix("GPU-").replace("-", "")))
    chip.memory_bytes, chip.reserved_bytes = profile.memory * MIB, profile.reserved * MIB
    chip.context_bytes = profile.context * MIB
    chip.pci_domain, chip.pci_bus, chip.pci_slot = gpu.domain, gpu.bus, gpu.slot
    chip.pci_device_id, chip.pci_subsystem_id = profile.pci_device, profile.pci_subsystem
    chip.minor, chip.numa = gpu.minor, gpu.numa
    chip.architecture, chip.brand, chip.cores = profile.arch, profile.brand, profile.cores
    chip.temperature, chip.fan, chip.ecc, chip.mig = profile.temperature, profile.fan, profile.ecc, profile.mig
    chip.power_idle_mw, chip.power_limit_mw = profile.power_idle * 1000, profile.power_limit * 1000
    chip.clock_graphics_mhz, chip.clock_memory_mhz = profile.clock, profile.memory_clock
    chip.pcie_generation, chip.pcie_width = profile.pcie_generation, profile.pcie_width
    for number, value in (*profile.attributes, *_placed(gpu)):
        chip.attributes[number] = value


def _placed(gpu: Gpu) -> tuple[tuple[int, int], ...]:
    """Attributes that follow from the rest: clocks in kHz, ECC, and where the GPU sits."""
    profile = gpu.profile
    return (
        (13, profile.clock * 1000),
        (32, int(profile.ecc == 2)),
        (33, gpu.bus),
        (34, gpu.slot),
        (36, profile.memory_clock * 1000),
        (50, gpu.domain),
    )


def create(path: Path, facts: Any) -> None:
    """Write a complete state file under a name that nobody knows yet. Raises StateError."""
    _, library = _library()
    _check(library.mock_create(os.fsencode(path), facts), path)


def read_facts(path: Path) -> Any:
    """The ``struct mock_facts`` of a machine. Raises StateError."""
    ffi, library = _library()
    facts = ffi.new("struct mock_facts *")
    _check(library.mock_read_facts(os.fsencode(path), facts), path)
    return facts


def read_truth(path: Path) -> tuple[Any, Any, int]:
    """``struct mock_device_truth[16]``, an array of ``struct mock_process_truth``, and how many of it count.

    What dead processes held is dropped first. Entries of an array are views that do not keep it: hold the array while you
    read them. Raises StateError.
    """
    ffi, library = _library()
    devices = ffi.new("struct mock_device_truth[16]")
    rows = ffi.new("struct mock_process_truth[]", PROCESSES)
    count = ffi.new("uint32_t *", PROCESSES)
    _check(library.mock_truth(os.fsencode(path), devices, rows, count), path)
    return devices, rows, count[0]


def text(field: Any) -> str:
    """The text in a fixed field."""
    ffi, _ = _library()
    return str(ffi.string(field).decode())


def uuid_of(chip: Any) -> str:
    digits = bytes(chip.uuid).hex()
    return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def reset_peaks(path: Path) -> None:
    _, library = _library()
    _check(library.mock_reset_peaks(os.fsencode(path)), path)


def set_latency(path: Path, nanoseconds: int) -> None:
    _, library = _library()
    _check(library.mock_set_latency(os.fsencode(path), nanoseconds), path)
