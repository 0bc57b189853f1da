"""The simulated libcuda by itself: what each call answers. Books across processes are in test_accounting.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from tests.mock.conftest import OUT, TEXT, Program, blob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_mock.machine import Machine

INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED = 1, 2, 3
NO_DEVICE, INVALID_DEVICE, INVALID_CONTEXT, CONTEXT_IS_DESTROYED = 100, 101, 201, 709
SYSTEM_NOT_READY, NOT_FOUND = 802, 500
MIB = 1 << 20
T4_TOTAL = (15360 - 265) * MIB
T4_CONTEXT = 103 * MIB


@pytest.mark.parametrize(
    "call",
    [
        ("cuDeviceGetCount", OUT),
        ("cuDeviceGet", OUT, 0),
        ("cuMemAlloc_v2", OUT, 4096),
        ("cuMemFree_v2", 1),
        ("cuMemGetInfo_v2", OUT, OUT),
        ("cuCtxGetCurrent", OUT),
        ("cuStreamCreate", OUT, 0),
        ("cuDevicePrimaryCtxRetain", OUT, 0),
        ("cuModuleLoadData", OUT, "image"),
    ],
)
def test_before_init_every_call_says_so(program: Program, call: tuple[object, ...]) -> None:
    assert program.call(*call)[0] == NOT_INITIALIZED


def test_the_driver_version_is_known_before_init(program: Program) -> None:
    assert program.call("cuDriverGetVersion", OUT) == [0, 13000]


def test_devices_are_those_of_the_description(program: Program) -> None:
    program.good("cuInit", 0)

    assert program.good("cuDeviceGetCount", OUT) == 1
    assert program.good("cuDeviceGetName", TEXT, 100, 0) == "Tesla T4"
    assert program.good("cuDeviceTotalMem_v2", OUT, 0) == T4_TOTAL
    assert program.good("cuDeviceGetPCIBusId", TEXT, 100, 0) == "0000:3B:00.0"
    assert program.good("cuDeviceGetByPCIBusId", OUT, "0000:3b:00.0") == 0
    assert program.good("cuDeviceComputeCapability", OUT, OUT, 0) == [7, 5]
    assert program.good("cuDeviceGetAttribute", OUT, 16, 0) == 40


def test_an_unknown_attribute_is_zero_and_no_error(program: Program) -> None:
    program.good("cuInit", 0)

    assert program.call("cuDeviceGetAttribute", OUT, 9999, 0) == [0, 0]


def test_a_device_that_is_not_there_is_invalid(program: Program) -> None:
    program.good("cuInit", 0)

    assert program.call("cuDeviceGet", OUT, 1)[0] == INVALID_DEVICE
    assert program.call("cuDevicePrimaryCtxRetain", OUT, 7)[0] == INVALID_DEVICE


def test_without_a_state_file_there_is_no_device(node: Machine, program: Program) -> None:
    (node.folder / "state").unlink()

    assert program.call("cuInit", 0)[0] == NO_DEVICE


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\0" * 1_100_000])
def test_with_a_damaged_state_file_the_system_is_not_ready(node: Machine, program: Program, damage: bytes) -> None:
    (node.folder / "state").write_bytes(damage)

    assert program.call("cuInit", 0)[0] == SYSTEM_NOT_READY


def test_memory_needs_a_context(program: Program) -> None:
    program.good("cuInit", 0)

    assert program.call("cuMemAlloc_v2", OUT, 4096)[0] == INVALID_CONTEXT
    assert program.call("cuMemGetInfo_v2", OUT, OUT)[0] == INVALID_CONTEXT


def test_a_context_costs_its_overhead(program: Program) -> None:
    program.start()

    assert program.good("cuMemGetInfo_v2", OUT, OUT) == [T4_TOTAL - T4_CONTEXT, T4_TOTAL]


@pytest.mark.parametrize(
    ("size", "physical"),
    [(1, 512), (512, 512), (513, 1024), (MIB - 1, MIB), (MIB, 2 * MIB), (2 * MIB + 1, 4 * MIB), (3000 * MIB, 3000 * MIB)],
)
def test_small_sizes_take_multiples_of_512_bytes_and_large_ones_of_2_mib(program: Program, size: int, physical: int) -> None:
    free, _ = program.start().good("cuMemGetInfo_v2", OUT, OUT)

    address = program.alloc(size)

    assert free - program.good("cuMemGetInfo_v2", OUT, OUT)[0] == physical
    program.good("cuMemFree_v2", address)
    assert program.good("cuMemGetInfo_v2", OUT, OUT)[0] == free


def test_the_last_page_can_be_had_and_the_next_byte_cannot(program: Program) -> None:
    free, _ = program.start().good("cuMemGetInfo_v2", OUT, OUT)

    program.alloc(free // (2 * MIB) * 2 * MIB)

    left = program.good("cuMemGetInfo_v2", OUT, OUT)[0]
    assert left == free % (2 * MIB)
    assert program.call("cuMemAlloc_v2", OUT, left + 1)[0] == OUT_OF_MEMORY


@pytest.mark.parametrize("size", [1 << 40, (1 << 40) + 1, 1 << 62, (1 << 64) - 1])
def test_absurd_sizes_are_out_of_memory(program: Program, size: int) -> None:
    assert program.start().call("cuMemAlloc_v2", OUT, size)[0] == OUT_OF_MEMORY


def test_wrong_arguments_are_invalid_values(program: Program) -> None:
    address = program.start().alloc(4096)
    program.good("cuMemFree_v2", address)

    assert program.call("cuMemAlloc_v2", OUT, 0)[0] == INVALID_VALUE
    assert program.call("cuMemAlloc_v2", 0, 4096)[0] == INVALID_VALUE
    assert program.call("cuMemFree_v2", address)[0] == INVALID_VALUE, "freed twice"
    assert program.call("cuMemFree_v2", 12345)[0] == INVALID_VALUE, "never allocated"
    assert program.call("cuInit", 1)[0] == INVALID_VALUE
    assert program.call("cuMemFree_v2", 0)[0] == 0, "no address is no mistake"


def test_a_pointer_inside_a_block_finds_the_block_and_does_not_free_it(program: Program) -> None:
    address = program.start().alloc(3 * MIB)

    assert program.good("cuMemGetAddressRange_v2", OUT, OUT, address + MIB) == [address, 3 * MIB]
    assert program.call("cuMemGetAddressRange_v2", OUT, OUT, address + 3 * MIB)[0] == NOT_FOUND
    assert program.call("cuMemFree_v2", address + 512)[0] == INVALID_VALUE


def test_pitched_rows_are_aligned_and_charged_in_full(program: Program) -> None:
    free, _ = program.start().good("cuMemGetInfo_v2", OUT, OUT)

    _, pitch = program.good("cuMemAllocPitch_v2", OUT, OUT, 4, 8192, 4)

    assert pitch == 512
    assert free - program.good("cuMemGetInfo_v2", OUT, OUT)[0] == 512 * 8192
    assert program.call("cuMemAllocPitch_v2", OUT, OUT, 4, 8192, 0)[0] == INVALID_VALUE
    assert program.call("cuMemAllocPitch_v2", OUT, OUT, 1 << 40, 1 << 40, 4)[0] == OUT_OF_MEMORY


def test_destroying_a_context_frees_what_it_owned(program: Program) -> None:
    free, _ = program.start().good("cuMemGetInfo_v2", OUT, OUT)
    context = program.good("cuCtxCreate_v2", OUT, 0, 0)
    for size in (100, 5 * MIB, 700 * MIB):
        program.alloc(size)

    program.good("cuCtxDestroy_v2", context)

    assert program.good("cuMemGetInfo_v2", OUT, OUT)[0] == free
    assert program.call("cuCtxSetCurrent", context)[0] == CONTEXT_IS_DESTROYED


def test_the_last_release_of_a_primary_context_frees_everything_in_it(program: Program) -> None:
    program.start()
    program.good("cuDevicePrimaryCtxRetain", OUT, 0)
    program.alloc(MIB)

    program.good("cuDevicePrimaryCtxRelease_v2", 0)
    assert program.good("cuDevicePrimaryCtxGetState", 0, OUT, OUT) == [0, 1], "one reference is left"
    program.good("cuDevicePrimaryCtxRelease_v2", 0)

    assert program.good("cuDevicePrimaryCtxGetState", 0, OUT, OUT) == [0, 0]
    assert program.call("cuMemAlloc_v2", OUT, MIB)[0] == CONTEXT_IS_DESTROYED
    assert program.call("cuDevicePrimaryCtxRelease_v2", 0)[0] == INVALID_CONTEXT


def test_reset_frees_everything_and_keeps_the_reference(program: Program) -> None:
    program.start().alloc(MIB)

    program.good("cuDevicePrimaryCtxReset_v2", 0)

    assert program.good("cuDevicePrimaryCtxGetState", 0, OUT, OUT) == [0, 0]
    program.good("cuDevicePrimaryCtxRetain", OUT, 0)
    assert program.good("cuMemGetInfo_v2", OUT, OUT)[0] == T4_TOTAL - T4_CONTEXT
    program.good("cuDevicePrimaryCtxRelease_v2", 0)
    assert program.good("cuDevicePrimaryCtxGetState", 0, OUT, OUT) == [0, 1]


def test_contexts_stack_per_thread(program: Program) -> None:
    first = program.start().good("cuCtxGetCurrent", OUT)
    second = program.good("cuCtxCreate_v2", OUT, 0, 0)

    assert program.good("cuCtxGetCurrent", OUT) == second
    assert program.good("cuCtxPopCurrent_v2", OUT) == second
    assert program.good("cuCtxGetCurrent", OUT) == first
    program.good("cuCtxSetCurrent", 0)
    assert program.good("cuCtxGetCurrent", OUT) == 0
    assert program.call("cuCtxPopCurrent_v2", OUT)[0] == INVALID_CONTEXT


def test_a_forked_child_is_not_initialised(program: Program) -> None:
    program.start().alloc(MIB)

    assert program.call("fork", "cuInit", 0)[0] == NOT_INITIALIZED
    assert program.call("fork", "cuMemAlloc_v2", OUT, 4096)[0] == NOT_INITIALIZED
    program.alloc(MIB)


def test_a_child_forked_before_init_is_a_program_like_any_other(program: Program) -> None:
    program.good("cuDriverGetVersion", OUT)

    assert program.call("fork", "cuInit", 0)[0] == 0


def test_private_tables_are_refused(program: Program) -> None:
    program.good("cuInit", 0)

    assert program.call("cuGetExportTable", OUT, "0123456789abcdef") == [NOT_FOUND, 0]


def test_streams_and_events_are_handles_that_end(program: Program) -> None:
    program.start()
    stream, event = program.good("cuStreamCreate", OUT, 0), program.good("cuEventCreate", OUT, 0)

    program.good("cuEventRecord", event, stream)
    assert program.call("cuStreamQuery", stream)[0] == program.call("cuEventQuery", event)[0] == 0
    program.good("cuStreamDestroy_v2", stream)

    assert program.call("cuStreamSynchronize", stream)[0] == 400


def test_each_device_has_books_of_its_own(tmp_path: Path, start: Callable[[Machine], Program]) -> None:
    on = machine.install("t4x4", tmp_path / "t4x4")
    program = start(on).start(2)

    program.alloc(64 * MIB)

    assert [one.requested for one in machine.truth(on.folder).devices] == [0, 0, 64 * MIB, 0]


def test_many_copies_go_in_one_call_and_the_first_wrong_one_is_told(program: Program) -> None:
    source, target = program.start().alloc(4096), program.alloc(4096)
    program.write(source, b"onetwo")
    sizes, nowhere = blob("QQ", 3, 3), blob("QQ", target, 1 << 55)

    program.good("cuMemcpyBatchAsync_v2", blob("QQ", target, target + 8), blob("QQ", source, source + 3), sizes, 2, 0, 0, 0, 0)

    assert program.read(target, 12) == b"one\0\0\0\0\0two\0"
    assert program.call("cuMemcpyBatchAsync", nowhere, blob("QQ", source, source), sizes, 2, 0, 0, 0, OUT, 0)[:2] == [1, 1]


def test_a_managed_range_nobody_advised_about_has_no_place(program: Program) -> None:
    managed = program.start().good("cuMemAllocManaged", OUT, MIB, 1)

    answers = [program.good("cuMemRangeGetAttribute", blob("i", 99), 4, attribute, managed, MIB) for attribute in (1, 2, 3, 4)]

    assert answers == [blob("i", value)["bytes"] for value in (0, -2, -2, -2)]
    assert program.call("cuMemRangeGetAttribute", blob("i", 0), 4, 1, program.alloc(MIB), MIB)[0] == INVALID_VALUE
    program.good("cuMemPrefetchBatchAsync", blob("Q", managed), blob("Q", MIB), 1, blob("ii", 1, 0), blob("Q", 0), 1, 0, 0)


def test_tensor_maps_need_a_chip_that_knows_them(tmp_path: Path, start: Callable[[Machine], Program]) -> None:
    sizes, strides, box, ones = blob("QQ", 64, 64), blob("Q", 256), blob("II", 16, 16), blob("II", 1, 1)

    answers = {}
    for name in ("t4-node", "dgx-h100"):
        program = start(machine.install(name, tmp_path / name)).start()
        aligned = program.good("cuMemHostAlloc", OUT, 4096, 0)
        answers[name] = program.call("cuTensorMapEncodeTiled", aligned, 7, 2, 1 << 47, sizes, strides, box, ones, 0, 0, 0, 0)[0]

    assert answers == {"t4-node": 801, "dgx-h100": 0}
