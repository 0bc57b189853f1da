"""Arrays, mipmapped arrays, textures, external memory: what they cost, and that data really moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from tests.mock.conftest import OUT, Program, blob

if TYPE_CHECKING:
    from pathlib import Path

    from hami_mock.machine import Machine

INVALID_VALUE, OUT_OF_MEMORY, INVALID_HANDLE, NOT_SUPPORTED = 1, 2, 400, 801
MIB = 1 << 20
UINT8, FLOAT, BLOCK_COMPRESSED = 0x01, 0x20, 0x91
HOST, DEVICE, ARRAY = 1, 2, 3


def array_of(width: int, height: int = 0, form: int = UINT8, channels: int = 1) -> dict[str, str]:
    """A CUDA_ARRAY_DESCRIPTOR."""
    return blob("QQiI", width, height, form, channels)


def volume_of(width: int, height: int, depth: int, *, form: int = UINT8, channels: int = 1, flags: int = 0) -> dict[str, str]:
    """A CUDA_ARRAY3D_DESCRIPTOR."""
    return blob("QQQiII4x", width, height, depth, form, channels, flags)


def copy_2d(*, source: tuple[int, int, int], target: tuple[int, int, int], width: int, height: int) -> dict[str, str]:
    """A CUDA_MEMCPY2D between (memory type, where, pitch) and the same."""

    def side(kind: int, where: int, pitch: int) -> list[int]:
        places = [where if kind == each else 0 for each in (HOST, DEVICE, ARRAY)]
        return [0, 0, kind, *places, pitch]

    return blob("QQi4xQQQQ QQi4xQQQQ QQ", *side(*source), *side(*target), width, height)


def physical(node: Machine) -> int:
    truth = machine.truth(node.folder)
    return truth.devices[0].physical - sum(one.context for one in truth.processes)


def test_an_array_costs_what_its_requirements_say(node: Machine, program: Program) -> None:
    array = program.start().good("cuArrayCreate_v2", OUT, array_of(1000, 2000, FLOAT, 4))[0]

    size, alignment = (
        int.from_bytes(
            bytes.fromhex(program.good("cuArrayGetMemoryRequirements", blob("32x"), array, 0))[at : at + 8], "little"
        )
        for at in (0, 8)
    )

    assert (size, alignment) == (-(-16384 * 2000 // 65536) * 65536, 65536)
    assert size <= physical(node) < size + 2 * MIB
    program.good("cuArrayDestroy", array)
    assert physical(node) == 0
    assert program.call("cuArrayDestroy", array)[0] == INVALID_HANDLE


def test_an_array_says_what_it_was_made_as(program: Program) -> None:
    flat = program.start().good("cuArrayCreate_v2", OUT, array_of(64, 32, FLOAT, 2))[0]
    deep = program.good("cuArray3DCreate_v2", OUT, volume_of(8, 4, 2))[0]

    assert program.good("cuArrayGetDescriptor_v2", blob("24x"), flat) == array_of(64, 32, FLOAT, 2)["bytes"]
    assert program.good("cuArray3DGetDescriptor_v2", blob("40x"), deep) == volume_of(8, 4, 2)["bytes"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (array_of(0, 4), INVALID_VALUE),
        (array_of(4, 4, UINT8, 3), INVALID_VALUE),
        (array_of(4, 4, BLOCK_COMPRESSED), NOT_SUPPORTED),
    ],
)
def test_an_array_that_cannot_be_is_refused(program: Program, wrong: dict[str, str], error: int) -> None:
    assert program.start().call("cuArrayCreate_v2", OUT, wrong)[0] == error


def test_arrays_do_not_fit_for_ever(program: Program) -> None:
    program.start()

    assert program.call("cuArrayCreate_v2", OUT, array_of(1 << 20, 1 << 15))[0] == OUT_OF_MEMORY


def test_rows_go_to_an_array_and_come_back(program: Program) -> None:
    array = program.start().good("cuArrayCreate_v2", OUT, array_of(100, 3))[0]
    source, target = program.alloc(4096), program.alloc(4096)
    program.write(source, bytes(range(240)) + bytes(60))

    program.good("cuMemcpy2D_v2", copy_2d(source=(DEVICE, source, 100), target=(ARRAY, array, 0), width=100, height=3))
    program.good("cuMemcpy2D_v2", copy_2d(source=(ARRAY, array, 0), target=(DEVICE, target, 128), width=100, height=3))

    assert program.read(target + 128, 100) == bytes(range(100, 200))
    program.good("cuMemcpyAtoH_v2", {"bytes": bytes(4).hex()}, array, 0, 4)
    program.good("cuMemcpyHtoA_v2", array, 0, {"bytes": b"head".hex()}, 4)
    assert program.good("cuMemcpyAtoH_v2", {"bytes": bytes(6).hex()}, array, 0, 6) == (b"head" + bytes([4, 5])).hex()
    assert program.call("cuMemcpyAtoH_v2", {"bytes": bytes(4).hex()}, array, 1 << 20, 4)[0] == INVALID_VALUE


def test_a_mipmapped_array_has_smaller_and_smaller_levels(node: Machine, program: Program) -> None:
    mipmap = program.start().good("cuMipmappedArrayCreate", OUT, volume_of(1024, 512, 0, form=FLOAT), 20)[0]
    levels = [program.good("cuMipmappedArrayGetLevel", OUT, mipmap, level) for level in range(11)]

    assert program.call("cuMipmappedArrayGetLevel", OUT, mipmap, 11)[0] == INVALID_VALUE
    assert program.good("cuArrayGetDescriptor_v2", blob("24x"), levels[10]) == array_of(1, 1, FLOAT)["bytes"]
    assert physical(node) == 4 * MIB
    assert program.call("cuArrayDestroy", levels[0])[0] == INVALID_HANDLE, "its array's"
    program.good("cuMipmappedArrayDestroy", mipmap)
    assert physical(node) == 0


def test_a_sparse_array_owns_no_memory(node: Machine, program: Program) -> None:
    program.start().good("cuArray3DCreate_v2", OUT, volume_of(4096, 4096, 0, flags=0x40))

    assert physical(node) == 0


def test_arrays_go_with_their_context(node: Machine, program: Program) -> None:
    program.start().good("cuArrayCreate_v2", OUT, array_of(4096, 4096))

    program.good("cuDevicePrimaryCtxReset_v2", 0)

    assert machine.truth(node.folder).devices[0].physical == 0


def test_textures_and_surfaces_are_handles_that_remember(program: Program) -> None:
    array = program.start().good("cuArrayCreate_v2", OUT, array_of(64, 64))[0]
    resource = blob("i4xQ120xI4x", 0, array, 0)
    texture = program.good("cuTexObjectCreate", OUT, resource, blob("104x"), 0)[0]
    surface = program.good("cuSurfObjectCreate", OUT, resource)[0]

    assert program.good("cuTexObjectGetResourceDesc", blob("144x"), texture) == resource["bytes"]
    program.good("cuTexObjectDestroy", texture)
    assert program.call("cuTexObjectDestroy", texture)[0] == INVALID_VALUE
    assert program.good("cuSurfObjectGetResourceDesc", blob("144x"), surface) == resource["bytes"]
    program.good("cuSurfObjectDestroy", surface)


def test_a_file_of_another_interface_is_mapped_and_costs_nothing(node: Machine, program: Program, tmp_path: Path) -> None:
    file = tmp_path / "memory"
    file.write_bytes(bytes(4096) + b"from outside" + bytes(8192))
    descriptor = program.start().good("open", str(file))

    memory = program.good("cuImportExternalMemory", OUT, blob("i4xi12xQI64x4x", 1, descriptor, 12288, 0))[0]
    address = program.good("cuExternalMemoryGetMappedBuffer", OUT, memory, blob("QQI64x4x", 4096, 4096, 0))[0]

    assert program.read(address, 12) == b"from outside"
    program.write(address, b"from the device")
    assert file.read_bytes()[4096:4111] == b"from the device"
    assert physical(node) == 0
    program.good("cuMemFree_v2", address)
    program.good("cuDestroyExternalMemory", memory)
    assert program.call("cuDestroyExternalMemory", memory)[0] == INVALID_HANDLE
