"""NVML, through pynvml: the one module that talks to NVIDIA's driver, and only when called. What its answers mean is not here.

``Nvml`` is the narrow door: functions by name, errors as one exception with NVML's code. A process has one NVML, because pynvml
keeps one library in a global; it stays initialised, since attaching to idle GPUs takes a real driver up to a second each.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pynvml
from attrs import define, field, frozen

from hami_core.errors import DriverError

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = "libnvidia-ml.so.1"
FOLDERS = (  # below a driver root: a simulated machine, Debian and Ubuntu, Red Hat and SUSE, WSL
    "lib",
    f"usr/lib/{os.uname().machine}-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/lib/wsl/lib",
)

UNINITIALIZED = pynvml.NVML_ERROR_UNINITIALIZED
INVALID_ARGUMENT = pynvml.NVML_ERROR_INVALID_ARGUMENT
NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
DRIVER_NOT_LOADED = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
NO_PERMISSION = pynvml.NVML_ERROR_NO_PERMISSION
TIMEOUT = pynvml.NVML_ERROR_TIMEOUT
FUNCTION_NOT_FOUND = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
GPU_IS_LOST = pynvml.NVML_ERROR_GPU_IS_LOST
RESET_REQUIRED = pynvml.NVML_ERROR_RESET_REQUIRED
VERSION_MISMATCH = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
GPU_NOT_FOUND = pynvml.NVML_ERROR_GPU_NOT_FOUND

OF_THE_DRIVER = frozenset((UNINITIALIZED, DRIVER_NOT_LOADED, VERSION_MISMATCH))
"""Codes that say nothing of the device that was asked: no GPU is sick because the driver was upgraded or unloaded."""

RECOVERY_ACTION = pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
MAX_LINKS = pynvml.NVML_NVLINK_MAX_LINKS


class Refused(Exception):
    """NVML's answer is an error, or this driver has no such function."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text

    def __str__(self) -> str:
        return self.text


@frozen
class Gpu:
    """A GPU that says who it is."""

    index: int  # NVML's, which is that of nvidia-smi
    uuid: str
    handle: Any
    bus: str  # as NVML writes it: "00000000:1B:00.0"


@define(eq=False)
class Nvml:
    """An NVML that is initialised. ``functions``: pynvml, or what stands in for it in a test.

    ``hung``: by index of the GPU, whether a call that did not come back in time still hangs; as long nobody asks that GPU.
    """

    functions: Any = pynvml
    known: dict[str, int] = field(factory=dict)  # uuid -> index, of all that ever said who they are
    hung: dict[int, Callable[[], bool]] = field(factory=dict)

    def ask(self, function: str, *arguments: Any) -> Any:
        """The answer of one function. Refused: an error, or a function that this driver or this pynvml does not have."""
        found = getattr(self.functions, function, None)
        if found is None:
            raise Refused(FUNCTION_NOT_FOUND, f"{function} is not known here")
        try:
            return found(*arguments)
        except pynvml.NVMLError as error:
            raise Refused(error.value, str(error)) from error
        except pynvml.NVMLLibraryMismatchError as error:
            raise Refused(FUNCTION_NOT_FOUND, f"{function}: {error}") from error

    def optional(self, function: str, *arguments: Any, default: Any = None) -> Any:
        """The answer, or a default where there is none: WSL, vGPU guests, Jetson and old drivers refuse much."""
        try:
            return self.ask(function, *arguments)
        except Refused:
            return default

    def mute(self) -> frozenset[int]:
        """The indices of the GPUs that are not to be asked."""
        return frozenset(index for index, hangs in self.hung.items() if hangs())

    def count(self) -> int:
        """How many GPUs there are. DriverError: not even that is known."""
        try:
            return int(self.ask("nvmlDeviceGetCount"))
        except Refused as error:
            raise DriverError("nvidia", f"counting devices: {error}") from error

    def gpu(self, index: int) -> Gpu:
        """The GPU of this index. Refused: it does not say who it is."""
        handle = self.ask("nvmlDeviceGetHandleByIndex", index)
        uuid = text(self.ask("nvmlDeviceGetUUID", handle))
        self.known[uuid] = index
        info = self.optional("nvmlDeviceGetPciInfo", handle)
        return Gpu(index, uuid, handle, text(info.busId) if info else "")

    def fabric(self, handle: Any) -> Any | None:
        """The GPU's nvmlGpuFabricInfoV. None: the driver knows of no fabrics."""
        info = pynvml.c_nvmlGpuFabricInfo_v2_t()
        return None if self.optional("nvmlDeviceGetGpuFabricInfoV", handle, ctypes.byref(info)) is None else info


@define
class _Process:
    """The one NVML of this process."""

    path: str = ""
    nvml: Nvml | None = None


_process = _Process()


def session(root: str) -> Nvml | None:
    """The NVML of the driver under ``root``, initialised. None: there is no driver. DriverError: it does not start."""
    path = library(root)
    if path is None:
        return None
    if _process.nvml is None or _process.path != path:
        close()
        _process.nvml, _process.path = _start(path), path
    return _process.nvml


def close() -> None:
    """Let NVML go, so that the next session starts anew: a GPU that was lost and found again is seen by that one only."""
    if _process.nvml is not None:
        _process.nvml.optional("nvmlShutdown")
    _process.nvml = None


def _start(path: str) -> Nvml:
    try:
        pynvml.nvmlLib = ctypes.CDLL(path)  # pynvml itself finds a library by its name only
    except OSError as error:
        raise DriverError("nvidia", f"{path} cannot be loaded: {error}") from error
    pynvml._nvmlGetFunctionPointer_cache.clear()
    nvml = Nvml()
    try:
        nvml.ask("nvmlInit")
    except Refused as error:
        hint = (
            "; the driver was upgraded, and its library must be of the same version" if error.code == VERSION_MISMATCH else ""
        )
        raise DriverError("nvidia", f"nvmlInit: {str(error).rstrip('.')}{hint}") from error
    return nvml


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


def text(value: str | bytes) -> str:
    """pynvml answers text in new versions, bytes in old ones."""
    return value.decode() if isinstance(value, bytes) else value


def pci_address(bus: str) -> str:
    """A PCI address as the kernel spells it, "0000:1b:00.0" or "10000:01:00.0": NVML has eight digits and capitals."""
    domain, _, rest = bus.lower().partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest}"
    except ValueError:
        return bus.lower()


def address(handle: Any) -> int:
    """What two handles of one GPU have in common: an event names its GPU by a handle of its own."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0 if isinstance(handle, ctypes._Pointer) else id(handle)
