"""Memory that several processes hold: charged once, the same bytes everywhere, there until the last of them is gone."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from tests.mock.conftest import OUT, Program, blob, environment
from tests.mock.test_cuda_streams import set_kernel
from tests.mock.test_cuda_virtual import DESCRIPTOR, MIB, create, mapped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_mock.machine import Machine

    Start = Callable[[Machine], Program]

INVALID_VALUE, INVALID_CONTEXT, NOT_READY = 1, 201, 600
EMPTY = {"bytes": bytes(64).hex()}
CONTEXT = 103 * MIB


def held(node: Machine) -> tuple[int, int]:
    """Requested bytes of the device, and of what that its processes answer for."""
    truth = machine.truth(node.folder)
    return truth.devices[0].requested, sum(one.requested for one in truth.processes)


def ipc_handle(program: Program, address: int) -> dict[str, str]:
    return {"value": program.good("cuIpcGetMemHandle", EMPTY, address)}


def export(program: Program, handle: int) -> int:
    file: int = program.good("cuMemExportToShareableHandle", OUT, handle, DESCRIPTOR, 0)
    return file


def hand_over(giver: Program, file: int, taker: Program, at: Path) -> int:
    """The number that a descriptor of one process has in another."""
    giver.tell("send", str(at), file)
    taken: int = taker.good("receive", str(at))
    giver.answer()
    return taken


def import_from(giver: Program, handle: int, taker: Program, at: Path) -> int:
    file = export(giver, handle)
    taken = hand_over(giver, file, taker, at)
    imported: int = taker.good("cuMemImportFromShareableHandle", OUT, taken, DESCRIPTOR)
    giver.good("close", file)
    taker.good("close", taken)
    return imported


def test_another_process_maps_the_same_bytes_and_pays_nothing(node: Machine, start: Start) -> None:
    owner, other = start(node).start(), start(node).start()
    address = owner.alloc(3 * MIB)
    owner.write(address + MIB, b"from the owner")

    there = other.good("cuIpcOpenMemHandle_v2", OUT, ipc_handle(owner, address), 1)

    assert other.read(there + MIB, 14) == b"from the owner"
    other.write(there, b"and back")
    assert owner.read(address, 8) == b"and back"
    truth = machine.truth(node.folder)
    assert truth.devices[0].physical == 4 * MIB + 2 * CONTEXT
    assert {one.pid: one.requested for one in truth.processes} == {owner.process.pid: 3 * MIB, other.process.pid: 0}


def test_closing_gives_nothing_back_while_the_owner_has_it(node: Machine, start: Start) -> None:
    owner, other = start(node).start(), start(node).start()
    address = owner.alloc(3 * MIB)
    there = other.good("cuIpcOpenMemHandle_v2", OUT, ipc_handle(owner, address), 1)

    other.good("cuIpcCloseMemHandle", there)
    assert held(node) == (3 * MIB, 3 * MIB)
    assert other.call("cuIpcCloseMemHandle", there)[0] == INVALID_VALUE
    owner.good("cuMemFree_v2", address)
    assert held(node) == (0, 0)


def test_a_handle_opened_twice_is_one_address_and_closed_twice(node: Machine, start: Start) -> None:
    owner, other = start(node).start(), start(node).start()
    handle = ipc_handle(owner, owner.alloc(MIB))

    addresses = {other.good("cuIpcOpenMemHandle_v2", OUT, handle, 1) for _ in range(2)}

    assert len(addresses) == 1
    (there,) = addresses
    other.good("cuIpcCloseMemHandle", there)
    other.read(there, 4)
    other.good("cuIpcCloseMemHandle", there)
    assert other.call("cuMemsetD8_v2", there, 0, 4)[0] == INVALID_VALUE


def test_memory_outlives_its_owner_while_another_process_has_it_open(node: Machine, start: Start) -> None:
    owner, other = start(node).start(), start(node).start()
    address = owner.alloc(5 * MIB)
    owner.write(address, b"stays")
    there = other.good("cuIpcOpenMemHandle_v2", OUT, ipc_handle(owner, address), 1)

    owner.end()

    assert held(node) == (5 * MIB, 0), "nobody's now, but on the card"
    assert other.read(there, 5) == b"stays"
    other.good("cuIpcCloseMemHandle", there)
    assert held(node) == (0, 0)


@pytest.mark.parametrize("first", ["owner", "other"])
def test_the_last_one_killed_ends_it(node: Machine, start: Start, first: str) -> None:
    owner, other = start(node).start(), start(node).start()
    other.good("cuIpcOpenMemHandle_v2", OUT, ipc_handle(owner, owner.alloc(5 * MIB)), 1)

    for program in (owner, other) if first == "owner" else (other, owner):
        assert held(node)[0] == 5 * MIB
        program.end()

    assert held(node) == (0, 0)
    assert list((node.folder / "memory").iterdir()) == []


def test_what_cannot_be_shared_is_refused(program: Program) -> None:
    program.start()
    address = program.alloc(MIB)
    pooled = program.good("cuMemAllocAsync", OUT, MIB, 0)

    assert program.call("cuIpcOpenMemHandle_v2", OUT, ipc_handle(program, address), 1)[0] == INVALID_CONTEXT, "its own"
    assert program.call("cuIpcGetMemHandle", EMPTY, pooled)[0] == INVALID_VALUE
    assert program.call("cuIpcGetMemHandle", EMPTY, 4096)[0] == INVALID_VALUE
    assert program.call("cuIpcOpenMemHandle_v2", OUT, {"value": bytes(64).hex()}, 1)[0] == INVALID_VALUE


def test_an_opened_pointer_is_closed_and_not_freed(node: Machine, start: Start) -> None:
    owner, other = start(node).start(), start(node).start()
    there = other.good("cuIpcOpenMemHandle_v2", OUT, ipc_handle(owner, owner.alloc(MIB)), 1)

    assert other.call("cuMemFree_v2", there)[0] == INVALID_VALUE


def test_a_descriptor_carries_memory_to_another_process(node: Machine, start: Start, tmp_path: Path) -> None:
    owner, other = start(node).start(), start(node).start()
    handle = create(owner, 4 * MIB, handles=DESCRIPTOR)
    address = mapped(owner, 4 * MIB, handle)
    owner.write(address + 3 * MIB, b"before the export")

    there = mapped(other, 4 * MIB, import_from(owner, handle, other, tmp_path / "socket"))

    assert other.read(there + 3 * MIB, 17) == b"before the export"
    other.write(there, b"after")
    assert owner.read(address, 5) == b"after"
    assert held(node) == (4 * MIB, 4 * MIB)


def test_imported_memory_lives_until_the_last_process_lets_go(node: Machine, start: Start, tmp_path: Path) -> None:
    owner, other = start(node).start(), start(node).start()
    handle = create(owner, 4 * MIB, handles=DESCRIPTOR)
    imported = import_from(owner, handle, other, tmp_path / "socket")
    there = mapped(other, 4 * MIB, imported)

    owner.good("cuMemRelease", handle)
    assert held(node) == (4 * MIB, 0)
    other.good("cuMemRelease", imported)
    assert held(node)[0] == 4 * MIB
    other.good("cuMemUnmap", there, 4 * MIB)
    assert held(node) == (0, 0)


def test_a_descriptor_alone_keeps_the_memory(node: Machine, start: Start, tmp_path: Path) -> None:
    owner, keeper = start(node).start(), start(node)
    handle = create(owner, 4 * MIB, handles=DESCRIPTOR)
    taken = hand_over(owner, export(owner, handle), keeper, tmp_path / "socket")

    owner.end()

    assert held(node) == (4 * MIB, 0), "the keeper never called CUDA"
    keeper.good("close", taken)
    assert held(node) == (0, 0)


def test_a_process_that_imports_its_own_export_gets_the_same_handle(node: Machine, program: Program) -> None:
    handle = create(program.start(), 2 * MIB, handles=DESCRIPTOR)
    file = export(program, handle)

    assert program.good("cuMemImportFromShareableHandle", OUT, file, DESCRIPTOR) == handle
    program.good("close", file)
    program.good("cuMemRelease", handle)
    assert held(node)[0] == 2 * MIB
    program.good("cuMemRelease", handle)
    assert held(node) == (0, 0)


def test_a_descriptor_of_something_else_is_refused(program: Program) -> None:
    program.start()

    assert program.call("cuMemImportFromShareableHandle", OUT, 0, DESCRIPTOR)[0] == INVALID_VALUE


def test_a_forked_child_keeps_no_memory_alive(node: Machine) -> None:
    code = """
import ctypes, os, sys
cuda, context, address = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_uint64()
cuda.cuInit(0), cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0), cuda.cuCtxSetCurrent(context)
assert cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(1 << 20)) == 0
assert cuda.cuIpcGetMemHandle(ctypes.create_string_buffer(64), address) == 0
if os.fork():
    os._exit(0)
print("child", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment(node), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"child\n"
        parent.wait()

        assert held(node) == (0, 0)


def test_an_event_of_another_process_is_reached_when_it_is_there(node: Machine, start: Start) -> None:
    set_kernel(node, 400_000_000)
    owner, other = start(node).start(), start(node).start()
    event = owner.good("cuEventCreate", OUT, 6)
    kernel = owner.good("cuModuleGetFunction", OUT, owner.good("cuModuleLoadData", OUT, "image"), "kernel")
    there = other.good("cuIpcOpenEventHandle", OUT, {"value": owner.good("cuIpcGetEventHandle", EMPTY, event)})
    assert other.call("cuEventQuery", there)[0] == 0, "never recorded"

    owner.good("cuLaunchKernel", kernel, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0)
    owner.good("cuEventRecord", event, 0)

    assert other.call("cuEventQuery", there)[0] == NOT_READY
    other.good("cuEventSynchronize", there)
    assert owner.call("cuEventQuery", event)[0] == 0
    owner.good("cuEventDestroy_v2", event)
    assert other.call("cuEventQuery", there)[0] == 0


def test_a_pool_is_handed_over_and_its_pointers_are_the_same_bytes(node: Machine, start: Start, tmp_path: Path) -> None:
    owner, other = start(node).start(), start(node).start()
    pool = owner.good("cuMemPoolCreate", OUT, blob("iiii P Q 56x", 1, DESCRIPTOR, 1, 0, 0, 0))[0]
    address = owner.good("cuMemAllocFromPoolAsync", OUT, MIB, pool, 0)
    owner.write(address, b"pooled")
    file = owner.good("cuMemPoolExportToShareableHandle", OUT, pool, DESCRIPTOR, 0)
    taken = hand_over(owner, file, other, tmp_path / "socket")

    theirs = other.good("cuMemPoolImportFromShareableHandle", OUT, taken, DESCRIPTOR, 0)
    exported = {"bytes": owner.good("cuMemPoolExportPointer", EMPTY, address)}
    there = other.good("cuMemPoolImportPointer", OUT, theirs, exported)[0]

    assert other.read(there, 6) == b"pooled"
    assert held(node) == (MIB, MIB)
    assert other.call("cuMemAllocFromPoolAsync", OUT, MIB, theirs, 0)[0] == INVALID_VALUE, "a pool that was imported"
    other.good("cuMemFreeAsync", there, 0)
    owner.good("cuMemFreeAsync", address, 0)
    assert held(node) == (0, 0)


SHARER = """
import ctypes, os, random, sys
cuda, context, address = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_uint64()
class Handle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_char * 64),)
assert not (cuda.cuInit(0) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) or cuda.cuCtxSetCurrent(context))
folder = sys.argv[1]
print("ready", flush=True)
mine, theirs = {}, []
while True:
    step = random.random()
    if step < 0.35 and len(mine) < 8:
        handle = Handle()
        if cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(random.randrange(1, 20 << 20))) == 0:
            assert cuda.cuIpcGetMemHandle(ctypes.byref(handle), address) == 0
            name = f"{folder}/{os.getpid()}-{address.value}"
            with open(name + ".new", "wb") as file:
                file.write(bytes(handle))
            os.rename(name + ".new", name)
            mine[address.value] = name
    elif step < 0.5 and mine:
        at, name = mine.popitem()
        os.unlink(name)
        assert cuda.cuMemFree_v2(ctypes.c_uint64(at)) == 0
    elif step < 0.85 and len(theirs) < 8:
        names = [name for name in os.listdir(folder) if not name.endswith(".new")]
        if names:
            try:
                with open(f"{folder}/{random.choice(names)}", "rb") as file:
                    handle = Handle.from_buffer_copy(file.read())
            except FileNotFoundError:
                continue
            if cuda.cuIpcOpenMemHandle_v2(ctypes.byref(address), handle, 1) == 0:
                theirs.append(address.value)
    elif theirs:
        assert cuda.cuIpcCloseMemHandle(ctypes.c_uint64(theirs.pop())) == 0
"""


@pytest.mark.slow
def test_kills_at_random_moments_leave_shared_memory_exact(node: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "handles"
    folder.mkdir()
    busy: list[subprocess.Popen[bytes]] = []
    try:
        for turn in range(25):
            while len(busy) < 3:
                busy.append(
                    subprocess.Popen([sys.executable, "-c", SHARER, str(folder)], env=environment(node), stdout=subprocess.PIPE)
                )
                stdout = busy[-1].stdout
                assert stdout
                assert stdout.readline() == b"ready\n"
            time.sleep(random.Random(turn).random() * 0.03)
            assert [program.poll() for program in busy] == [None] * 3
            _end(busy.pop(0))
    finally:
        for program in busy:
            _end(program)

    assert held(node) == (0, 0)
    assert machine.truth(node.folder).devices[0].physical == 0
    assert list((node.folder / "memory").iterdir()) == []


def _end(program: subprocess.Popen[bytes]) -> None:
    program.kill()
    program.communicate()
