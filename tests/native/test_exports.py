"""The shipped library as a file: what it shows to every process that it is loaded into."""

from __future__ import annotations

import re
import subprocess

import pytest

import hami_native
from tests.native.hooks import CALLED, CUDA, NVML

pytestmark = pytest.mark.needs("nm", "readelf")


def run(*command: str) -> str:
    return subprocess.run([*command, str(hami_native.library())], capture_output=True, text=True, check=True).stdout


def exported() -> set[str]:
    return {line.split()[-1] for line in run("nm", "-D", "--defined-only").splitlines()}


def test_exactly_the_hooked_names_and_dlsym_are_exported() -> None:
    assert exported() == {hook.symbol for hook in CUDA} | set(NVML) | {"dlsym", "dlvsym"}


def test_functions_that_are_only_called_are_not_exported() -> None:
    assert exported().isdisjoint(CALLED)


def test_no_name_is_hooked_twice() -> None:
    names = [hook.symbol for hook in CUDA] + NVML + CALLED
    rows = [(hook.base, hook.version, hook.flags) for hook in CUDA]

    assert (len(names), len(rows)) == (len(set(names)), len(set(rows)))


def test_exports_carry_no_version_of_their_own() -> None:
    """With a named version node the loader would never call our dlsym."""
    assert "Version definition section" not in run("readelf", "-V")


def test_it_needs_the_c_library_alone_and_no_newer_one_than_2_17() -> None:
    assert re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d")) == ["libc.so.6"]
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"@GLIBC_([\d.]+)", run("nm", "-D"))}
    assert max(versions) <= (2, 17)


def test_it_is_never_unloaded() -> None:
    assert "NODELETE" in run("readelf", "-d")


def test_it_has_no_constructor() -> None:
    """Whatever it does begins with a program's first question to a driver."""
    assert "INIT_ARRAY" not in run("readelf", "-d")


@pytest.mark.needs("objdump")
@pytest.mark.parametrize("symbol", ["dlsym", "dlvsym"])
def test_the_real_dlsym_is_reached_by_a_jump(symbol: str) -> None:
    """glibc takes the caller from the return address: a call in between would make us the caller."""
    [(start, size)] = re.findall(rf"^(\w+) (\w+) T {symbol}$", run("nm", "-DS", "--defined-only"), re.MULTILINE)
    stop = int(start, 16) + int(size, 16)
    code = run("objdump", "-d", f"--start-address=0x{start}", f"--stop-address={stop}")
    calls = re.findall(r"\b(call|bl)\b", code)
    jumps = re.findall(r"\b(jmp\s+\*%\w+|br\s+x16)", code)

    assert (len(calls), len(jumps)) == (1, 1)
