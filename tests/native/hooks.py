"""The rows of hooks.def, read as text: an independent look at what the C preprocessor makes of it."""

from __future__ import annotations

import re

from attrs import frozen

from tests.native.harness import HERE

NATIVE = HERE.parent.parent / "native"
TEXT = (NATIVE / "include" / "hooks.def").read_text()


@frozen
class CudaHook:
    symbol: str
    base: str
    version: int
    flags: int


CUDA = [
    CudaHook(s, b, int(v), int(f)) for s, b, v, f in re.findall(r"^CUDA_HOOK\((\w+), (\w+), (\d+), (\d),", TEXT, re.MULTILINE)
]
NVML: list[str] = re.findall(r"^NVML_HOOK\((\w+),", TEXT, re.MULTILINE)
CALLED: list[str] = re.findall(r"^(?:CUDA|NVML)_CALL\((\w+),", TEXT, re.MULTILINE)
