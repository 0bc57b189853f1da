"""A simulated machine as a folder: ``lib/`` with the drivers, ``state`` and ``sys/`` beside it: install, and read the truth.

Programs use it by ``LD_LIBRARY_PATH=<folder>/lib``; the libraries find the state as ``../state`` from where they lie.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core.errors import StateError
from hami_mock import drivers, state
from hami_mock.description import load, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_mock.description import Description


@frozen
class Machine:
    """An installed machine."""

    name: str
    folder: Path
    uuids: tuple[str, ...]  # by index

    @property
    def libraries(self) -> Path:
        """The folder for LD_LIBRARY_PATH."""
        return self.folder / "lib"


@frozen
class DeviceTruth:
    """What one GPU holds, in bytes, by the driver's own books."""

    index: int
    uuid: str
    name: str
    total: int
    requested: int  # what programs asked for
    physical: int  # what it takes: rounded up, with contexts
    requested_peak: int
    physical_peak: int


@frozen
class ProcessTruth:
    """What one live process holds on one GPU, in bytes."""

    pid: int
    start_time: int  # clock ticks since boot
    device: int  # index
    uuid: str
    requested: int
    physical: int
    context: int  # of physical


@frozen
class Truth:
    machine: str
    devices: tuple[DeviceTruth, ...]
    processes: tuple[ProcessTruth, ...]


def names() -> tuple[str, ...]:
    """The machines that can be installed by name."""
    return shipped()


def install(name_or_path: str, folder: Path) -> Machine:
    """The machine in FOLDER, made if it is not there; one that is there keeps its state.

    Safe between several processes at once. Raises DescriptionError; StateError if the folder holds another machine, or one of
    the same name that was made from another description.
    """
    description = load(name_or_path)
    facts = state.compile_facts(description)
    folder = folder.absolute()
    with _alone(folder):
        drivers.put(folder / "lib", description.driver.missing)
        _put_devices(folder / "sys/bus/pci/devices", description)
        _put_state(folder / "state", facts, description)
    return Machine(description.machine, folder, tuple(gpu.uuid for gpu in description.gpus))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise StateError(f"{folder}: {error.strerror}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _put_devices(folder: Path, description: Description) -> None:
    """The GPUs as the kernel describes them in sysfs, below the machine's folder, which is its driver root."""
    for gpu in description.gpus:
        device = folder / f"{gpu.domain:04x}:{gpu.bus:02x}:{gpu.slot:02x}.0"
        device.mkdir(parents=True, exist_ok=True)
        facts = {"numa_node": str(gpu.numa), "vendor": "0x10de", "device": f"0x{gpu.profile.pci_device >> 16:04x}"}
        for name, text in (facts | {"class": "0x030200"}).items():  # of a 3D controller
            if not (device / name).exists():
                (device / name).write_text(f"{text}\n")


def _put_state(path: Path, facts: object, description: Description) -> None:
    if not path.exists():
        fresh = path.with_name(f".state.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        state.create(fresh, facts, description.time)
        fresh.rename(path)
        return
    found = state.read_facts(path)
    if bytes(found.digest) != bytes(facts.digest):  # type: ignore[attr-defined]
        raise StateError(
            f"{path.parent}: holds the machine {state.text(found.name)}, made from another description; "
            "remove the folder or choose another"
        )


def truth(folder: Path) -> Truth:
    """What is allocated on the machine in FOLDER right now; what dead processes held is gone. Raises StateError."""
    path = folder / "state"
    facts = state.read_facts(path)
    devices, rows, count = state.read_truth(path)
    uuids = [state.uuid_of(facts.chip[index]) for index in range(facts.chips)]
    return Truth(
        machine=state.text(facts.name),
        devices=tuple(
            DeviceTruth(
                index=index,
                uuid=uuids[index],
                name=state.text(facts.chip[index].name),
                total=facts.chip[index].memory_bytes,
                requested=devices[index].requested,
                physical=devices[index].physical,
                requested_peak=devices[index].requested_peak,
                physical_peak=devices[index].physical_peak,
            )
            for index in range(facts.chips)
        ),
        processes=tuple(
            ProcessTruth(row.pid, row.start_time, row.device, uuids[row.device], row.requested, row.physical, row.context)
            for row in (rows[number] for number in range(count))
        ),
    )


def reset_peaks(folder: Path) -> None:
    """Make every peak the present value. Raises StateError."""
    state.reset_peaks(folder / "state")


def set_latency(folder: Path, nanoseconds: int) -> None:
    """Make every driver call on memory and contexts take so much longer, 0 for none. Raises StateError."""
    state.set_latency(folder / "state", nanoseconds)


def set_kernel(folder: Path, name: str | None, nanoseconds: int) -> None:
    """How long the kernels of a name take on the machine's clock; None: all that are not named. Raises StateError."""
    state.set_kernel(folder / "state", name, nanoseconds)
