"""Programs built from their Go modules: once per machine, by one process at a time, and never half of one.

What stays on the disk: the programs (100 MB each), and the sources in Go's own module cache (about 1 GB for Kubernetes). The
compiler's cache (2 GB) is dropped after each build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hami_core.errors import HamiError
from hami_core.testing.cluster import golang
from hami_core.testing.cluster.locks import alone
from hami_core.testing.cluster.programs import LAUNCHER

if TYPE_CHECKING:
    from hami_core.testing.cluster.modules import Module

Note = Callable[[str], None]
NOTE_SECONDS = 10.0


class BuildFailed(HamiError):
    """What the Go command said."""


def build(module: Module, programs: Sequence[str], into: Path, note: Note) -> dict[str, Path]:
    """The paths of these programs of the module; those that another process has built meanwhile are taken as they are."""
    into.mkdir(parents=True, exist_ok=True)
    with alone(into.with_name(f"{into.name}.lock"), lambda: note(f"{module}: another process builds it; waiting for that")):
        missing = [program for program in programs if not (into / program).exists()]
        if missing:
            for left in into.parent.glob(f".{into.name}-*"):  # by a build that was killed; 2 GB
                shutil.rmtree(left, ignore_errors=True)
            _build(module, missing, into, note)
    return {program: into / program for program in programs}


def _build(module: Module, programs: Sequence[str], into: Path, note: Note) -> None:
    """In one call, as the programs share most of their packages; beside the place where they are to be, then renamed."""
    go = golang.find(module.go, into.parent, note)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}-") as name:
        work = Path(name)
        shutil.copytree(module.folder, work / "module")
        (work / "out").mkdir()
        environment = _environment(work)
        packages = [module.packages[program] for program in programs]
        _compile(_Go(go, work / "module", environment), module, programs, packages, work / "out", note)
        for program in programs:
            (work / "out" / program).rename(into / program)


def _compile(go: _Go, module: Module, programs: Sequence[str], packages: Sequence[str], out: Path, note: Note) -> None:
    """The linker is told one file if there is one program: etcd's package is called server."""
    note(f"{module}: {', '.join(programs)}: built from source, once; the sources are fetched first")
    start = time.monotonic()
    total = sum(1 for _ in go.lines("list", "-deps", *packages))
    stamps = " ".join(f"-X {variable}={value}" for variable, value in module.stamps)
    target = str(out / programs[0]) if len(programs) == 1 else f"{out}/"
    told = start
    steps = go.lines("build", "-v", "-trimpath", "-ldflags", f"-s -w {stamps}".strip(), "-o", target, *packages)
    for done, _ in enumerate(steps, start=1):
        if time.monotonic() - told > NOTE_SECONDS:
            told = time.monotonic()
            note(f"{module}: {done} of about {total} packages, {told - start:.0f} s")
    note(f"{module}: built in {time.monotonic() - start:.0f} s")


class _Go:
    """The go command in a module's folder."""

    def __init__(self, program: Path, folder: Path, environment: dict[str, str]) -> None:
        self.program, self.folder, self.environment = program, folder, environment

    def lines(self, *words: str) -> Iterator[str]:
        """What it says, line by line, while it works. BuildFailed: it failed."""
        told: list[str] = []
        with subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), "", "", str(self.program), *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                told.append(line)
                if not line.startswith("go: downloading"):
                    yield line
        if process.returncode:
            raise BuildFailed(f"go {words[0]} failed with status {process.returncode}:\n{''.join(told[-15:])}")


def _environment(work: Path) -> dict[str, str]:
    """The user's, less what would change the result; a cache of the compiler's that goes with the work."""
    mine = {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0", "GO111MODULE": "on"}
    return {**os.environ, **mine, "GOCACHE": str(work / "compiler"), "GOTMPDIR": str(work)}
