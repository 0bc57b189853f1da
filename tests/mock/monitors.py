"""Other people's monitors, run as their users run them: gpustat and nvitop, from the packages that the tests install."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20
BIN = Path(sysconfig.get_path("scripts"))
GPUSTAT = (str(BIN / "gpustat"), "--no-color", "--json", "--no-header")
NVITOP = (str(BIN / "nvitop"), "--once", "--ascii", "--no-unicode")
ASK_NVITOP = """
import json, nvitop
print(json.dumps([
    [gpu.name(), gpu.uuid(), gpu.memory_total(), gpu.memory_used(),
     {pid: process.gpu_memory() for pid, process in gpu.processes().items()}]
    for gpu in nvitop.Device.all()
]))
"""
NVITOP_API = (sys.executable, "-c", ASK_NVITOP)


@frozen
class Seen:
    """One GPU as a monitor shows it. Memory in MiB, by process too."""

    name: str
    uuid: str
    total: int
    used: int
    processes: Mapping[int, int]


def run(command: tuple[str, ...], environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def by_gpustat(text: str) -> list[Seen]:
    """What ``gpustat --json`` prints."""
    return [_by_gpustat(gpu) for gpu in json.loads(text)["gpus"]]


def _by_gpustat(gpu: Mapping[str, Any]) -> Seen:
    held = {one["pid"]: one["gpu_memory_usage"] for one in gpu["processes"]}
    return Seen(gpu["name"], gpu["uuid"], gpu["memory.total"], gpu["memory.used"], held)


def by_nvitop(text: str) -> list[Seen]:
    """What NVITOP_API prints."""
    return [
        Seen(name, uuid, total // MIB, used // MIB, {int(pid): held // MIB for pid, held in processes.items()})
        for name, uuid, total, used, processes in json.loads(text)
    ]
