"""Drivers and frames for the tests of the interposer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.native.harness import Frame, compile_c

if TYPE_CHECKING:
    from pathlib import Path

SHARED = ("-shared", "-fPIC", "-fvisibility=hidden")


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small driver: libcuda.so.1 and libnvidia-ml.so.1."""
    folder = tmp_path_factory.mktemp("driver")
    flags = [*SHARED, "-Wl,-soname,libcuda.so.1", "-Wl,-Bsymbolic", "-pthread"]
    compile_c(folder / "libcuda.so.1", "driver_cuda.c", "driver_reserves.c", flags=flags)
    compile_c(folder / "libnvidia-ml.so.1", "driver_nvml.c", flags=[*SHARED, "-Wl,-soname,libnvidia-ml.so.1"])
    return folder


@pytest.fixture(scope="session")
def race(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of many processes at one limit."""
    return compile_c(tmp_path_factory.mktemp("race") / "race", "race.c", flags=["-ldl", "-pthread"])


@pytest.fixture
def frame(stub: Path, tmp_path: Path) -> Frame:
    """Programs under the interposer, on the stub driver, with 1,024 MiB of one of its four devices."""
    return Frame(stub, tmp_path).grants()
