"""Our own prototypes and structures against NVIDIA's headers, and Python's view of ours, all by a compiler."""

from __future__ import annotations

import re
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from hami_mock.attributes import NUMBERS
from tests.mock.test_lookup import headers

DRIVER = Path(__file__).parents[2] / "plugins/mock/driver"
CUDA = '#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n#include "cuda_abi.h"\n'
NVML = '#define NVML_NO_UNVERSIONED_FUNC_DEFS\n#include <nvml.h>\n#include "nvml_abi.h"\n'
FAULTS = ("mock_fault", "mock_fault_status", "mock_health", "mock_ghost")
TWELVE, THIRTEEN = (header.parent for header in headers())


def complaints(tmp_path: Path, source: str, include: Path) -> list[str]:
    """The compiler's errors."""
    file = tmp_path / "check.c"
    file.write_text(source)
    command = ["gcc", "-std=c11", "-fsyntax-only", f"-I{include}", f"-I{DRIVER}", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
    return [line for line in done.stderr.splitlines() if "error" in line]


@pytest.mark.needs("gcc")
@pytest.mark.parametrize(
    ("source", "include"), [(CUDA, TWELVE), (CUDA, THIRTEEN), (NVML, THIRTEEN)], ids=["cuda-12", "cuda-13", "nvml-13"]
)
def test_our_prototypes_and_sizes_agree_with_nvidias(tmp_path: Path, source: str, include: Path) -> None:
    assert complaints(tmp_path, source, include) == []


@pytest.mark.needs("gcc")
def test_the_comparison_can_fail(tmp_path: Path) -> None:
    wrong = "CUresult cuMemFree_v2(float address);\n"

    assert "conflicting types" in complaints(tmp_path, CUDA + wrong, THIRTEEN)[0]


@pytest.mark.needs("gcc")
def test_each_library_compiles_with_our_headers_alone(tmp_path: Path) -> None:
    alone = '#include "cuda_abi.h"\n#include "nvml_abi.h"\n#include "state.h"\n'

    assert complaints(tmp_path, alone, DRIVER) == []


def test_attributes_have_the_headers_numbers() -> None:
    text = (THIRTEEN / "cuda.h").read_text()
    theirs = {name.lower(): int(number) for name, number in re.findall(r"CU_DEVICE_ATTRIBUTE_(\w+)\s*=\s*(\d+)", text)}

    assert {name: theirs.get(name) for name in NUMBERS} == NUMBERS


@pytest.mark.needs("gcc")
def test_python_and_c_agree_on_every_offset(tmp_path: Path) -> None:
    ffi = import_module("hami_mock.lib.interface").ffi
    lines = ['#include <stddef.h>\n#include "interface.h"']
    for name in ("mock_chip", "mock_facts", "mock_device_truth", "mock_process_truth", *FAULTS):
        struct = ffi.typeof(f"struct {name}")
        lines.append(f'_Static_assert(sizeof(struct {name}) == {ffi.sizeof(struct)}, "{name}");')
        for field, about in struct.fields:
            lines.append(f'_Static_assert(offsetof(struct {name}, {field}) == {about.offset}, "{name}.{field}");')

    assert len(lines) > 40
    assert complaints(tmp_path, "\n".join(lines), DRIVER) == []
