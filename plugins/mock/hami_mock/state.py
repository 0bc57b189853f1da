"""The state file of a machine, through libhami-mock.so: compile a description, read the truth, change settings.

The structures are those of the C header driver/interface.h. Nothing here decides; machine.py says where files lie.
"""

from __future__ import annotations

import errno
import hashlib
import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hami_core.errors import StateError
from hami_mock.drivers import LIBRARIES
from hami_mock.faults import KINDS
from hami_mock.profiles import NVLINK_MBPS

if TYPE_CHECKING:
    from pathlib import Path

    from hami_mock.description import Description, Gpu, Time
    from hami_mock.faults import Fault

MIB = 1 << 20
PROCESSES = 512 * 16  # rows of the table times devices


@cache
def _library() -> tuple[Any, Any]:
    """cffi's view of interface.h, made when the package was built, and the library."""
    ffi = import_module("hami_mock.lib.interface").ffi
    return ffi, ffi.dlopen(str(LIBRARIES / "libhami-mock.so"))


def _check(failure: int, path: Path) -> None:
    if failure == errno.EINVAL:
        raise StateError(f"{path}: is no state of a simulated machine of this version; remove its folder to make a new one")
    if failure:
        raise StateError(f"{path}: {os.strerror(failure)}")


def compile_facts(description: Description) -> Any:
    """A cffi ``struct mock_facts``. Its digest is that of all other bytes, and of the kernels, which lie elsewhere."""
    ffi, _ = _library()
    facts = ffi.new("struct mock_facts *")
    facts.name = description.machine.encode()
    facts.driver_version, facts.nvml_version = description.driver.version.encode(), description.driver.nvml.encode()
    facts.cuda_version, facts.chips = description.driver.cuda, len(description.gpus)
    for gpu in description.gpus:
        _fill(facts.chip[gpu.index], gpu)
        facts.chip[gpu.index].common_ancestor = _row(description.levels[gpu.index])
        facts.chip[gpu.index].nvlinks = _row(description.nvlinks[gpu.index])
        facts.chip[gpu.index].nvlink_count = _links(description, gpu.index)
        facts.chip[gpu.index].nvlink_switches = description.switches
        facts.chip[gpu.index].fabric_clique = description.fabric_clique
    facts.seed, facts.time_scale_ppm = description.seed, description.time.scale
    facts.missing = "".join(f"{name}\n" for name in description.driver.missing).encode()
    facts.faults, facts.ghosts = len(description.faults), len(description.ghosts)
    for number, fault in enumerate(description.faults):
        fill_fault(facts.fault[number], fault)
    for number, ghost in enumerate(description.ghosts):
        one = facts.ghost[number]
        one.gpu, one.bytes, one.pid, one.sm = ghost.gpu, ghost.memory * MIB, ghost.pid, ghost.sm
    facts.digest = list(hashlib.sha256(bytes(ffi.buffer(facts)) + repr(description.time).encode()).digest())
    return facts


def _links(description: Description, index: int) -> int:
    """Links of one GPU: by a switch each reaches everybody, by cables each one other."""
    towards = description.nvlinks[index]
    return max(towards, default=0) if description.switches else sum(towards)


def fill_fault(place: Any, fault: Fault) -> None:
    """Write a fault into a ``struct mock_fault``."""
    place.kind, place.gpu, place.call = KINDS[fault.kind], fault.gpu, fault.call.encode()
    place.at_ns, place.nth, place.times, place.after_bytes = fault.at, fault.nth, fault.times, fault.after
    place.duration_ns, place.jitter_ns, place.code = fault.duration, fault.jitter, fault.code
    place.corrected, place.uncorrected = fault.corrected, fault.uncorrected


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
    chip.nvlink_version, chip.nvlink_mbps = profile.nvlink, NVLINK_MBPS[profile.nvlink]
    chip.unified = profile.unified
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


def create(path: Path, facts: Any, time: Time) -> None:
    """Write a complete state file under a name that nobody knows yet. Raises StateError."""
    _, library = _library()
    _check(library.mock_create(os.fsencode(path), facts), path)
    set_kernel(path, None, time.kernel)
    for name, duration in time.kernels:
        set_kernel(path, name, duration)


def set_kernel(path: Path, name: str | None, duration: int) -> None:
    """How many nanoseconds of the machine's clock the kernels of a name take, or all that are not named. Raises StateError."""
    ffi, library = _library()
    failure = library.mock_set_kernel(os.fsencode(path), ffi.NULL if name is None else name.encode(), duration)
    if failure in (errno.ENOSPC, errno.ENAMETOOLONG):
        raise StateError(f"{path}: has no room for another kernel called {name}")
    _check(failure, path)


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


def add_fault(path: Path, fault: Fault) -> int:
    """Arm a fault whose ``at`` counts from now; its number. Raises StateError."""
    ffi, library = _library()
    made, place = ffi.new("struct mock_fault *"), ffi.new("uint32_t *")
    fill_fault(made, fault)
    failure = library.mock_add_fault(os.fsencode(path), made, place)
    if failure == errno.ENOSPC:
        raise StateError(f"{path}: has no place for another fault; clear those that are done (`hami mock fault clear`)")
    _check(failure, path)
    return int(place[0])


def release_fault(path: Path, number: int) -> None:
    """Raises StateError, also if there is no such fault."""
    _, library = _library()
    _check_fault(library.mock_release_fault(os.fsencode(path), number), path, number)


def remove_fault(path: Path, number: int) -> None:
    """Raises StateError, also if there is no such fault."""
    _, library = _library()
    _check_fault(library.mock_remove_fault(os.fsencode(path), number), path, number)


def _check_fault(failure: int, path: Path, number: int) -> None:
    if failure == errno.ENOENT and path.exists():
        raise StateError(f"{path}: has no fault number {number} (`hami mock fault list` shows those there are)")
    _check(failure, path)


def read_faults(path: Path) -> tuple[list[Any], list[Any]]:
    """Copies of each ``struct mock_fault_status`` there is, and of 16 ``struct mock_health``. Raises StateError."""
    ffi, library = _library()
    statuses, health = ffi.new("struct mock_fault_status[64]"), ffi.new("struct mock_health[16]")
    count = ffi.new("uint32_t *", 64)
    _check(library.mock_faults(os.fsencode(path), statuses, count, health), path)
    rows = [ffi.new("struct mock_fault_status *", statuses[number]) for number in range(count[0])]
    return rows, [ffi.new("struct mock_health *", one) for one in health]


def restore(path: Path, gpu: int) -> None:
    _, library = _library()
    _check(library.mock_restore(os.fsencode(path), gpu), path)


def rearm(path: Path) -> None:
    _, library = _library()
    _check(library.mock_rearm(os.fsencode(path)), path)
