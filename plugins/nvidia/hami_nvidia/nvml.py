"""NVML, through pynvml: the one module that talks to NVIDIA's driver, and only when called.

Every answer is a plain value. A device that fails is described as far as it answers, and never hides its siblings.
Optional calls have a fallback: WSL, vGPU guests and Jetson answer NOT_SUPPORTED to much of NVML.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pynvml

from hami_core.errors import DriverError
from hami_core.model import Device, DeviceInventory, DeviceUse, ProcessUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
MIB = 1024 * 1024
LIBRARY = "libnvidia-ml.so.1"
FOLDERS = (  # below a driver root: a simulated machine, Debian and Ubuntu, Red Hat and SUSE, WSL
    "lib",
    f"usr/lib/{os.uname().machine}-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/lib/wsl/lib",
)


def inventory(kind: str, root: str, unsaid_memory: int = 0) -> DeviceInventory | None:
    """The GPUs of the driver under ``root``, in NVML's order (that of nvidia-smi). None: there is no driver.

    ``unsaid_memory``: MiB of a GPU whose driver does not say, because it shares the host's (GB10, Jetson). 0: it is sick.
    DriverError: the driver is there and fails as a whole.
    """
    path = library(root)
    if path is None:
        return None
    with _session(path):
        count = _whole("counting devices", pynvml.nvmlDeviceGetCount)
        described = [_described(index, root, unsaid_memory) for index in range(count)]
    return DeviceInventory(
        kind=kind,
        devices=tuple(found for found in described if isinstance(found, Device)),
        faults=tuple(found for found in described if isinstance(found, str)),
    )


def usage(root: str) -> Usage:
    """Memory and utilisation by GPU, and memory by process, as the driver counts them. Empty where there is no driver."""
    path = library(root)
    if path is None:
        return Usage()
    with _session(path):
        count = _whole("counting devices", pynvml.nvmlDeviceGetCount)
        handles = [handle for index in range(count) if (handle := _handle(index)) is not None]
        return Usage(
            devices=tuple(use for uuid, handle in handles if (use := _device_use(uuid, handle)) is not None),
            processes=tuple(use for uuid, handle in handles for use in _processes(uuid, handle)),
        )


def library(root: str) -> str | None:
    """NVML's library under a driver root; for the root of this host whatever the loader finds. None: there is none."""
    found = (Path(root) / folder / LIBRARY for folder in FOLDERS)
    path = next((str(path) for path in found if path.exists()), None)
    return path or (_by_loader() if root == "/" else None)


def _by_loader() -> str | None:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    return LIBRARY


@contextmanager
def _session(path: str) -> Iterator[None]:
    """NVML initialised from this very file: pynvml keeps one library a process and finds it by name only."""
    try:
        pynvml.nvmlLib = ctypes.CDLL(path)
    except OSError as error:
        raise DriverError("nvidia", f"{path} cannot be loaded: {error}") from error
    pynvml._nvmlGetFunctionPointer_cache.clear()
    _whole("nvmlInit", pynvml.nvmlInit)
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _whole(what: str, call: Callable[[], T]) -> T:
    """A call without which nothing can be said."""
    try:
        return call()
    except pynvml.NVMLError as error:
        raise DriverError("nvidia", f"{what}: {error}") from error


def _described(index: int, root: str, unsaid_memory: int) -> Device | str:
    """One GPU, or a sentence on why there is nothing to say of it."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
    except pynvml.NVMLError as error:
        return f"GPU {index} cannot be described: {error}"
    memory, sick = _memory(handle, unsaid_memory)
    bus = _optional(lambda: _text(pynvml.nvmlDeviceGetPciInfo(handle).busId), "")
    capability = _optional(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle), None)
    return Device(
        id=uuid,
        index=index,
        model=_optional(lambda: _text(pynvml.nvmlDeviceGetName(handle)), "unknown"),
        memory=memory,
        numa=numa_node(bus, root),
        bus=bus,
        capability=".".join(map(str, capability)) if capability else "",
        sick=sick,
    )


def _memory(handle: Any, unsaid: int) -> tuple[int, str]:
    """MiB, rounded down, and why they cannot be known."""
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) // MIB, ""
    except pynvml.NVMLError as error:
        if unsaid and error.value == pynvml.NVML_ERROR_NOT_SUPPORTED:
            return unsaid, ""
        return 0, f"memory: {error}"


def numa_node(bus: str, root: str) -> int | None:
    """The NUMA node of a PCI address as NVML writes it ("00000000:1B:00.0"). None: unknown, or the kernel says -1."""
    domain, _, rest = bus.lower().partition(":")
    path = Path(root) / "sys/bus/pci/devices" / f"{domain[-4:]}:{rest}" / "numa_node"
    try:
        node = int(path.read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None


def _handle(index: int) -> tuple[str, Any] | None:
    """UUID and handle of one GPU; None: it is too sick to say its name."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return _text(pynvml.nvmlDeviceGetUUID(handle)), handle
    except pynvml.NVMLError:
        return None


def _device_use(uuid: str, handle: Any) -> DeviceUse | None:
    used = _optional(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used), None)
    if used is None:
        return None
    utilisation = _optional(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu), None)
    return DeviceUse(uuid, memory=_mib(used), utilisation=utilisation)


def _processes(uuid: str, handle: Any) -> Iterator[ProcessUse]:
    running: list[Any] = _optional(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle), [])
    for process in running:
        used = process.usedGpuMemory
        yield ProcessUse(device=uuid, pid=process.pid, memory=None if used is None else _mib(used))


def _mib(used: int) -> int:
    """Rounded up: a process that holds anything holds something."""
    return -(-used // MIB)


def _optional(call: Callable[[], T], fallback: T) -> T:
    try:
        return call()
    except pynvml.NVMLError:
        return fallback


def _text(value: str | bytes) -> str:
    """pynvml answers text in new versions, bytes in old ones."""
    return value.decode() if isinstance(value, bytes) else value
