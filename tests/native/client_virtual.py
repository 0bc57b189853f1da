"""Virtual memory management, and memory of other processes, for the little programs of these tests."""

import ctypes
import json
import os
import socket
import struct
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.native.client import MIB, U64, Cuda, say, wait_for_word
else:
    from client import MIB, U64, Cuda, say, wait_for_word

GRANULE = 2 * MIB
DEVICE, HOST = 1, 2  # CUmemLocationType
DESCRIPTOR, FABRIC = 1, 8  # CUmemAllocationHandleType


class Ipc(ctypes.Structure):
    _fields_ = [("reserved", ctypes.c_char * 64)]


class Virtual(Cuda):
    """Codes are returned, not raised. Sizes are counted in granules of 2 MiB."""

    def begin(self, ordinal: int = 0) -> "Virtual":
        self.start(ordinal)
        return self

    def create(self, granules: int, where: int = DEVICE, device: int | None = None) -> tuple[int, int]:
        handle = U64()
        place = self.device(0) if device is None else device
        properties = (ctypes.c_int * 8)(1, DESCRIPTOR, where, place)
        code = self.library.cuMemCreate(ctypes.byref(handle), ctypes.c_size_t(granules * GRANULE), properties, U64(0))
        return code, handle.value

    def release(self, handle: int) -> int:
        code: int = self.library.cuMemRelease(U64(handle))
        return code

    def reserve(self, granules: int) -> int:
        pointer = U64()
        self.library.cuMemAddressReserve(ctypes.byref(pointer), ctypes.c_size_t(granules * GRANULE), U64(0), U64(0), U64(0))
        return pointer.value

    def map(self, pointer: int, granules: int, handle: int) -> int:
        size = ctypes.c_size_t(granules * GRANULE)
        code: int = self.library.cuMemMap(U64(pointer), size, ctypes.c_size_t(0), U64(handle), U64(0))
        return code

    def unmap(self, pointer: int, granules: int) -> int:
        code: int = self.library.cuMemUnmap(U64(pointer), ctypes.c_size_t(granules * GRANULE))
        return code

    def mapped(self, granules: int, handle: int) -> int:
        """Where the handle's memory is now."""
        pointer = self.reserve(granules)
        return 0 if self.map(pointer, granules, handle) else pointer

    def retain(self, address: int) -> tuple[int, int]:
        handle = U64()
        return self.library.cuMemRetainAllocationHandle(ctypes.byref(handle), ctypes.c_void_p(address)), handle.value

    def export(self, handle: int) -> int:
        """A descriptor."""
        made = ctypes.c_int(-1)
        self.library.cuMemExportToShareableHandle(ctypes.byref(made), U64(handle), DESCRIPTOR, U64(0))
        return made.value

    def export_fabric(self, handle: int) -> bytes:
        made = ctypes.create_string_buffer(64)
        self.library.cuMemExportToShareableHandle(made, U64(handle), FABRIC, U64(0))
        return made.raw

    def adopt(self, shareable: int | bytes) -> tuple[int, int]:
        handle, kind = U64(), DESCRIPTOR if isinstance(shareable, int) else FABRIC
        what: Any = ctypes.c_void_p(shareable) if isinstance(shareable, int) else shareable
        return self.library.cuMemImportFromShareableHandle(ctypes.byref(handle), what, kind), handle.value

    def ipc(self, pointer: int) -> bytes:
        handle = Ipc()
        self.library.cuIpcGetMemHandle(ctypes.byref(handle), U64(pointer))
        return bytes(handle)

    def open(self, handle: bytes, by: str = "cuIpcOpenMemHandle_v2") -> tuple[int, int]:
        pointer = U64()
        code = getattr(self.library, by)(ctypes.byref(pointer), Ipc.from_buffer_copy(handle), 1)
        return code, pointer.value

    def close(self, pointer: int) -> int:
        code: int = self.library.cuIpcCloseMemHandle(U64(pointer))
        return code

    def charged(self) -> float:
        """What the interposer says is used, in granules."""
        free, total = self.memory()
        return (total - free) / GRANULE

    def held(self) -> float:
        """What the driver says is used of the device, in granules: its own books, read beside the interposer."""
        with Path(os.environ["STUB_STATE"]).open("rb") as books:
            used = struct.unpack("4Q", books.read(32))[self.device(0)]
        return float(used / GRANULE)

    def both(self) -> list[float]:
        return [self.charged(), self.held()]


class Peer:
    """One end of a socket to another process, for bytes and descriptors."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def send(self, data: bytes = b"!", *descriptors: int) -> None:
        socket.send_fds(self.end, [data], list(descriptors))

    def receive(self) -> bytes:
        return self.end.recv(1024)

    def receive_descriptor(self) -> int:
        return socket.recv_fds(self.end, 1024, 1)[1][0]


def orders(actions: list[Any]) -> list[list[Any]]:
    return [list(order) for order in permutations(actions)]


def fork(work: Any) -> Peer:
    """Run WORK(peer) in a child, which begins CUDA by itself, and return the other end."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        work(Peer(theirs))
        os._exit(0)
    theirs.close()
    return Peer(ours)


def kill(pid: int) -> None:
    os.kill(pid, 9)
    os.waitpid(pid, 0)


class Programs:
    """Runs programs that are lists of (act, number, number): each number chooses among what there is to act on."""

    def __init__(self, cuda: Virtual) -> None:
        self.cuda = cuda
        self.handles: list[int] = []
        self.places: list[tuple[int, int]] = []
        self.pointers: list[int] = []
        self.descriptors: list[int] = []
        self.bindings: list[int] = []
        self.bound = 0

    def create(self, a: int, _: int) -> None:
        code, handle = self.cuda.create(1 + a % 4)
        if code == 0:
            self.handles.append(handle)

    def allocate(self, a: int, _: int) -> None:
        code, pointer = self.cuda.allocate((1 + a % 4) * GRANULE)
        if code == 0:
            self.pointers.append(pointer)

    def free(self, a: int, _: int) -> None:
        if self.pointers:
            self.cuda.free(self.pointers.pop(a % len(self.pointers)))

    def release(self, a: int, _: int) -> None:
        if self.handles:
            self.cuda.release(self.handles.pop(a % len(self.handles)))

    def map(self, a: int, b: int) -> None:
        """Mostly more than the handle has: then the driver refuses."""
        if self.handles:
            size = 1 + b % 4
            pointer = self.cuda.reserve(size)
            if self.cuda.map(pointer, size, self.handles[a % len(self.handles)]) == 0:
                self.places.append((pointer, size))

    def unmap(self, a: int, b: int) -> None:
        """One mapping, a part of it, or it and the next."""
        if not self.places:
            return
        at = a % len(self.places)
        pointer, size = self.places[at]
        wanted = size + b % 5 - 2
        if wanted > 0 and self.cuda.unmap(pointer, wanted) == 0:
            end = pointer + wanted * GRANULE
            self.places = [place for place in self.places if not pointer <= place[0] < end]

    def retain(self, a: int, b: int) -> None:
        if self.places:
            pointer, size = self.places[a % len(self.places)]
            code, handle = self.cuda.retain(pointer + b % (size * GRANULE))
            assert code == 0
            self.handles.append(handle)

    def bind(self, a: int, _: int) -> None:
        if self.handles and len(self.bindings) < 60:
            self.bound += 1
            handle = self.handles[a % len(self.handles)]
            call = self.cuda.library.cuMulticastBindMem
            if call(U64(9), U64(self.bound), U64(handle), U64(0), U64(GRANULE), U64(0)) == 0:
                self.bindings.append(self.bound)

    def unbind(self, a: int, _: int) -> None:
        if self.bindings:
            at = self.bindings.pop(a % len(self.bindings))
            self.cuda.library.cuMulticastUnbind(U64(9), self.cuda.device(0), U64(at), U64(GRANULE))

    def export(self, a: int, _: int) -> None:
        if self.handles and len(self.descriptors) < 100:
            self.descriptors.append(self.cuda.export(self.handles[a % len(self.handles)]))

    def close(self, a: int, _: int) -> None:
        if self.descriptors:
            os.close(self.descriptors.pop(a % len(self.descriptors)))

    def adopt(self, a: int, _: int) -> None:
        if self.descriptors:
            code, handle = self.cuda.adopt(self.descriptors[a % len(self.descriptors)])
            assert code == 0
            self.handles.append(handle)

    def fabric(self, a: int, _: int) -> None:
        if self.handles:
            code, handle = self.cuda.adopt(self.cuda.export_fabric(self.handles[a % len(self.handles)]))
            assert code == 0
            self.handles.append(handle)

    def run(self, program: list[tuple[str, int, int]]) -> list[list[float]]:
        """What is charged and what is held after each act; then all is given back."""
        seen = []
        for act, a, b in program:
            getattr(self, act)(a, b)
            seen.append(self.cuda.both())
        while self.handles or self.places or self.pointers or self.descriptors or self.bindings:
            for act in ("release", "free", "close", "unbind"):
                getattr(self, act)(0, 0)
            self.unmap(0, 2)
        return seen


def serve() -> None:
    """Programs from standard input, a line each; the answer is what run() tells, and what is left when all is asked for."""
    cuda = Virtual().begin()
    programs = Programs(cuda)
    while line := wait_for_word():
        seen = programs.run(json.loads(line))
        code, handle = cuda.create(24)
        cuda.release(handle)
        say([*seen, [code, *cuda.both()]])
