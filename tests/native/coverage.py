"""Which functions of the drivers there are, and which of them we hook or leave alone with a reason.

Three lists: `hooks.def`, `exceptions.txt`, and what NVIDIA declares and exports. Reading them is here, judging them in
`test_coverage.py`. ``python -m tests.native.coverage`` prints the counts.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from tests import judges
from tests.native.hooks import CUDA, NATIVE, NVML

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SITE = Path(pytest.__file__).parent.parent / "nvidia"
HEADERS = {"12": SITE / "cuda_runtime" / "include", "13": SITE / "cu13" / "include"}
CUDA_HEADERS = ("cuda.h", "cudaGL.h", "cudaVDPAU.h", "cudaEGL.h")
EXCEPTIONS = NATIVE / "include" / "exceptions.txt"
PRIVATE = {"nvmlInternalGetExportTable"}  # exported, in no public header


@frozen
class Excepted:
    """A name, or the beginning of names, that nothing stands in front of."""

    name: str
    reason: str
    api: str  # "CUDA" or "NVML"

    def covers(self, symbol: str) -> bool:
        if self.name.endswith("*"):
            return symbol.startswith(self.name[:-1])
        return self.name in {symbol, base(symbol)}


def base(symbol: str) -> str:
    """A function's name without version and stream flavour."""
    return re.sub(r"_v\d+$", "", re.sub(r"_pt[sd][sz]$", "", symbol))


def exceptions(text: str | None = None) -> list[Excepted]:
    """What is written in exceptions.txt, in its order. Raises ValueError at a name without a reason."""
    found: list[Excepted] = []
    api = reason = ""
    for line in (EXCEPTIONS.read_text() if text is None else text).splitlines():
        if line.startswith("## "):
            api, reason = line.removeprefix("## "), ""
        elif line.startswith("- "):
            reason = line.removeprefix("- ")
        elif line and not line.startswith("#"):
            if not reason or not api:
                raise ValueError(f"no reason stands above {line}")
            found += [Excepted(name, reason, api) for name in line.split()]
    return found


def hooked(api: str) -> set[str]:
    return {hook.symbol for hook in CUDA} if api == "CUDA" else set(NVML)


def declared(folder: Path) -> set[str]:
    """Every function of the CUDA driver's headers in a folder: as declared, as renamed by a macro, and its stream twins."""
    names: set[str] = set()
    for header in CUDA_HEADERS:
        text = (folder / header).read_text()
        names |= set(re.findall(r"CUDAAPI\s+(cu[A-Z]\w*)\s*\(", text))
        names |= set(re.findall(r"#\s*define\s+cu[A-Z]\w*\s+(cu[A-Z]\w*)\s*$", text, re.MULTILINE))
        for flavour, name in re.findall(r"__CUDA_API_PT(SZ|DS)\((cu[A-Z]\w*)\)", text):
            names |= {name, f"{name}_pt{flavour.lower()}"}
    return names


def declared_by_nvml(folder: Path) -> set[str]:
    return set(re.findall(r"DECLDIR\s+(?:const\s+char\s*\*\s*)?(nvml\w+)\s*\(", (folder / "nvml.h").read_text()))


@cache
def exported(package: str, library: str) -> frozenset[str]:
    """The functions that a driver's real library exports. Raises judges.Missing."""
    found = sorted(path for path in judges.fetch(package).rglob(f"{library}.*") if not path.is_symlink())
    listed = subprocess.run(["nm", "-D", "--defined-only", found[0]], capture_output=True, text=True, check=True).stdout
    names = (line.split()[-1].split("@")[0] for line in listed.splitlines())
    return frozenset(name for name in names if name.startswith(("cu", "nvml")))


def sources(api: str) -> dict[str, set[str]]:
    """Names by where they are from. Raises judges.Missing where a real library cannot be had."""
    if api == "CUDA":
        headers = {f"cuda.h {version}": declared(folder) for version, folder in HEADERS.items()}
        return {**headers, "libcuda": set(exported(judges.CUDA, "libcuda.so"))}
    return {
        "nvml.h": declared_by_nvml(HEADERS["13"]) | PRIVATE,
        "libnvidia-ml": set(exported(judges.NVML, "libnvidia-ml.so")),
    }


def excepted(api: str, names: Iterable[str]) -> set[str]:
    rows = [row for row in exceptions() if row.api == api]
    return {name for name in names if any(row.covers(name) for row in rows)}


def counts(found: Mapping[str, set[str]], api: str) -> str:
    """A line of figures for each source, and one for all."""
    lines = []
    for where, names in {**found, "all together": set().union(*found.values())}.items():
        ours, left = names & hooked(api), excepted(api, names)
        figures = f"{len(ours):4} hooked, {len(left):4} excepted, {len(names - ours - left)} open"
        lines.append(f"{where:14} {len(names):5} names: {figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    for each in ("CUDA", "NVML"):
        sys.stdout.write(counts(sources(each), each) + "\n")
