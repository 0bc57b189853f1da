"""Pools of the simulated libcuda: what they reserve of the device, what they keep, and when they give it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from tests.mock.conftest import OUT, Program, blob

if TYPE_CHECKING:
    from hami_mock.machine import Machine

INVALID_VALUE, OUT_OF_MEMORY = 1, 2
MIB = 1 << 20
STEP = 32 * MIB
THRESHOLD, RESERVED, RESERVED_HIGH, USED, USED_HIGH, LOCATION_TYPE = 4, 5, 6, 7, 8, 12
PINNED, MANAGED, DEVICE, HOST = 1, 2, 1, 2


def pool_of(program: Program, *, kind: int = PINNED, location: int = DEVICE, most: int = 0) -> int:
    pool: int = program.good("cuMemPoolCreate", OUT, blob("iiii P Q 56x", kind, 0, location, 0, 0, most))[0]
    return pool


def attribute(program: Program, pool: int, which: int) -> int:
    value: int = program.good("cuMemPoolGetAttribute", pool, which, OUT)
    return value


def set_attribute(program: Program, pool: int, which: int, value: int) -> None:
    program.good("cuMemPoolSetAttribute", pool, which, blob("Q", value))


def books(node: Machine) -> tuple[int, int]:
    """Requested, and physical without contexts."""
    truth = machine.truth(node.folder)
    return truth.devices[0].requested, truth.devices[0].physical - sum(one.context for one in truth.processes)


@pytest.mark.parametrize("suffix", ["", "_ptsz"])
def test_a_pool_reserves_32_mib_at_a_time_and_gives_back_when_something_is_waited_for(
    node: Machine, program: Program, suffix: str
) -> None:
    pool = program.start().good("cuDeviceGetDefaultMemPool", OUT, 0)

    first = program.good(f"cuMemAllocAsync{suffix}", OUT, 1000, 0)
    second = program.good(f"cuMemAllocAsync{suffix}", OUT, STEP, 0)
    assert [attribute(program, pool, which) for which in (USED, RESERVED)] == [STEP + 1000, 2 * STEP]
    assert books(node) == (STEP + 1000, 2 * STEP)

    program.good(f"cuMemFreeAsync{suffix}", second, 0)
    assert books(node) == (1000, 2 * STEP), "kept for the next one"
    program.good(f"cuStreamSynchronize{suffix}", 0)
    assert books(node) == (1000, STEP)
    program.good(f"cuMemFreeAsync{suffix}", first, 0)
    program.good("cuCtxSynchronize")
    assert books(node) == (0, 0)
    assert [attribute(program, pool, which) for which in (USED_HIGH, RESERVED_HIGH)] == [STEP + 1000, 2 * STEP]


def test_what_the_threshold_keeps_stays_until_a_trim(node: Machine, program: Program) -> None:
    pool = program.start().good("cuDeviceGetMemPool", OUT, 0)
    set_attribute(program, pool, THRESHOLD, (1 << 64) - 1)
    for address in [program.good("cuMemAllocAsync", OUT, 3 * STEP, 0) for _ in range(2)]:
        program.good("cuMemFreeAsync", address, 0)

    program.good("cuStreamSynchronize", 0)
    assert books(node) == (0, 6 * STEP)
    program.good("cuMemPoolTrimTo", pool, STEP)
    assert books(node) == (0, STEP)
    program.good("cuMemPoolTrimTo", pool, 0)
    assert books(node) == (0, 0)


def test_high_water_marks_can_be_reset_and_nothing_else_set(program: Program) -> None:
    pool = program.start().good("cuDeviceGetDefaultMemPool", OUT, 0)
    program.good("cuMemFreeAsync", program.good("cuMemAllocAsync", OUT, MIB, 0), 0)

    set_attribute(program, pool, USED_HIGH, 0)

    assert attribute(program, pool, USED_HIGH) == 0
    assert program.call("cuMemPoolSetAttribute", pool, USED_HIGH, blob("Q", 1))[0] == INVALID_VALUE
    assert program.call("cuMemPoolSetAttribute", pool, USED, blob("Q", 0))[0] == INVALID_VALUE
    assert program.call("cuMemPoolGetAttribute", pool, 99, OUT)[0] == INVALID_VALUE


def test_memory_from_a_pool_may_be_freed_like_any_other(node: Machine, program: Program) -> None:
    pool = pool_of(program.start())

    program.good("cuMemFree_v2", program.good("cuMemAllocFromPoolAsync", OUT, MIB, pool, 0))

    assert books(node) == (0, STEP)
    program.good("cuMemPoolDestroy", pool)
    assert books(node) == (0, 0)


def test_a_destroyed_pool_goes_with_its_last_allocation(node: Machine, program: Program) -> None:
    pool = pool_of(program.start())
    address = program.good("cuMemAllocFromPoolAsync", OUT, MIB, pool, 0)
    program.good("cuDeviceSetMemPool", 0, pool)

    program.good("cuMemPoolDestroy", pool)

    assert books(node) == (MIB, STEP)
    assert program.call("cuMemAllocFromPoolAsync", OUT, MIB, pool, 0)[0] == INVALID_VALUE
    assert program.good("cuDeviceGetMemPool", OUT, 0) == program.good("cuDeviceGetDefaultMemPool", OUT, 0)
    program.good("cuMemFreeAsync", address, 0)
    assert books(node) == (0, 0)


def test_a_pool_has_its_limit_and_the_device_too(program: Program) -> None:
    limited = pool_of(program.start(), most=64 * MIB)
    free, _ = program.good("cuMemGetInfo_v2", OUT, OUT)

    program.good("cuMemAllocFromPoolAsync", OUT, 60 * MIB, limited, 0)

    assert program.call("cuMemAllocFromPoolAsync", OUT, 6 * MIB, limited, 0)[0] == OUT_OF_MEMORY
    left = (free - 64 * MIB) // (2 * MIB) * 2 * MIB
    program.good("cuMemAllocAsync", OUT, left, 0)
    assert program.call("cuMemAllocAsync", OUT, 2 * MIB, 0)[0] == OUT_OF_MEMORY


def test_host_pools_cost_no_device_and_managed_ones_do(node: Machine, program: Program) -> None:
    host, managed = pool_of(program.start(), location=HOST), pool_of(program, kind=MANAGED)

    at_host = program.good("cuMemAllocFromPoolAsync", OUT, MIB, host, 0)
    assert books(node) == (0, 0)
    program.good("cuMemAllocFromPoolAsync", OUT, MIB, managed, 0)
    assert books(node) == (MIB, STEP)

    program.write(at_host, b"host")
    assert program.read(at_host, 4) == b"host"
    assert [attribute(program, pool, LOCATION_TYPE) for pool in (host, managed)] == [HOST, DEVICE]


def test_pools_by_location_are_those_of_the_device(program: Program) -> None:
    here, default = blob("ii", DEVICE, 0), program.start().good("cuDeviceGetDefaultMemPool", OUT, 0)
    own = pool_of(program)

    assert program.good("cuMemGetDefaultMemPool", OUT, here, PINNED)[0] == default
    program.good("cuMemSetMemPool", here, PINNED, own)
    assert program.good("cuMemGetMemPool", OUT, here, PINNED)[0] == own == program.good("cuDeviceGetMemPool", OUT, 0)


def test_resetting_the_device_empties_its_pools(node: Machine, program: Program) -> None:
    pool = program.start().good("cuDeviceGetDefaultMemPool", OUT, 0)
    set_attribute(program, pool, THRESHOLD, 1 << 40)
    program.good("cuMemAllocAsync", OUT, MIB, 0)

    program.good("cuDevicePrimaryCtxReset_v2", 0)

    assert books(node) == (0, 0)
