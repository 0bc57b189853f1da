"""Virtual memory management, and memory of other processes, for the little programs of these tests."""

import ctypes
import os
import socket
import struct
from itertools import permutations
from typing import Any

from client import MIB, U64, Cuda, say, wait_for_word  # noqa: F401  # what a program of this folder sees

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
        with open(os.environ["STUB_STATE"], "rb") as books:
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
