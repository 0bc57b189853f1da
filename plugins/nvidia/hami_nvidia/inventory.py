"""Which GPUs there are, and what each says of itself. How they are connected is in ``links``.

A GPU that fails is described as far as it answers; one that does not even say its name is a sentence among the faults.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hami_core.model import Device, DeviceInventory
from hami_nvidia import links
from hami_nvidia.nvml import NOT_SUPPORTED, Gpu, Refused, pci_address, session, text
from hami_nvidia.patience import NoAnswer, each

if TYPE_CHECKING:
    from hami_nvidia.nvml import Nvml

MIB = 1024 * 1024
MIG_OFF = 0  # NVML_DEVICE_MIG_DISABLE
PATIENCE = 2.5  # seconds for a GPU to answer


def inventory(kind: str, root: str, unsaid_memory: int = 0, patience: float = PATIENCE) -> DeviceInventory | None:
    """The GPUs of the driver under ``root``, in NVML's order (that of nvidia-smi). None: there is no driver.

    ``unsaid_memory``: MiB of a GPU whose driver does not say, because it shares the host's (GB10, Jetson). 0: it is sick.
    ``patience``: seconds; a driver whose GPUs hang costs at most three times as much. DriverError: it fails as a whole.
    """
    nvml = session(root)
    return None if nvml is None else taken(nvml, kind, root, patience, unsaid_memory)


def taken(nvml: Nvml, kind: str, root: str, patience: float, unsaid_memory: int = 0) -> DeviceInventory:
    """The inventory that this NVML gives."""
    gpus, silent = present(nvml, patience)
    faults = [f"GPU {index} cannot be described: {why}" for index, why in sorted(silent.items())]
    told = each(gpus, lambda gpu: described(nvml, gpu, root, unsaid_memory), patience)
    devices = [
        answer if isinstance(answer, Device) else _silent(nvml, gpu, answer) for gpu, answer in zip(gpus, told, strict=True)
    ]
    numa = {device.id: device.numa for device in devices}
    mute = nvml.mute()
    answering = [gpu for gpu in gpus if gpu.index not in mute]
    (wires,) = each([answering], lambda gpus: links.between(nvml, gpus, numa), patience)
    if isinstance(wires, Exception):
        faults.append(f"how the GPUs are connected is unknown: {wires}")
        wires = ()
    return DeviceInventory(kind, tuple(devices), wires, tuple(faults))


def present(nvml: Nvml, patience: float) -> tuple[list[Gpu], dict[int, str]]:
    """The GPUs that say who they are, and by index why the others do not. DriverError: not even their number is known."""
    silent = dict.fromkeys(nvml.mute(), "an earlier call to it still hangs")
    asked = [index for index in range(nvml.count()) if index not in silent]
    gpus = []
    for index, answer in zip(asked, each(asked, nvml.gpu, patience), strict=True):
        if isinstance(answer, Gpu):
            gpus.append(answer)
        else:
            silent[index] = str(answer)
            note(nvml, index, answer)
    return gpus, silent


def note(nvml: Nvml, index: int, answer: object) -> None:
    """Remember a GPU that lets a call hang."""
    if isinstance(answer, NoAnswer):
        nvml.hung[index] = answer.hangs


def described(nvml: Nvml, gpu: Gpu, root: str, unsaid_memory: int) -> Device:
    """What one GPU says of itself."""
    memory, sick = _memory(nvml, gpu, unsaid_memory)
    capability = nvml.optional("nvmlDeviceGetCudaComputeCapability", gpu.handle)
    return Device(
        id=gpu.uuid,
        index=gpu.index,
        model=text(nvml.optional("nvmlDeviceGetName", gpu.handle, default="unknown")),
        memory=memory,
        numa=numa_node(gpu.bus, root),
        bus=gpu.bus,
        capability=".".join(map(str, capability)) if capability else "",
        sick=sick or _partitioned(nvml, gpu),
    )


def _partitioned(nvml: Nvml, gpu: Gpu) -> str:
    """Why a GPU in MIG mode cannot be shared as a whole: CUDA runs in its instances alone. Empty: it is not in that mode."""
    now, _ = nvml.optional("nvmlDeviceGetMigMode", gpu.handle, default=(MIG_OFF, MIG_OFF))
    return "" if now == MIG_OFF else "is in MIG mode: programs run in its instances only (devicePlugin.migStrategy is none)"


def _memory(nvml: Nvml, gpu: Gpu, unsaid: int) -> tuple[int, str]:
    """MiB, rounded down, and why they cannot be known."""
    try:
        return int(nvml.ask("nvmlDeviceGetMemoryInfo", gpu.handle).total) // MIB, ""
    except Refused as error:
        if error.code == NOT_SUPPORTED:
            return unsaid, "" if unsaid else "does not say how much memory it has; set devicePlugin.preConfiguredDeviceMemory"
        return 0, f"memory: {error}"


def _silent(nvml: Nvml, gpu: Gpu, why: Exception) -> Device:
    """A GPU that said its name and nothing more."""
    note(nvml, gpu.index, why)
    return Device(gpu.uuid, gpu.index, model="unknown", memory=0, bus=gpu.bus, sick=str(why) or type(why).__name__)


def numa_node(bus: str, root: str) -> int | None:
    """The NUMA node of a PCI address as NVML writes it ("00000000:1B:00.0"). None: unknown, or the kernel says -1."""
    path = Path(root) / "sys/bus/pci/devices" / pci_address(bus) / "numa_node"
    try:
        node = int(path.read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None
