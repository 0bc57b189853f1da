"""A small NVML that stands in for pynvml: GPUs as values, faults by function. What is tested is not here."""

# ruff: noqa: N802  # the names are NVML's

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import pynvml
from attrs import define, field

from hami_nvidia.nvml import Nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIB = 1 << 20
NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
INVALID_ARGUMENT = pynvml.NVML_ERROR_INVALID_ARGUMENT
LOST = pynvml.NVML_ERROR_GPU_IS_LOST
SWITCH = 2
WHOLE = 0xFFFFFFFF


class Record:
    """A struct of NVML."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@define(eq=False)
class FakeGpu:
    """One GPU; itself the handle. ``links``: what each NVLink ends at, a bus address, SWITCH, or None for one that is down."""

    index: int
    bus: str
    links: tuple[Any, ...] = ()
    remapped: tuple[int, int, int, int] = (0, 0, 0, 0)
    retired_pending: int = 0
    recovery: int | None = 0
    events: int = 0x1 | 0x2 | 0x8
    mig: tuple[int, int] | None = None  # MIG mode now, and after the next reset; None: the chip has none
    instances: tuple[tuple[str, int], ...] = ()  # MIG: (uuid, id of the GPU instance)

    @property
    def uuid(self) -> str:
        return f"GPU-{self.index}"


def gpus(count: int, *links: tuple[Any, ...]) -> tuple[FakeGpu, ...]:
    """So many GPUs, on bus addresses 01, 02 and so on."""
    return tuple(FakeGpu(n, address(n), links[n] if links else ()) for n in range(count))


def address(index: int) -> str:
    return f"00000000:{index + 1:02X}:00.0"


@define(eq=False)
class FakeNvml:
    """What pynvml offers, as far as hami asks. ``refuses``: function, or (function, index) -> code; ``hangs`` alike."""

    gpus: tuple[FakeGpu, ...]
    refuses: dict[Any, int] = field(factory=dict)
    hangs: set[Any] = field(factory=set)
    ancestors: Mapping[tuple[int, int], int] = field(factory=dict)
    peers: Mapping[tuple[int, int, int], int] = field(factory=dict)
    happened: deque[Any] = field(factory=deque)
    registered: dict[int, int] = field(factory=dict)
    sets: int = 0
    calls: list[str] = field(factory=list)
    fabrics: Mapping[int, tuple[bytes, int]] = field(factory=dict)
    answers: dict[str, Callable[..., Any]] = field(factory=dict)

    def __getattr__(self, name: str) -> Any:
        function = self.answers.get(name) or getattr(type(self), f"_{name}", None)
        if function is None or not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            about = [(name, one.index) for one in arguments if isinstance(one, FakeGpu)]
            about += [(name, one) for one in arguments[:1] if isinstance(one, int)]
            if self.hangs.intersection([name, *about]):
                threading.Event().wait()
            for key in (name, *about):
                if key in self.refuses:
                    raise pynvml.NVMLError(self.refuses[key])
            return function(self, *arguments)

        return call

    def _nvmlInit(self) -> None: ...

    def _nvmlShutdown(self) -> None: ...

    def _nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def _nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self.gpus[index]

    def _nvmlDeviceGetUUID(self, gpu: Any) -> str:
        return str(gpu.uuid)

    def _nvmlDeviceGetPciInfo(self, gpu: FakeGpu) -> Record:
        return Record(busId=gpu.bus)

    def _nvmlDeviceGetName(self, gpu: FakeGpu) -> bytes:
        return b"Tesla T4"

    def _nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> Record:
        return Record(total=15360 * MIB, used=100 * MIB)

    def _nvmlDeviceGetCudaComputeCapability(self, gpu: FakeGpu) -> tuple[int, int]:
        return 7, 5

    def _nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        if gpu.mig is None:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        return list(gpu.mig)

    # --- Links

    def _nvmlDeviceGetTopologyCommonAncestor(self, a: FakeGpu, b: FakeGpu) -> int:
        return self.ancestors.get((a.index, b.index), 50)

    def _nvmlDeviceGetP2PStatus(self, a: FakeGpu, b: FakeGpu, capability: int) -> int:
        return self.peers.get((a.index, b.index, capability), 0)

    def _nvmlDeviceGetNvLinkState(self, gpu: FakeGpu, number: int) -> int:
        if not gpu.links:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        if number >= len(gpu.links):
            raise pynvml.NVMLError(INVALID_ARGUMENT)
        return int(gpu.links[number] is not None)

    def _nvmlDeviceGetNvLinkRemoteDeviceType(self, gpu: FakeGpu, number: int) -> int:
        return SWITCH if gpu.links[number] == SWITCH else 0

    def _nvmlDeviceGetNvLinkRemotePciInfo(self, gpu: FakeGpu, number: int) -> Record:
        return Record(busId="00000000:C1:00.0" if gpu.links[number] == SWITCH else gpu.links[number])

    def _nvmlDeviceGetGpuFabricInfoV(self, gpu: FakeGpu, reference: Any) -> int:
        if gpu.index not in self.fabrics:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        info = reference._obj
        cluster, info.cliqueId = self.fabrics[gpu.index]
        info.state = 3
        for number, byte in enumerate(cluster):
            info.clusterUuid[number] = byte
        return 0

    # --- Health

    def _nvmlDeviceGetRemappedRows(self, gpu: FakeGpu) -> tuple[int, int, int, int]:
        return gpu.remapped

    def _nvmlDeviceGetRetiredPagesPendingStatus(self, gpu: FakeGpu) -> int:
        return gpu.retired_pending

    def _nvmlDeviceGetFieldValues(self, gpu: FakeGpu, fields: list[int]) -> list[Record]:
        refused = gpu.recovery is None
        return [Record(nvmlReturn=NOT_SUPPORTED if refused else 0, value=Record(uiVal=gpu.recovery))]

    def _nvmlEventSetCreate(self) -> object:
        self.sets += 1
        self.registered.clear()
        return object()

    def _nvmlEventSetFree(self, _: object) -> None: ...

    def _nvmlDeviceGetSupportedEventTypes(self, gpu: FakeGpu) -> int:
        return gpu.events

    def _nvmlDeviceRegisterEvents(self, gpu: FakeGpu, types: int, _: object) -> None:
        self.registered[gpu.index] = types

    def _nvmlEventSetWait(self, _: object, milliseconds: int) -> Record:
        if not self.happened:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
        found = self.happened.popleft()
        if isinstance(found, int):
            raise pynvml.NVMLError(found)
        return found  # type: ignore[no-any-return]

    def _nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:
        return len(gpu.instances)

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, number: int) -> Record:
        uuid, instance = gpu.instances[number]
        return Record(uuid=uuid, instance=instance)

    def _nvmlDeviceGetGpuInstanceId(self, mig: Record) -> int:
        return int(vars(mig)["instance"])

    def event(self, index: int, type_: int, data: int = 0, gi: int = WHOLE, ci: int = WHOLE) -> None:
        """Something happens on a GPU."""
        device = self.gpus[index]
        self.happened.append(Record(device=device, eventType=type_, eventData=data, gpuInstanceId=gi, computeInstanceId=ci))

    # --- Use, by ``answers`` of the test

    @property
    def nvml(self) -> Nvml:
        """The door that hami's modules ask through."""
        return Nvml(self)
