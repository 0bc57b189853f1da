"""Our own prototypes against NVIDIA's headers, which come from its packages and are never shipped."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.native.hooks import CUDA, NATIVE, NVML, CudaHook

SITE = Path(pytest.__file__).parent.parent / "nvidia"
CUDA_13 = SITE / "cu13" / "include"
CUDA_12 = SITE / "cuda_runtime" / "include"
CUDA_HEADERS = ("cuda.h", "cudaGL.h", "cudaVDPAU.h")
PRIVATE = {"nvmlInternalGetExportTable"}  # in no public header
MACROS = """
#define CUDA_HOOK(symbol, base, version, flags, parameters, arguments) CUresult symbol parameters;
#define CUDA_CALL(symbol, parameters) CUresult symbol parameters;
#define NVML_HOOK(symbol, parameters, arguments) nvmlReturn_t symbol parameters;
#define NVML_CALL(symbol, parameters) nvmlReturn_t symbol parameters;
"""
# nvml.h renames old names to new ones; we declare both
PLAIN = "".join(f"#undef {name}\n" for name in NVML if "_v" not in name)


def compiler(program: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    source = folder / "check.c"
    source.write_text(program)
    command = [sys.executable, "-m", "ziglang", "cc", "-std=c11", "-iquote", str(NATIVE / "include"), "-Wno-everything", *flags]
    return subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)


def both(more: str) -> str:
    return f"#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n#include <nvml.h>\n{PLAIN}{MACROS}{more}\n"


@pytest.fixture(autouse=True)
def headers(needs: object) -> None:
    assert callable(needs)
    for folder in (CUDA_13, CUDA_12):
        needs(f"NVIDIA's headers in {folder.name}", here=(folder / "cuda.h").is_file())


def test_no_prototype_of_ours_conflicts_with_nvidias(tmp_path: Path) -> None:
    checked = compiler(both('#include "hooks.def"'), tmp_path, f"-I{CUDA_13}", "-c", "-o", str(tmp_path / "check.o"))

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "wrong",
    [
        "CUDA_CALL(cuMemAlloc_v2, (CUdeviceptr *pointer, int bytes))",
        "CUDA_CALL(cuMemAlloc, (CUdeviceptr *pointer, size_t bytes))",
        "NVML_CALL(nvmlDeviceGetIndex, (nvmlDevice_t device, int *index))",
    ],
)
def test_a_wrong_prototype_would_be_found(tmp_path: Path, wrong: str) -> None:
    checked = compiler(both(wrong), tmp_path, f"-I{CUDA_13}", "-c", "-o", str(tmp_path / "check.o"))

    assert "conflicting types" in checked.stderr


@cache
def header_text(*names: str) -> str:
    return "".join((CUDA_13 / name).read_text() for name in names)


@pytest.mark.parametrize("name", sorted({hook.symbol for hook in CUDA} | set(NVML) - PRIVATE))
def test_every_hooked_name_is_nvidias(name: str) -> None:
    header = header_text(*(["nvml.h"] if name.startswith("nvml") else CUDA_HEADERS))
    twin = name.removesuffix("_ptsz")
    base = re.sub(r"_v\d+$", "", twin)

    declared = rf"\b{twin}\("
    renamed = rf"#define (?:{base}|cuGraphInstantiate)\s+(__CUDA_API_PT(SZ|DS)\()?{twin}\b"
    assert re.search(declared, header) or re.search(renamed, header)


CONSTANTS = """
#include <stddef.h>
#include <stdio.h>
#define SHOW(value) printf(#value " %lld\\n", (long long)(value));
int main(void) {
SHOW(CUDA_SUCCESS) SHOW(CUDA_ERROR_INVALID_VALUE) SHOW(CUDA_ERROR_OUT_OF_MEMORY) SHOW(CUDA_ERROR_NOT_INITIALIZED)
SHOW(CUDA_ERROR_NO_DEVICE) SHOW(CUDA_ERROR_INVALID_DEVICE) SHOW(CUDA_ERROR_NOT_FOUND)
SHOW(CUDA_ERROR_NOT_SUPPORTED) SHOW(CU_GRAPH_NODE_TYPE_MEM_ALLOC) SHOW(CU_STREAM_CAPTURE_STATUS_NONE)
SHOW(CU_MEM_LOCATION_TYPE_DEVICE) SHOW(CU_MEM_LOCATION_TYPE_HOST)
SHOW(CU_MEM_LOCATION_TYPE_HOST_NUMA) SHOW(CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT)
SHOW(CU_MEM_LOCATION_TYPE_DEVICE_LOCALITY_DOMAIN)
SHOW(sizeof(CUmemLocation)) SHOW(offsetof(CUmemAllocationProp, location)) SHOW(offsetof(CUmemLocation, type))
SHOW(offsetof(CUmemLocation, localized.deviceId)) SHOW(sizeof(CUmemAllocationProp))
SHOW(sizeof(CUarrayMapInfo)) SHOW(offsetof(CUarrayMapInfo, memOperationType))
SHOW(offsetof(CUarrayMapInfo, memHandle.memHandle))
SHOW(CU_MEM_OPERATION_TYPE_MAP) SHOW(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) SHOW(CU_MEM_HANDLE_TYPE_FABRIC)
SHOW(CU_IPC_HANDLE_SIZE) SHOW(sizeof(CUipcMemHandle))
SHOW(offsetof(CUgraphNodeParams, type)) SHOW(sizeof(CUstreamCaptureStatus)) SHOW(sizeof(CUmemGenericAllocationHandle))
SHOW(sizeof(CUgraphNodeType)) SHOW(sizeof(CUmemLocationType))
SHOW(CU_POINTER_ATTRIBUTE_MEMORY_TYPE) SHOW(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
SHOW(CU_GET_PROC_ADDRESS_DEFAULT) SHOW(CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)
/* Arrays. */
SHOW(CU_AD_FORMAT_UNSIGNED_INT8) SHOW(CU_AD_FORMAT_UNSIGNED_INT16) SHOW(CU_AD_FORMAT_UNSIGNED_INT32)
SHOW(CU_AD_FORMAT_SIGNED_INT8) SHOW(CU_AD_FORMAT_SIGNED_INT16) SHOW(CU_AD_FORMAT_SIGNED_INT32)
SHOW(CU_AD_FORMAT_HALF) SHOW(CU_AD_FORMAT_FLOAT) SHOW(CUDA_ARRAY3D_LAYERED) SHOW(CUDA_ARRAY3D_CUBEMAP)
SHOW(CUDA_ARRAY3D_SPARSE) SHOW(CUDA_ARRAY3D_DEFERRED_MAPPING)
SHOW(sizeof(CUDA_ARRAY_DESCRIPTOR)) SHOW(offsetof(CUDA_ARRAY_DESCRIPTOR, NumChannels)) SHOW(sizeof(CUDA_ARRAY_DESCRIPTOR_v1))
SHOW(sizeof(CUDA_ARRAY3D_DESCRIPTOR)) SHOW(offsetof(CUDA_ARRAY3D_DESCRIPTOR, Flags))
SHOW(sizeof(CUDA_ARRAY3D_DESCRIPTOR_v1)) SHOW(offsetof(CUDA_ARRAY3D_DESCRIPTOR_v1, Flags))
SHOW(sizeof(CUDA_ARRAY_MEMORY_REQUIREMENTS)) SHOW(offsetof(CUDA_ARRAY_MEMORY_REQUIREMENTS, size))
/* Pools. */
SHOW(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) SHOW(CU_MEMPOOL_ATTR_USED_MEM_CURRENT)
SHOW(CU_MEM_ALLOCATION_TYPE_PINNED) SHOW(CU_MEM_ALLOCATION_TYPE_MANAGED)
SHOW(sizeof(CUmemPoolProps)) SHOW(offsetof(CUmemPoolProps, location)) SHOW(sizeof(CUmemPool_attribute))
/* Graphs. */
SHOW(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) SHOW(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT) SHOW(CU_GRAPH_NODE_TYPE_GRAPH)
SHOW(sizeof(CUDA_MEM_ALLOC_NODE_PARAMS)) SHOW(offsetof(CUDA_MEM_ALLOC_NODE_PARAMS, bytesize))
SHOW(offsetof(CUgraphNodeParams, alloc)) SHOW(sizeof(CUgraphMem_attribute)) SHOW(sizeof(CUstreamCaptureMode))
SHOW(CU_POINTER_ATTRIBUTE_CONTEXT)
SHOW(NVML_SUCCESS) SHOW(NVML_ERROR_UNINITIALIZED) SHOW(NVML_ERROR_INVALID_ARGUMENT) SHOW(NVML_ERROR_NOT_FOUND)
SHOW(NVML_ERROR_INSUFFICIENT_SIZE) SHOW(NVML_ERROR_FUNCTION_NOT_FOUND) SHOW(NVML_ERROR_UNKNOWN)
SHOW(NVML_DEVICE_UUID_V2_BUFFER_SIZE) SHOW(NVML_UUID_TYPE_ASCII) SHOW(NVML_UUID_TYPE_BINARY)
SHOW(sizeof(CUresult)) SHOW(sizeof(CUdevice)) SHOW(sizeof(CUdeviceptr)) SHOW(sizeof(CUdeviceptr_v1)) SHOW(sizeof(cuuint64_t))
SHOW(sizeof(CUpointer_attribute)) SHOW(sizeof(CUdriverProcAddressQueryResult)) SHOW(sizeof(CUuuid)) SHOW(sizeof(CUcontext))
SHOW(sizeof(nvmlReturn_t)) SHOW(sizeof(nvmlDevice_t)) SHOW(sizeof(nvmlUUID_t)) SHOW(sizeof(nvmlMemory_t))
SHOW(sizeof(nvmlMemory_v2_t)) SHOW(sizeof(nvmlProcessInfo_v1_t))
SHOW(sizeof(nvmlProcessInfo_v2_t)) SHOW(sizeof(nvmlProcessInfo_t))
}
"""


def test_our_types_and_constants_are_nvidias(tmp_path: Path) -> None:
    def shown(include: str, *flags: str) -> str:
        program = tmp_path / "shown"
        made = compiler(include + CONSTANTS, tmp_path, *flags, "-o", str(program))
        assert made.returncode == 0, made.stderr
        return subprocess.run([program], capture_output=True, text=True, check=True).stdout

    ours = shown('#include "cuda_abi.h"\n#include "nvml_abi.h"\n')

    assert ours == shown("#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n#include <nvml.h>\n", f"-I{CUDA_13}")


@cache
def typedefs() -> dict[tuple[str, int, int], int]:
    """(base, version, flags) of NVIDIA's table of function types, 12 and 13 together; the n-th version is the n-th suffix."""
    found: set[tuple[str, int, int]] = set()
    for folder in (CUDA_12, CUDA_13):
        text = "".join((folder / f"cuda{part}Typedefs.h").read_text() for part in ("", "GL", "VDPAU"))
        for base, version, twin in re.findall(r"\*PFN_(cu\w+?)_v(\d+)(_ptsz|_ptds)?\)", text):
            found.add((base, int(version), 2 if twin else 0))
    versions: dict[tuple[str, int], list[int]] = {}
    for base, version, flags in sorted(found):
        versions.setdefault((base, flags), []).append(version)
    return {(base, v, flags): rank for (base, flags), known in versions.items() for rank, v in enumerate(known)}


@pytest.mark.parametrize("hook", CUDA, ids=lambda hook: hook.symbol)
def test_name_and_version_are_nvidias_and_stand_for_that_symbol(hook: CudaHook) -> None:
    ranks = typedefs()
    rank = ranks[hook.base, hook.version, hook.flags]
    newest = max(r for (base, _, flags), r in ranks.items() if (base, flags) == (hook.base, hook.flags))
    suffix = re.search(r"_v(\d+)$", hook.symbol.removesuffix("_ptsz"))
    number = int(suffix[1]) if suffix else 1

    # the newest version is the newest suffix: aligned from there, as a name may have begun with a suffix
    newest_number = max(
        int(m[1]) if (m := re.search(r"_v(\d+)$", other.symbol.removesuffix("_ptsz"))) else 1
        for other in CUDA
        if (other.base, other.flags) == (hook.base, hook.flags)
    )
    assert number == newest_number - (newest - rank)
    assert hook.symbol.endswith("_ptsz") == (hook.flags == 2)
