"""Running small programs under the interposer: what the tests of this folder share. Nothing here asserts.

A program is a few lines of Python that see `cuda` and `nvml` (see `client.py`) and report by `say(value)`; or a C program of
this folder. Each runs in a process of its own, with the interposer preloaded and a driver on LD_LIBRARY_PATH.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

import hami_native

HERE = Path(__file__).parent
MIB = 1 << 20
LIMIT = 1024 * MIB


def uuid(number: int) -> str:
    """The UUID of the stub driver's device with this NVML number; CUDA's ordinal of it is 3 - number."""
    return f"GPU-00000000-0000-0000-0000-{number:012x}"


def device(number: int = 2, memory: int = LIMIT, context: int = 0, name: str = "") -> str:
    return f"device {name or uuid(number)} memory={memory} physical={16 * 1024 * MIB} cores=100 context={context}"


def limits_text(*devices: str, grant: str = "pod/main") -> str:
    lines = [
        "hami-limits 1",
        f"grant {grant}",
        "[nvidia]",
        *(devices or (device(),)),
        "policy=default",
        "priority=1",
        "oom=refuse",
    ]
    return "\n".join([*lines, "end", ""])


def compile_c(target: Path, *sources: str, flags: Sequence[str] = ()) -> Path:
    """Compile C files of this folder with the compiler that every set-up has."""
    command = [sys.executable, "-m", "ziglang", "cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
    target.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(HERE / source) for source in sources]
    subprocess.run([*command, "-fno-sanitize=undefined", *flags, "-o", str(target), *paths], check=True)
    return target


@frozen
class Outcome:
    """How a program ended: its exit status (negative: a signal), what it said, and its standard error."""

    status: int
    said: list[Any]
    errors: str


@frozen
class Frame:
    """Where programs run: a driver, a grant's folder, and variables on top. Immutable; `but` gives a changed copy."""

    driver: Path
    folder: Path
    variables: Mapping[str, str] = {}
    preload: str = str(hami_native.library())

    @property
    def limits(self) -> Path:
        return self.folder / "limits"

    @property
    def truth(self) -> Path:
        """The stub driver's books."""
        return self.folder / "truth"

    def region(self, grant: str = "pod_main") -> Path:
        return self.folder / grant

    def grants(self, *devices: str, grant: str = "pod/main") -> Frame:
        """Write the limits file in one step, as a kubelet does."""
        fresh = self.folder / "limits.new"
        fresh.write_text(limits_text(*devices, grant=grant))
        fresh.rename(self.limits)
        return self

    def but(self, **variables: str) -> Frame:
        return Frame(self.driver, self.folder, {**self.variables, **variables}, self.preload)

    def without_interposer(self) -> Frame:
        return Frame(self.driver, self.folder, self.variables, preload="")

    def environment(self) -> dict[str, str]:
        ours = {
            "LD_LIBRARY_PATH": str(self.driver),
            "LD_PRELOAD": self.preload,
            "STUB_STATE": str(self.truth),
            "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent.parent)]),
        }
        if self.limits.exists():
            ours["HAMI_LIMITS"] = str(self.limits)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HAMI_", "CUDA_", "LIBCUDA_"))}
        return {**kept, **ours, **self.variables}

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(part) for part in command],
            env=self.environment(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def execute(self, *command: str | Path, seconds: float = 120) -> Outcome:
        process = self.start(*command)
        try:
            said, errors = process.communicate(timeout=seconds)
        finally:
            process.kill()
        return Outcome(process.returncode, [json.loads(line) for line in said.splitlines()], errors)

    def start_python(self, program: str) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-S", "-c", f"from client import *\n{program}")

    def python(self, program: str) -> Outcome:
        """Run a program of client.py's words to its end."""
        return self.execute(sys.executable, "-S", "-c", f"from client import *\n{program}")
