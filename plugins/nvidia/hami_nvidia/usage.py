"""What the GPUs and the processes on them use now, as the driver counts it, seen from the host.

Everything but a GPU's memory may be missing. Process ids are the host's for root in the host's pid namespace; MIG ids stay with
the process, because the driver counts it under the parent GPU.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hami_core.model import DeviceUse, ProcessUse, Usage
from hami_nvidia.inventory import MIB, PATIENCE, note, present
from hami_nvidia.nvml import session
from hami_nvidia.patience import each

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hami_nvidia.nvml import Gpu, Nvml

LISTS = {  # nvidia-smi's letters, in the order in which it joins them
    "M": "nvmlDeviceGetMPSComputeRunningProcesses",
    "C": "nvmlDeviceGetComputeRunningProcesses",
    "G": "nvmlDeviceGetGraphicsRunningProcesses",
}
WINDOW = 2.0  # seconds: the driver samples about once in one; an older sample is of a process that is idle now
NO_INSTANCE = 0xFFFFFFFF
TEMPERATURE_GPU = 0  # nvmlTemperatureSensors_t


def usage(root: str, patience: float = PATIENCE) -> Usage:
    """The use of the driver's GPUs under ``root``. Empty where there is no driver. DriverError: it fails as a whole."""
    nvml = session(root)
    return Usage() if nvml is None else measured(nvml, patience)


def measured(nvml: Nvml, patience: float) -> Usage:
    """The use that this NVML counts; a GPU that does not answer is left out."""
    gpus, _ = present(nvml, patience)
    answers = each(gpus, lambda gpu: (_device(nvml, gpu), _processes(nvml, gpu)), patience)
    for gpu, answer in zip(gpus, answers, strict=True):
        note(nvml, gpu.index, answer)
    told = [answer for answer in answers if not isinstance(answer, Exception)]
    return Usage(
        devices=tuple(device for device, _ in told if device is not None),
        processes=tuple(process for _, processes in told for process in processes),
    )


def _device(nvml: Nvml, gpu: Gpu) -> DeviceUse | None:
    memory = nvml.optional("nvmlDeviceGetMemoryInfo", gpu.handle)
    if memory is None:
        return None
    rates = nvml.optional("nvmlDeviceGetUtilizationRates", gpu.handle)
    milliwatts = nvml.optional("nvmlDeviceGetPowerUsage", gpu.handle)
    return DeviceUse(
        gpu.uuid,
        memory=_mib(memory.used),
        utilisation=None if rates is None else int(rates.gpu),
        temperature=nvml.optional("nvmlDeviceGetTemperature", gpu.handle, TEMPERATURE_GPU),
        power=None if milliwatts is None else round(milliwatts / 1000),
    )


def _processes(nvml: Nvml, gpu: Gpu) -> tuple[ProcessUse, ...]:
    lists = {letter: nvml.optional(function, gpu.handle, default=[]) for letter, function in LISTS.items()}
    busy = newest(samples(nvml, gpu)) if any(lists.values()) else {}
    return joined(gpu.uuid, lists, busy)


def joined(uuid: str, lists: Mapping[str, Iterable[Any]], busy: Mapping[int, int]) -> tuple[ProcessUse, ...]:
    """One entry for each process and instance, with the letters of all lists that it is in. Pure.

    ``lists``: letter -> entries with pid, usedGpuMemory in bytes (None: not told), gpuInstanceId, computeInstanceId; a process
    that is in two lists has the same memory in both.
    """
    letters: defaultdict[tuple[int, str], str] = defaultdict(str)
    memory: dict[tuple[int, str], int | None] = {}
    for letter, entries in lists.items():
        for entry in entries:
            key = (int(entry.pid), instance(entry))
            letters[key] += letter
            told = [one for one in (memory.get(key), entry.usedGpuMemory) if one is not None]
            memory[key] = max(told, default=None)
    return tuple(
        ProcessUse(
            device=uuid,
            pid=pid,
            memory=None if (used := memory[pid, where]) is None else _mib(used),
            type="+".join(letters[pid, where]),
            instance=where,
            utilisation=busy.get(pid),
        )
        for pid, where in letters
    )


def instance(entry: Any) -> str:
    """The MIG instance of a process, "<GPU instance>/<compute instance>". Empty: the whole GPU, or an old driver."""
    ids = [getattr(entry, name, None) for name in ("gpuInstanceId", "computeInstanceId")]
    return "" if None in ids or NO_INSTANCE in ids else f"{ids[0]}/{ids[1]}"


def samples(nvml: Nvml, gpu: Gpu) -> Iterable[Any]:
    """Samples of the last moments; none under MIG, on old GPUs, and where nothing ran, which pynvml raises."""
    since = int((time.time() - WINDOW) * 1_000_000)
    found: Iterable[Any] = nvml.optional("nvmlDeviceGetProcessUtilization", gpu.handle, since, default=())
    return found


def newest(found: Iterable[Any]) -> dict[int, int]:
    """Percent of the GPU's time by process: of several samples of one the last. Pure."""
    by_time = sorted(found, key=lambda sample: int(sample.timeStamp))
    return {int(sample.pid): int(sample.smUtil) for sample in by_time}


def _mib(used: int) -> int:
    """Rounded up: a process that holds anything holds something."""
    return -(-int(used) // MIB)
