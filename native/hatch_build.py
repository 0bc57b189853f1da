"""Compile the C of this distribution with ziglang, into the package folder, for every wheel, editable ones too.

And what Python knows of it: cffi's view of the reader's header, parsed once and for all.

What is compiled from what is said here and nowhere else; how the sources are written is not of this module.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cffi import FFI
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GLIBC = "2.17"  # what the library may need of the image it is preloaded into; CentOS 7 has this one
SHARED = ("-shared", "-fPIC", "-Wl,-z,now")
FLAGS = (
    *("-std=c11", "-D_GNU_SOURCE", "-O2", "-fomit-frame-pointer", "-g0", "-s"),
    *("-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fno-sanitize=undefined"),
    "-fno-strict-aliasing",  # the driver's table is filled through pointers to its members
    *("-iquote", "include", "-iquote", "src"),  # not -I: our limits.h would hide the system's
)


def sources(root: Path, folder: str) -> list[str]:
    """The C and assembly files of one folder, relative to the root."""
    return sorted(str(path.relative_to(root)) for path in (root / folder).glob("*.[cS]"))


def outputs(root: Path) -> dict[str, list[str]]:
    """Arguments of the compiler by the file they make."""
    map_file = "-Wl,--version-script=src/libvgpu.map"
    return {
        "libvgpu.so": [*SHARED, "-Wl,-soname,libvgpu.so", "-Wl,-z,nodelete", map_file, *sources(root, "src")],
        "libhami_region.so": [*SHARED, "-iquote", "reader", "reader/reader.c", "src/limits.c", "src/region_check.c"],
        "hami-probe": ["-iquote", "probe", *sources(root, "probe"), "-ldl"],
    }


def compile_c(root: Path, folder: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Compile the named files of `outputs` (all without names) into `folder` and return their paths.

    Each is replaced in one step: a process that has the former one loaded keeps it. Raises CalledProcessError.
    """
    target = f"{platform.machine()}-linux-gnu.{GLIBC}"
    made = []
    for name, arguments in outputs(root).items():
        if names is not None and name not in names:
            continue
        fresh = folder / f".{name}.{os.getpid()}"
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *FLAGS, "-o", str(fresh), *arguments]
        subprocess.run(command, cwd=root, check=True)
        made.append(fresh.replace(folder / name))
    return made


def describe(root: Path, folder: Path) -> Path:
    """Write cffi's view of `reader/reader.h` into `folder` and return its path. ABI mode: nothing is compiled for it."""
    header = (root / "reader" / "reader.h").read_text()
    sizes = re.findall(r"^#define HAMI_\w+ \d+$", header, re.MULTILINE)
    ffi = FFI()
    ffi.set_source("interface", None)
    ffi.cdef("\n".join([*sizes, *(line for line in header.splitlines() if not line.startswith("#"))]))
    ffi.emit_python_code(str(folder / "interface.py"))
    return folder / "interface.py"


class NativeBuildHook(BuildHookInterface[Any]):
    """hatchling's door to `compile_c`."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling passes it
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        made = [*compile_c(root, root / "hami_native"), describe(root, root / "hami_native")]
        build_data["artifacts"] += [f"/{path.relative_to(root)}" for path in made]
        build_data["shared_scripts"]["hami_native/hami-probe"] = "hami-probe"  # into bin/, of editable installs too
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"
