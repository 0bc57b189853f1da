"""Discovery by the real NVML binding, on simulated drivers that it cannot tell from real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hami_core.errors import DriverError
from hami_mock import machine
from hami_nvidia import nvml
from hami_nvidia.inventory import inventory

if TYPE_CHECKING:
    from pathlib import Path


def asked(what: str) -> Any:
    """The value of an expression in a process of its own: pynvml keeps its library for the life of one."""
    imports = "import json; from attrs import asdict; from hami_nvidia.inventory import *; from hami_nvidia.usage import *"
    script = f"{imports}; print(json.dumps({what}))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def test_every_gpu_is_described_in_the_drivers_order(tmp_path: Path) -> None:
    installed = machine.install("t4x4", tmp_path / "m")

    found = asked(f"asdict(inventory('nvidia', {str(installed.folder)!r}))")

    assert [device["id"] for device in found["devices"]] == list(installed.uuids)
    assert found["faults"] == []
    first = found["devices"][0]
    assert (first["model"], first["memory"], first["capability"], first["sick"]) == ("Tesla T4", 15360, "7.5", "")


def test_two_machines_in_one_process_are_not_mixed_up(tmp_path: Path) -> None:
    one, two = (machine.install(name, tmp_path / name) for name in ("t4-node", "dgx-a100"))

    counts = asked(f"[len(inventory('nvidia', root).devices) for root in ({str(one.folder)!r}, {str(two.folder)!r})]")

    assert counts == [1, 8]


def test_a_root_without_a_driver_has_no_inventory(tmp_path: Path) -> None:
    assert inventory("nvidia", str(tmp_path)) is None


def test_a_driver_that_does_not_start_is_one_sentence(tmp_path: Path) -> None:
    installed = machine.install("t4-node", tmp_path / "m")
    (installed.folder / "state").unlink()

    with pytest.raises(subprocess.CalledProcessError) as caught:
        asked(f"asdict(inventory('nvidia', {str(installed.folder)!r}))")

    assert caught.value.stderr.strip().splitlines()[-1] == ("hami_core.errors.DriverError: nvidia: nvmlInit: Driver Not Loaded")


def test_a_library_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / nvml.LIBRARY).write_text("not a library")

    with pytest.raises(DriverError, match=r"libnvidia-ml\.so\.1 cannot be loaded"):
        inventory("nvidia", str(tmp_path))


def test_memory_that_a_process_holds_is_seen_from_outside(tmp_path: Path) -> None:
    installed = machine.install("t4-node", tmp_path / "m")
    holder = f"""
import ctypes
cuda = ctypes.CDLL({str(installed.libraries / "libcuda.so.1")!r})
context, pointer = ctypes.c_void_p(), ctypes.c_uint64()
assert not cuda.cuInit(0) and not cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
assert not cuda.cuCtxSetCurrent(context) and not cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(512 << 20))
print(flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        use = asked(f"asdict(usage({str(installed.folder)!r}))")
        process.communicate(b"\n")

    assert [found["pid"] for found in use["processes"]] == [process.pid]
    assert use["processes"][0]["device"] == installed.uuids[0]
    assert use["processes"][0]["type"] == "C"
    assert use["processes"][0]["memory"] >= 512
