"""How much of each GPU's memory a CUDA context takes, measured: a process opens one, and NVML says what it then holds."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import names
from hami_core.errors import DriverError, UserError
from hami_nvidia import contexts, nvml
from hami_nvidia.usage import usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_core.model import Device, Usage

PATIENCE = 60  # seconds for a context; one takes 0.2 s, the first on a cold machine some seconds
LIBCUDA = "libcuda.so.1"
HIDING = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")  # the caller's own choice of GPUs is not meant here


@frozen
class Measured:
    """What a context takes on one GPU. Units: MiB."""

    index: int
    device: str
    model: str
    memory: int
    charged: int  # by the figures and settings in force


def measure(devices: Sequence[Device], root: str, overrides: Mapping[str, int]) -> list[Measured]:
    """One context on each healthy GPU in turn. DriverError: a context cannot be made, or NVML does not say what it takes."""
    if os.environ.get(names.ENV_LIMITS):
        raise UserError(f"{names.ENV_LIMITS}: this process is inside a share and sees its limits; measure from outside")
    return [
        Measured(one.index, one.id, one.model, _context(one, root), contexts.memory(one.model, overrides))
        for one in devices
        if not one.sick
    ]


def figures(measured: Sequence[Measured]) -> dict[str, int]:
    """Model -> MiB, the largest of its GPUs: the value of the setting."""
    found: dict[str, int] = {}
    for one in measured:
        found[one.model] = max(found.get(one.model, 0), one.memory)
    return found


def _context(device: Device, root: str) -> int:
    before = _used(usage(root), device.id)
    words = [sys.executable, "-m", "hami_nvidia.hold_context", _libcuda(root), device.id]
    env = {name: value for name, value in os.environ.items() if name not in HIDING}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as child:
        try:
            answer = _answer(child)
            if answer != "ready":
                raise DriverError("nvidia", f"no context: {answer or f'no answer in {PATIENCE} s'}", device.id)
            found = usage(root)
        finally:
            child.kill()
    own = [use.memory for use in found.processes if (use.device, use.pid) == (device.id, child.pid)]
    taken = own[0] if own and own[0] is not None else _used(found, device.id) - before
    if taken <= 0:
        raise DriverError("nvidia", "NVML does not say what the context takes", device.id)
    return taken


def _answer(child: subprocess.Popen[str]) -> str:
    """The first line that the child prints; empty: none in time."""
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], PATIENCE)
    return child.stdout.readline().strip() if ready else ""


def _used(usage: Usage, device: str) -> int:
    return next((use.memory for use in usage.devices if use.device == device), 0)


def _libcuda(root: str) -> str:
    """The driver's library beside its NVML; for the root of this host whatever the loader finds."""
    beside = nvml.library(root) or nvml.LIBRARY
    return str(Path(beside).with_name(LIBCUDA)) if "/" in beside else LIBCUDA
