"""Compile the simulated driver into the package folder when hami-mock is built: three libraries, by ziglang."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from cffi import FFI
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
SHARED = ["account", "clock", "event", "fault", "futex", "lock", "machine", "process", "sharing", "timing", "utilisation"]
LIBRARIES = {
    "libcuda.so.1": ["cuda_*.c", "blocks.c", "entry.c"],
    "libnvidia-ml.so.1": ["nvml_*.c", "entry.c"],
    "libhami-mock.so": ["tool*.c"],
}
FLAGS = [
    "-std=c11",
    "-O2",
    "-s",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",
    "-fno-sanitize=undefined",
    "-Wl,-Bsymbolic",
]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


class DriverBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version  # wheel and editable installs want the same libraries
        build(HERE / "driver", HERE / "hami_mock" / "lib")
        build_data.update(pure_python=False, tag=f"py3-none-linux_{platform.machine()}")


def build(sources: Path, target: Path) -> None:
    """Compile what is older than the newest source. glibc 2.17 is old enough for every image that a workload may run in."""
    target.mkdir(exist_ok=True)
    newest = max(path.stat().st_mtime for path in [*sources.iterdir(), Path(__file__)])
    describe(sources / "interface.h", target / "interface.py")
    for library, patterns in LIBRARIES.items():
        output = target / library
        if output.exists() and output.stat().st_mtime > newest:
            continue
        fresh = target / f".{library}"
        shared = (f"{name}.c" for name in SHARED)
        files = [str(path) for pattern in [*patterns, *shared] for path in sorted(sources.glob(pattern))]
        target_abi = f"{platform.machine()}-linux-gnu.2.17"
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", target_abi]
        subprocess.run([*compiler, *FLAGS, *WARNINGS, f"-Wl,-soname,{library}", "-o", str(fresh), *files, "-ldl"], check=True)
        fresh.replace(output)  # nobody may see half of it


def describe(header: Path, module: Path) -> None:
    """Parse the header once and for all: cffi's ABI mode then starts in a millisecond, and needs no compiler and no parser."""
    ffi = FFI()
    ffi.set_source("interface", None)
    ffi.cdef("\n".join(line for line in header.read_text().splitlines() if not line.startswith("#")))
    ffi.emit_python_code(str(module))


if __name__ == "__main__":
    build(HERE / "driver", HERE / "hami_mock" / "lib")
