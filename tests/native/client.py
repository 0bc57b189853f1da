"""CUDA and NVML for the little programs of these tests, by ctypes: as any framework reaches them, dlopen and dlsym."""

import ctypes
import json
import os
import sys
from typing import Any

MIB = 1 << 20
U64 = ctypes.c_uint64


def say(*values: Any) -> None:
    os.write(1, (json.dumps(values[0] if len(values) == 1 else list(values)) + "\n").encode())


def wait_for_word() -> str:
    return sys.stdin.readline()


class Cuda:
    """A program's view of libcuda.so.1. Codes are returned, not raised: they are what is tested."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libcuda.so.1")

    def start(self, ordinal: int = 0) -> int:
        """cuInit, the primary context of a device, made current."""
        code: int = self.library.cuInit(0)
        return code or self.use(ordinal)

    def use(self, ordinal: int) -> int:
        context = ctypes.c_void_p()
        code: int = self.library.cuDevicePrimaryCtxRetain(ctypes.byref(context), self.device(ordinal))
        return code or self.library.cuCtxSetCurrent(context)

    def count(self) -> int:
        number = ctypes.c_int(-1)
        self.library.cuDeviceGetCount(ctypes.byref(number))
        return number.value

    def device(self, ordinal: int) -> int:
        handle = ctypes.c_int(-1)
        self.library.cuDeviceGet(ctypes.byref(handle), ordinal)
        return handle.value

    def allocate(self, size: int, by: str = "cuMemAlloc_v2", *more: Any) -> tuple[int, int]:
        pointer = U64()
        code = getattr(self.library, by)(ctypes.byref(pointer), ctypes.c_size_t(size), *more)
        return code, pointer.value

    def code(self, size: int, by: str = "cuMemAlloc_v2", *more: Any) -> int:
        return self.allocate(size, by, *more)[0]

    def pitch(self, width: int, height: int) -> tuple[int, int, int]:
        pointer, pitch = U64(), ctypes.c_size_t()
        arguments = (ctypes.c_size_t(width), ctypes.c_size_t(height), 4)
        code = self.library.cuMemAllocPitch_v2(ctypes.byref(pointer), ctypes.byref(pitch), *arguments)
        return code, pointer.value, pitch.value

    def free(self, pointer: int, by: str = "cuMemFree_v2", *more: Any) -> int:
        code: int = getattr(self.library, by)(U64(pointer), *more)
        return code

    def memory(self) -> tuple[int, int]:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.library.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def address(self, symbol: str) -> int:
        return ctypes.cast(getattr(self.library, symbol), ctypes.c_void_p).value or 0

    def proc_address(self, base: str, version: int, flags: int = 0) -> tuple[int, int, int]:
        found, status = ctypes.c_void_p(), ctypes.c_int(-1)
        code = self.library.cuGetProcAddress_v2(base.encode(), ctypes.byref(found), version, U64(flags), ctypes.byref(status))
        return code, found.value or 0, status.value


class Memory(ctypes.Structure):
    _fields_ = [("total", U64), ("free", U64), ("used", U64)]


class Memory2(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint), ("total", U64), ("reserved", U64), ("free", U64), ("used", U64)]


class Process(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("used", U64), ("gpu", ctypes.c_uint), ("compute", ctypes.c_uint)]


class Entry(ctypes.Structure):
    """A process in the private table that nvidia-smi reads."""

    _fields_ = [("pid", ctypes.c_uint), ("used", U64), ("rest", ctypes.c_char * 4112)]


class Nvml:
    def __init__(self) -> None:
        self.library = ctypes.CDLL("libnvidia-ml.so.1")
        self.library.nvmlInit_v2()

    def count(self) -> int:
        number = ctypes.c_uint(99)
        self.library.nvmlDeviceGetCount_v2(ctypes.byref(number))
        return number.value

    def by_index(self, index: int) -> tuple[int, ctypes.c_void_p]:
        handle = ctypes.c_void_p()
        return self.library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)), handle

    def by_uuid(self, uuid: str) -> int:
        code: int = self.library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(ctypes.c_void_p()))
        return code

    def uuids(self) -> list[str]:
        texts = []
        for index in range(self.count()):
            text = ctypes.create_string_buffer(96)
            self.library.nvmlDeviceGetUUID(self.by_index(index)[1], text, 96)
            texts.append(text.value.decode())
        return texts

    def memory(self, index: int = 0) -> list[int]:
        memory = Memory()
        self.library.nvmlDeviceGetMemoryInfo(self.by_index(index)[1], ctypes.byref(memory))
        return [memory.total, memory.free, memory.used]

    def memory2(self, index: int = 0) -> list[int]:
        memory = Memory2(version=0x02000028)
        self.library.nvmlDeviceGetMemoryInfo_v2(self.by_index(index)[1], ctypes.byref(memory))
        return [memory.total, memory.reserved, memory.free, memory.used]

    def processes(self, capacity: int = 16, index: int = 0) -> tuple[int, int, list[list[int]]]:
        count = ctypes.c_uint(capacity)
        found = (Process * max(capacity, 1))()
        call = self.library.nvmlDeviceGetComputeRunningProcesses_v3
        code = call(self.by_index(index)[1], ctypes.byref(count), found if capacity else None)
        told = count.value if code == 0 else 0
        return code, count.value, [[found[i].pid, found[i].used, found[i].gpu] for i in range(told)]

    def table(self) -> Any:
        """The private table, as an array of addresses."""
        table = ctypes.POINTER(ctypes.c_void_p)()
        identity = bytes.fromhex("c4fe3e6cc98f6c4ea327ee696e12f7c4")
        self.library.nvmlInternalGetExportTable(ctypes.byref(table), identity)
        return table

    def table_by_index(self, index: int) -> int:
        slot = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint)(self.table()[81])
        code: int = slot(index, ctypes.addressof(ctypes.c_void_p()), 0x22)
        return code

    def table_processes(self, slot: int = 213, index: int = 0) -> list[list[int]]:
        entries, count = (Entry * 8)(), ctypes.c_uint(8)
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        kind(self.table()[slot])(self.by_index(index)[1].value, ctypes.addressof(count), ctypes.addressof(entries))
        return [[entries[i].pid, entries[i].used] for i in range(count.value)]


def pid() -> int:
    return os.getpid()
