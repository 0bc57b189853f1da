"""Virtual memory management of the simulated libcuda: memory lives until its last mapping and its last handle are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from tests.mock.conftest import OUT, Program, blob

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_mock.machine import Machine

INVALID_VALUE, OUT_OF_MEMORY, NOT_SUPPORTED = 1, 2, 801
MIB = 1 << 20
PINNED, DEVICE, HOST, DESCRIPTOR, FABRIC, READ_WRITE, READ = 1, 1, 2, 1, 8, 3, 1


def properties(*, handles: int = 0, location: int = DEVICE, device: int = 0) -> dict[str, str]:
    """A CUmemAllocationProp."""
    return blob("iiii P 8x", PINNED, handles, location, device, 0)


def access(flags: int, device: int = 0) -> dict[str, str]:
    """A CUmemAccessDesc."""
    return blob("iii", DEVICE, device, flags)


def create(program: Program, size: int, *, handles: int = 0) -> int:
    handle: int = program.good("cuMemCreate", OUT, size, properties(handles=handles), 0)[0]
    return handle


def mapped(program: Program, size: int, handle: int) -> int:
    """The address of memory behind a handle, readable and writable."""
    address: int = program.good("cuMemAddressReserve", OUT, size, 0, 0, 0)
    program.good("cuMemMap", address, size, 0, handle, 0)
    program.good("cuMemSetAccess", address, size, access(READ_WRITE), 1)
    return address


def requested(node: Machine) -> int:
    return machine.truth(node.folder).devices[0].requested


def test_the_granule_is_two_mebibytes(program: Program) -> None:
    program.start()

    assert [program.good("cuMemGetAllocationGranularity", OUT, properties(), option)[0] for option in (0, 1)] == [
        2 * MIB,
        2 * MIB,
    ]


def test_mapped_memory_holds_what_is_written(program: Program) -> None:
    address = mapped(program.start(), 4 * MIB, create(program, 4 * MIB))

    program.write(address + MIB, b"hello")

    assert program.read(address + MIB - 2, 9) == b"\0\0hello\0\0"


def test_a_copy_goes_on_in_the_next_mapping(program: Program) -> None:
    program.start()
    address = program.good("cuMemAddressReserve", OUT, 4 * MIB, 0, 0, 0)
    for at in (address, address + 2 * MIB):
        program.good("cuMemMap", at, 2 * MIB, 0, create(program, 2 * MIB), 0)
    program.good("cuMemSetAccess", address, 4 * MIB, access(READ_WRITE), 1)

    program.write(address + 2 * MIB - 3, b"across")

    assert program.read(address + 2 * MIB - 3, 6) == b"across"
    assert program.good("cuMemGetAddressRange_v2", OUT, OUT, address + 3 * MIB) == [address + 2 * MIB, 2 * MIB]


@pytest.mark.parametrize("order", ["release first", "unmap first"])
def test_memory_goes_with_the_last_of_its_handles_and_mappings(node: Machine, program: Program, order: str) -> None:
    handle = create(program.start(), 6 * MIB)
    address = mapped(program, 6 * MIB, handle)
    steps = [("cuMemRelease", handle), ("cuMemUnmap", address, 6 * MIB)]

    first, second = steps if order == "release first" else reversed(steps)

    program.good(*first)
    assert requested(node) == 6 * MIB
    program.good(*second)
    assert requested(node) == 0
    program.good("cuMemAddressFree", address, 6 * MIB)


def test_a_handle_retained_from_an_address_is_the_same_and_keeps_the_memory(node: Machine, program: Program) -> None:
    handle = create(program.start(), 2 * MIB)
    address = mapped(program, 2 * MIB, handle)
    program.good("cuMemRelease", handle)

    assert program.good("cuMemRetainAllocationHandle", OUT, address) == handle
    program.good("cuMemUnmap", address, 2 * MIB)
    assert requested(node) == 2 * MIB
    program.good("cuMemRelease", handle)
    assert requested(node) == 0
    assert program.call("cuMemRelease", handle)[0] == INVALID_VALUE


def test_one_memory_at_two_addresses_is_the_same_bytes(program: Program) -> None:
    handle = create(program.start(), 2 * MIB)
    first, second = mapped(program, 2 * MIB, handle), mapped(program, 2 * MIB, handle)

    program.write(first, b"once")

    assert program.read(second, 4) == b"once"


def test_access_has_to_be_given_and_can_be_taken(program: Program) -> None:
    handle = create(program.start(), 2 * MIB)
    address = program.good("cuMemAddressReserve", OUT, 2 * MIB, 0, 0, 0)
    program.good("cuMemMap", address, 2 * MIB, 0, handle, 0)

    assert program.call("cuMemsetD8_v2", address, 1, 16)[0] == INVALID_VALUE
    program.good("cuMemSetAccess", address, 2 * MIB, access(READ), 1)
    assert program.good("cuMemGetAccess", OUT, blob("ii", DEVICE, 0), address)[0] == READ
    assert program.call("cuMemsetD8_v2", address, 1, 16)[0] == INVALID_VALUE
    assert program.read(address, 4) == bytes(4)
    program.good("cuMemSetAccess", address, 2 * MIB, access(READ_WRITE), 1)
    program.good("cuMemsetD8_v2", address, 1, 16)


def test_a_reservation_is_address_space_and_no_memory(node: Machine, program: Program) -> None:
    address = program.start().good("cuMemAddressReserve", OUT, 1 << 42, 0, 0, 0)

    assert requested(node) == 0
    assert program.call("cuMemsetD8_v2", address, 1, 16)[0] == INVALID_VALUE
    assert program.call("cuMemFree_v2", address)[0] == INVALID_VALUE
    program.good("cuMemAddressFree", address, 1 << 42)


def test_reservations_do_not_overlap_and_a_free_wish_is_granted(program: Program) -> None:
    program.start()
    ranges = [(program.good("cuMemAddressReserve", OUT, size, 0, 0, 0), size) for size in (2 * MIB, 64 * MIB, 6 * MIB)]
    wish = program.good("cuMemAddressReserve", OUT, 2 * MIB, 0, ranges[-1][0] + (1 << 30), 0)

    assert wish == ranges[-1][0] + (1 << 30)
    assert all(at + size <= other for (at, size), (other, _) in zip(ranges, [*ranges[1:], (wish, 0)], strict=True))
    assert program.good("cuMemAddressReserve", OUT, 2 * MIB, 1 << 32, 0, 0) % (1 << 32) == 0


def test_mistakes_are_invalid_values(program: Program) -> None:
    handle = create(program.start(), 2 * MIB)
    address = mapped(program, 2 * MIB, handle)
    wrong = [
        ("cuMemCreate", OUT, MIB, properties(), 0),
        ("cuMemCreate", OUT, 0, properties(), 0),
        ("cuMemMap", address, 2 * MIB, 0, handle, 0),
        ("cuMemMap", address + (1 << 40), 2 * MIB, 0, handle, 0),
        ("cuMemMap", address, 2 * MIB, 2 * MIB, handle, 0),
        ("cuMemUnmap", address, 4 * MIB),
        ("cuMemUnmap", address + 4096, 2 * MIB),
        ("cuMemAddressFree", address, 2 * MIB),
        ("cuMemAddressReserve", OUT, MIB, 0, 0, 0),
        ("cuMemRelease", 12345),
        ("cuMemExportToShareableHandle", OUT, handle, DESCRIPTOR, 0),
    ]

    assert {call: program.call(*call)[0] for call in map(_hashable, wrong)} == dict.fromkeys(
        map(_hashable, wrong), INVALID_VALUE
    )
    assert program.call("cuMemCreate", OUT, 2 * MIB, properties(handles=FABRIC), 0)[0] == NOT_SUPPORTED


def _hashable(call: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_Blob(each) if isinstance(each, dict) else each for each in call)


class _Blob(dict[str, str]):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self["bytes"])


def test_memory_of_the_host_costs_no_device(node: Machine, program: Program) -> None:
    program.start().good("cuMemCreate", OUT, 64 * MIB, properties(location=HOST), 0)

    assert requested(node) == 0


def test_the_last_page_can_be_had_and_no_more(program: Program) -> None:
    free, _ = program.start().good("cuMemGetInfo_v2", OUT, OUT)

    handle = create(program, free // (2 * MIB) * 2 * MIB)

    assert program.call("cuMemCreate", OUT, 2 * MIB, properties(), 0)[0] == OUT_OF_MEMORY
    program.good("cuMemRelease", handle)
    create(program, 2 * MIB)


def test_the_properties_are_those_given(program: Program) -> None:
    handle = create(program.start(), 2 * MIB, handles=DESCRIPTOR)

    assert (
        program.good("cuMemGetAllocationPropertiesFromHandle", blob("32x"), handle) == properties(handles=DESCRIPTOR)["bytes"]
    )


def test_what_a_killed_process_had_mapped_comes_back(node: Machine, start: Callable[[Machine], Program]) -> None:
    victim = start(node).start()
    mapped(victim, 64 * MIB, create(victim, 64 * MIB))

    victim.end()

    assert requested(node) == 0
