"""Modules, libraries, functions and the linker: PTX is read for names, other images hold whatever is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from tests.mock.conftest import OUT, TEXT, Program, blob

if TYPE_CHECKING:
    from pathlib import Path

    from hami_mock.machine import Machine

pytestmark = pytest.mark.slow

INVALID_VALUE, INVALID_HANDLE, NOT_FOUND, FILE_NOT_FOUND = 1, 400, 500, 301
PTX = """// a comment
.version 8.0
.target sm_75
.address_size 64
.global .align 4 .b8 table[64];
.const .align 8 .f64 grid[4][2];
.visible .entry first(.param .u64 out, .param .u8 flag, .param .align 8 .b8 shape[24]) { ret; }
.visible .entry second() { ret; }
"""


def load(program: Program, image: str) -> int:
    module: int = program.good("cuModuleLoadData", OUT, image)
    return module


def test_ptx_has_the_entries_that_it_declares(program: Program) -> None:
    module = load(program.start(), PTX)

    assert program.good("cuModuleGetFunctionCount", OUT, module) == 2
    function = program.good("cuModuleGetFunction", OUT, module, "second")
    assert program.good("cuModuleGetFunction", OUT, module, "second") == function
    assert program.call("cuModuleGetFunction", OUT, module, "third")[0] == NOT_FOUND


def test_another_image_has_whatever_is_asked_for(program: Program) -> None:
    module = load(program.start(), "\x7fELF of no kind")

    program.good("cuModuleGetFunction", OUT, module, "anything")


def test_parameters_lie_where_the_abi_puts_them(program: Program) -> None:
    library = program.start().good("cuLibraryLoadData", OUT, PTX, 0, 0, 0, 0, 0, 0)
    kernel = program.good("cuLibraryGetKernel", OUT, library, "first")

    assert [program.good("cuKernelGetParamInfo", kernel, number, OUT, OUT) for number in range(3)] == [[0, 8], [8, 1], [16, 24]]
    assert program.call("cuKernelGetParamInfo", kernel, 3, OUT, OUT)[0] == INVALID_VALUE


def test_a_variable_is_memory_that_nobody_pays_and_nobody_frees(node: Machine, program: Program) -> None:
    module = load(program.start(), PTX)
    address, size = program.good("cuModuleGetGlobal_v2", OUT, OUT, module, "table")

    assert size == 64
    assert program.good("cuModuleGetGlobal_v2", OUT, OUT, module, "grid")[1] == 64
    program.write(address, b"kept")
    assert program.read(program.good("cuModuleGetGlobal_v2", OUT, OUT, module, "table")[0], 4) == b"kept"
    assert program.call("cuModuleGetGlobal_v2", OUT, OUT, module, "tab")[0] == NOT_FOUND
    assert program.call("cuMemFree_v2", address)[0] == INVALID_VALUE
    assert machine.truth(node.folder).devices[0].requested == 0
    program.good("cuModuleUnload", module)
    assert program.call("cuMemsetD8_v2", address, 0, 4)[0] == INVALID_VALUE


def test_an_unloaded_module_is_no_module(program: Program) -> None:
    module = load(program.start(), PTX)
    program.good("cuModuleUnload", module)

    assert program.call("cuModuleGetFunction", OUT, module, "first")[0] == INVALID_HANDLE
    assert program.call("cuModuleUnload", module)[0] == INVALID_HANDLE


def test_modules_come_from_files_too(program: Program, tmp_path: Path) -> None:
    (tmp_path / "image.ptx").write_text(PTX)
    module = program.start().good("cuModuleLoad", OUT, str(tmp_path / "image.ptx"))

    program.good("cuModuleGetFunction", OUT, module, "first")
    assert program.call("cuModuleLoad", OUT, str(tmp_path / "none"))[0] == FILE_NOT_FOUND


@pytest.mark.parametrize("attribute", range(20))
def test_every_attribute_of_a_function_has_an_answer(program: Program, attribute: int) -> None:
    function = program.start().good("cuModuleGetFunction", OUT, load(program, PTX), "first")

    assert program.call("cuFuncGetAttribute", OUT, attribute, function)[0] == 0


def test_a_function_keeps_what_is_set_and_knows_its_name_and_module(program: Program) -> None:
    module = load(program.start(), PTX)
    function = program.good("cuModuleGetFunction", OUT, module, "first")

    program.good("cuFuncSetAttribute", function, 8, 65536)

    assert program.good("cuFuncGetAttribute", OUT, 8, function) == 65536
    assert program.good("cuFuncGetModule", OUT, function) == module
    assert program.call("cuFuncSetAttribute", function, 4, 1)[0] == INVALID_VALUE, "registers are as compiled"


def test_occupancy_follows_from_the_chip(program: Program) -> None:
    function = program.start().good("cuModuleGetFunction", OUT, load(program, PTX), "first")

    assert program.good("cuOccupancyMaxActiveBlocksPerMultiprocessor", OUT, function, 256, 0) == 4
    assert program.good("cuOccupancyMaxPotentialBlockSize", OUT, OUT, function, 0, 0, 0) == [160, 256]
    assert program.good("cuOccupancyMaxActiveClusters", OUT, function, blob("56x"))[0] == 0, "a T4 has no clusters"


def test_what_is_linked_is_a_module_with_all_its_names(program: Program) -> None:
    state = program.start().good("cuLinkCreate_v2", 0, 0, 0, OUT)
    for text in (PTX, ".visible .entry third() { ret; }\n"):
        program.good("cuLinkAddData_v2", state, 1, {"bytes": text.encode().hex()}, len(text), "a name", 0, 0, 0)

    image, _ = program.good("cuLinkComplete", state, OUT, OUT)
    module = program.good("cuModuleLoadData", OUT, image)
    program.good("cuLinkDestroy", state)

    assert program.good("cuModuleGetFunctionCount", OUT, module) == 3
    assert program.call("cuLinkDestroy", state)[0] == INVALID_HANDLE


def test_functions_without_a_subject_say_so(program: Program) -> None:
    assert program.call("cuGreenCtxDestroy", 0)[0] == 3
    assert program.start().call("cuGreenCtxDestroy", 0)[0] == 801
    assert program.call("cuDeviceGetName", TEXT, 100, 0)[0] == 0
