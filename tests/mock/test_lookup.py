"""cuGetProcAddress against NVIDIA's typedef headers, and our exported names against a real libcuda's."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hami_mock.drivers import LIBRARIES
from tests import judges
from tests.mock.conftest import OUT, Program, debian

if TYPE_CHECKING:
    from tests.conftest import Needs

INVALID_VALUE, NOT_FOUND = 1, 500
FOUND, MISSING, TOO_OLD = 0, 1, 2
LEGACY, PER_THREAD = 1, 2
DRIVER = Path(__file__).parents[2] / "plugins/mock/driver"
STUBS, STUB = DRIVER / "cuda_stubs.def", re.compile(r"^STUB\((\w+)\)", re.MULTILINE)
GRAPHICS_OR_DEBUGGER = re.compile("GL|VDPAU|Egl|cudbg")
LOCAL = {"cuGetProcAddress_v2_ptsz"}  # made by cuda.h itself


def headers() -> list[Path]:
    """cudaTypedefs.h of CUDA 12 and of CUDA 13."""
    spec = find_spec("nvidia")
    assert spec
    assert spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations)))
    return [root / "cuda_runtime/include/cudaTypedefs.h", root / "cu13/include/cudaTypedefs.h"]


def versions() -> dict[str, dict[str, list[int]]]:
    """Base name -> "", "_ptsz" or "_ptds" -> the CUDA versions at which its ABI changed, in order."""
    found: dict[str, dict[str, set[int]]] = {}
    for header in (header.with_name(name) for header in headers() for name in ("cudaTypedefs.h", "cudaProfilerTypedefs.h")):
        for name, version, stream in re.findall(r"PFN_(cu\w+?)_v(\d+)(_ptsz|_ptds)?\)\(", header.read_text()):
            found.setdefault(name, {}).setdefault(stream, set()).add(int(version))
    return {name: {stream: sorted(each) for stream, each in streams.items()} for name, streams in found.items()}


def exported() -> set[str]:
    """The names that a simulated libcuda exports."""
    return names_of(LIBRARIES / "libcuda.so.1")


def names_of(library: Path) -> set[str]:
    listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in listing.splitlines() if " T " in line}


def rows() -> list[tuple[str, str, int, int]]:
    """(base, symbol, version, flag): the n-th version of a name is its n-th suffix, counted from the newest."""
    found = []
    for base, streams in versions().items():
        suffixes = ["", *(f"_v{number}" for number in range(2, 6))][: len(streams.get("", []))]
        for stream, each in streams.items():
            for suffix, version in zip(reversed(suffixes), reversed(each), strict=False):
                found.append((base, base + suffix + stream, version, PER_THREAD if stream else LEGACY))
    return found


def ask(program: Program, base: str, version: int, flag: int) -> list[int]:
    """[result, address, status]"""
    return program.call("cuGetProcAddress_v2", base, OUT, version, flag, OUT)


@pytest.mark.needs("nm")
def test_every_version_of_a_name_gives_the_function_of_that_abi(program: Program) -> None:
    ours = exported()
    asked = [row for row in rows() if row[1] in ours and row[2] <= 13000]
    wrong = []
    for base, symbol, version, flag in asked:
        program.tell("address", symbol)
        expected = program.answer()
        if ask(program, base, version, flag) != [0, *expected, FOUND]:
            wrong.append((base, version, flag, symbol))

    assert len(asked) > 180
    assert wrong == []


@pytest.mark.needs("nm")
def test_every_function_of_the_headers_is_simulated_or_refuses() -> None:
    names, refused = {symbol for _, symbol, _, _ in rows()}, set(STUB.findall(STUBS.read_text()))

    assert exported() == names
    assert refused < names
    assert {"simulated": len(names - refused), "refused": len(refused)} == {"simulated": 480, "refused": 208}


@pytest.mark.needs("nm")
def test_of_a_real_libcuda_only_graphics_and_debuggers_are_absent(needs: Needs) -> None:
    absent = names_of(debian(needs, judges.CUDA, "libcuda.so.*")) - exported()

    assert {name for name in absent if not GRAPHICS_OR_DEBUGGER.search(name)} == {"cuMemGetAttribute", "cuMemGetAttribute_v2"}
    assert len(absent) == 45


@pytest.mark.parametrize(
    ("base", "version", "flag", "symbol"),
    [
        ("cuMemAlloc", 3020, 0, "cuMemAlloc_v2"),
        ("cuMemAlloc", 12000, 0, "cuMemAlloc_v2"),
        ("cuMemPrefetchAsync", 8000, 0, "cuMemPrefetchAsync"),
        ("cuMemPrefetchAsync", 12010, 2, "cuMemPrefetchAsync_ptsz"),
        ("cuMemPrefetchAsync", 12020, 0, "cuMemPrefetchAsync_v2"),
        ("cuMemPrefetchAsync", 13000, 2, "cuMemPrefetchAsync_v2_ptsz"),
        ("cuCtxGetDevice", 12090, 0, "cuCtxGetDevice"),
        ("cuCtxGetDevice", 13000, 0, "cuCtxGetDevice_v2"),
        ("cuCtxCreate", 3020, 0, "cuCtxCreate_v2"),
        ("cuCtxCreate", 11040, 0, "cuCtxCreate_v3"),
        ("cuCtxCreate", 12050, 0, "cuCtxCreate_v4"),
        ("cuDeviceGetUuid", 9020, 0, "cuDeviceGetUuid"),
        ("cuDeviceGetUuid", 11040, 0, "cuDeviceGetUuid_v2"),
        ("cuDevicePrimaryCtxRelease", 7000, 0, "cuDevicePrimaryCtxRelease"),
        ("cuGetProcAddress", 11030, 0, "cuGetProcAddress"),
        ("cuGetProcAddress", 12000, 0, "cuGetProcAddress_v2"),
        ("cuMemcpyDtoH", 7000, 2, "cuMemcpyDtoH_v2_ptds"),
        ("cuMemcpyDtoH", 6000, 2, "cuMemcpyDtoH_v2"),
        ("cuMemFree", 12000, 2, "cuMemFree_v2"),
    ],
)
def test_the_newest_that_is_not_newer_than_asked(program: Program, base: str, version: int, flag: int, symbol: str) -> None:
    assert ask(program, base, version, flag) == [0, *program.call("address", symbol), FOUND]


def test_unknown_names_are_null_and_no_error(program: Program) -> None:
    assert ask(program, "cuNoSuchThing", 12000, 0) == [0, 0, MISSING]
    assert ask(program, "", 0, 0) == [0, 0, MISSING]


def test_a_version_before_the_first_is_too_old(program: Program) -> None:
    assert ask(program, "cuMemAllocAsync", 11010, 0) == [0, 0, TOO_OLD]


def test_a_version_newer_than_the_driver_is_an_invalid_value(program: Program) -> None:
    assert ask(program, "cuMemAlloc", 13010, 0)[0] == INVALID_VALUE


def test_the_first_abi_makes_an_unknown_name_an_error(program: Program) -> None:
    assert program.call("cuGetProcAddress", "cuNoSuchThing", OUT, 12000, 0)[0] == NOT_FOUND
    found = program.call("cuGetProcAddress", "cuMemAlloc", OUT, 12000, 0)
    assert found == [0, *program.call("address", "cuMemAlloc_v2")]


@pytest.mark.needs("nm")
def test_a_real_libcuda_exports_every_name_that_ours_does(needs: Needs) -> None:
    real = names_of(debian(needs, judges.CUDA, "libcuda.so.*"))
    newer = {symbol for _, symbol, version, _ in rows() if version > 12020}  # the real one is of CUDA 12.2

    assert len(real) > 500
    assert exported() - real - newer == set()
