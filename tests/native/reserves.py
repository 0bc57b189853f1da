"""Arrays, pools and graphs for the little programs of these tests, beside client.py's words."""

import ctypes
from typing import Any

from tests.native.client import MIB, U64, Cuda

STREAM = ctypes.c_void_p(0x1001)  # of the stub driver's device 1, which tests grant by default
OTHER = ctypes.c_void_p(0x2001)
THRESHOLD, RESERVED, USED = 4, 5, 7
ALLOCATES, FREES = 10, 11
AUTO_FREE = 1


class Shape(ctypes.Structure):
    """CUDA_ARRAY3D_DESCRIPTOR; formats: 0x01 is 8 bits, 0x20 is float."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("width", "height", "depth")),
        ("format", ctypes.c_int),
        ("channels", ctypes.c_uint),
        ("flags", ctypes.c_uint),
    ]


class Properties(ctypes.Structure):
    """CUmemPoolProps."""

    _fields_ = [*((name, ctypes.c_int) for name in ("type", "handles", "location", "id")), ("rest", ctypes.c_char * 72)]


class Allocation(ctypes.Structure):
    """CUDA_MEM_ALLOC_NODE_PARAMS."""

    _fields_ = [("properties", Properties), ("access", U64), ("accesses", U64), ("bytes", U64), ("pointer", U64)]


class Node(ctypes.Structure):
    """CUgraphNodeParams of an allocation, or of a free, whose pointer lies where the properties begin."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("reserved", ctypes.c_int * 3),
        ("allocation", Allocation),
        ("rest", ctypes.c_char * 200),
    ]


class Reserves(Cuda):
    def array(self, width: int, height: int = 0, depth: int = 0, flags: int = 0, form: int = 1) -> tuple[int, ctypes.c_void_p]:
        made = ctypes.c_void_p()
        shape = Shape(width, height, depth, form, 1, flags)
        return self.library.cuArray3DCreate_v2(ctypes.byref(made), ctypes.byref(shape)), made

    def mipmap(self, width: int, height: int, levels: int, flags: int = 0) -> tuple[int, ctypes.c_void_p]:
        made = ctypes.c_void_p()
        shape = Shape(width, height, 0, 1, 1, flags)
        return self.library.cuMipmappedArrayCreate(ctypes.byref(made), ctypes.byref(shape), levels), made

    def pool(self, ordinal: int = 0, location: int = 1, device: int | None = None) -> tuple[int, ctypes.c_void_p]:
        made = ctypes.c_void_p()
        properties = Properties(1, 0, location, self.device(ordinal) if device is None else device)
        return self.library.cuMemPoolCreate(ctypes.byref(made), ctypes.byref(properties)), made

    def default_pool(self, ordinal: int = 0) -> ctypes.c_void_p:
        pool = ctypes.c_void_p()
        self.library.cuDeviceGetDefaultMemPool(ctypes.byref(pool), self.device(ordinal))
        return pool

    def take(self, size: int, pool: Any = None, stream: Any = STREAM) -> tuple[int, int]:
        """An allocation in a stream, from a pool or the current one."""
        if pool is None:
            return self.allocate(size, "cuMemAllocAsync", stream)
        return self.allocate(size, "cuMemAllocFromPoolAsync", pool, stream)

    def give(self, pointer: int, stream: Any = STREAM) -> int:
        return self.free(pointer, "cuMemFreeAsync", stream)

    def keep(self, pool: Any, size: int = 2**64 - 1) -> int:
        """Set a pool's release threshold."""
        code: int = self.library.cuMemPoolSetAttribute(pool, THRESHOLD, ctypes.byref(U64(size)))
        return code

    def synchronise(self) -> int:
        code: int = self.library.cuStreamSynchronize(STREAM)
        return code

    def reserved(self, pool: Any) -> int:
        value = U64()
        self.library.cuMemPoolGetAttribute(pool, RESERVED, ctypes.byref(value))
        return value.value

    def graph(self) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self.library.cuGraphCreate(ctypes.byref(made), 0)
        return made

    def allocates(self, graph: Any, size: int, device: int | None = None) -> tuple[int, int]:
        """Add a node that allocates; its address."""
        node = ctypes.c_void_p()
        place = self.device(0) if device is None else device
        params = Allocation(Properties(1, 0, 1, place), 0, 0, size, 0)
        code = self.library.cuGraphAddMemAllocNode(ctypes.byref(node), graph, None, U64(0), ctypes.byref(params))
        return code, params.pointer

    def frees(self, graph: Any, pointer: int) -> int:
        node = ctypes.c_void_p()
        code: int = self.library.cuGraphAddMemFreeNode(ctypes.byref(node), graph, None, U64(0), U64(pointer))
        return code

    def instantiate(self, graph: Any, flags: int = 0) -> tuple[int, ctypes.c_void_p]:
        made = ctypes.c_void_p()
        return self.library.cuGraphInstantiateWithFlags(ctypes.byref(made), graph, U64(flags)), made

    def launch(self, made: Any, stream: Any = STREAM) -> int:
        code: int = self.library.cuGraphLaunch(made, stream)
        return code

    def scratch(self, size: int) -> ctypes.c_void_p:
        """A graph that allocates and frees."""
        graph = self.graph()
        self.frees(graph, self.allocates(graph, size)[1])
        return graph

    def taken(self) -> int:
        """MiB of the share that are charged."""
        free, total = self.memory()
        return (total - free) // MIB
