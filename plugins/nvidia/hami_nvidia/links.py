"""How the GPUs of a node are connected: NVLink, PCIe, and whether one may read the other's memory. One ``Link`` for each pair.

The words are those of ``nvidia-smi topo -m``. The score is that of NVIDIA's go-gpuallocator, higher for what is nearer, so that
users who know it from there get the same order of sets:

    PCIe     same board 60, one switch 50 (PIX), several 40 (PXB), host bridge 30 (PHB), one NUMA node 20 (NODE), else 10 (SYS)
    NVLink   100 more for each lane between the two

On machines with NVSwitch every lane ends at a switch, and go-gpuallocator sees PCIe alone. Here a lane into the fabric counts
as a lane to every GPU that has lanes into the same fabric. A node is one fabric (on a DGX-2 two GPUs may share no switch and
still reach each other through two) unless the driver names fabrics, by cluster and clique, and they differ. Where the driver
says that peers may not use NVLink, as while the fabric manager is down, lanes are shown and do not count.

Reading comes first and judging after it; every call may be missing, refused, or answered differently by the two ends.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_core.model import Link
from hami_nvidia.nvml import INVALID_ARGUMENT, MAX_LINKS, Refused, pci_address, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_nvidia.nvml import Gpu, Nvml

INTERNAL, SINGLE, MULTIPLE, HOSTBRIDGE, NODE, SYSTEM = range(0, 60, 10)  # nvmlGpuTopologyLevel_t
WORDS = {INTERNAL: "PIX", SINGLE: "PIX", MULTIPLE: "PXB", HOSTBRIDGE: "PHB", NODE: "NODE", SYSTEM: "SYS"}
UNKNOWN = "N/A"
SCORES = {INTERNAL: 60, SINGLE: 50, MULTIPLE: 40, HOSTBRIDGE: 30, NODE: 20, SYSTEM: 10}
LANE = 100  # what each NVLink adds

REMOTE_SWITCH = 2  # nvmlIntNvLinkDeviceType_t
COMPLETED = 3  # nvmlGpuFabricState_t: the GPU belongs to a fabric, and which one is known
PEER_READ, PEER_NVLINK = 0, 2  # nvmlGpuP2PCapsIndex_t
PEER_OK = 0  # nvmlGpuP2PStatus_t


@frozen
class Lanes:
    """Where the NVLinks that are up at one GPU end."""

    to: Mapping[str, int]  # bus -> lanes that end at the GPU there
    to_switches: int = 0
    fabric: str = ""  # cluster and clique; empty: the driver names no fabric


@frozen
class Pair:
    """What the driver says of two GPUs. None: it does not say."""

    ancestor: int | None  # nvmlGpuTopologyLevel_t: the nearest thing on PCIe that both hang from
    peer: bool | None = None  # one may read the other's memory directly
    peer_by_nvlink: bool | None = None


def between(nvml: Nvml, gpus: Sequence[Gpu], numa: Mapping[str, int | None]) -> tuple[Link, ...]:
    """The links of these GPUs. ``numa``: uuid -> node, which tells near from far where PCIe is not told (vGPU, WSL)."""
    if len(gpus) < 2:
        return ()
    lanes = {gpu.uuid: read_lanes(nvml, gpu) for gpu in gpus}
    found = (
        link(a, b, lanes[a.uuid], lanes[b.uuid], read_pair(nvml, a, b, numa.get(a.uuid), numa.get(b.uuid)))
        for a, b in combinations(gpus, 2)
    )
    return tuple(one for one in found if one is not None)


# --- Judging: pure. ---------------------------------------------------------------------------------------------------


def link(a: Gpu, b: Gpu, of_a: Lanes | None, of_b: Lanes | None, pair: Pair) -> Link | None:
    """How two GPUs are connected; ``None`` for lanes: that end does not say. None: nothing is known of the two."""
    lanes = lanes_between(a.bus, b.bus, of_a, of_b)
    if not lanes and pair.ancestor is None and pair.peer is None:
        return None
    near = 0 if pair.ancestor is None else SCORES.get(pair.ancestor, 0)
    first, second = sorted((a.uuid, b.uuid))
    return Link(
        a=first,
        b=second,
        type=f"NV{lanes}" if lanes else WORDS.get(pair.ancestor, UNKNOWN) if pair.ancestor is not None else UNKNOWN,
        lanes=lanes,
        score=near + (0 if pair.peer_by_nvlink is False else LANE * lanes),
        peer=pair.peer,
    )


def lanes_between(bus_a: str, bus_b: str, of_a: Lanes | None, of_b: Lanes | None) -> int:
    """Lanes that both ends have up, directly and through a fabric; where only one end can be read, what that one says."""
    if of_a is None or of_b is None:
        return (of_a.to.get(pci_address(bus_b), 0) if of_a else 0) or (of_b.to.get(pci_address(bus_a), 0) if of_b else 0)
    direct = min(of_a.to.get(pci_address(bus_b), 0), of_b.to.get(pci_address(bus_a), 0))
    apart = of_a.fabric and of_b.fabric and of_a.fabric != of_b.fabric
    return direct + (0 if apart else min(of_a.to_switches, of_b.to_switches))


# --- Reading ----------------------------------------------------------------------------------------------------------


def read_lanes(nvml: Nvml, gpu: Gpu) -> Lanes | None:
    """The NVLinks of one GPU that are up. None: the driver does not tell of any."""
    states = _states(nvml, gpu)
    if not states:
        return None
    ends = [_end(nvml, gpu, number) for number, up in enumerate(states) if up]
    direct = Counter(end for end in ends if isinstance(end, str))
    return Lanes(dict(direct), to_switches=ends.count(REMOTE_SWITCH), fabric=_fabric(nvml, gpu))


def _states(nvml: Nvml, gpu: Gpu) -> list[bool]:
    """Which links are up, by number; empty: this GPU has none, or says nothing of them."""
    states: list[bool] = []
    for number in range(MAX_LINKS):
        try:
            states.append(bool(nvml.ask("nvmlDeviceGetNvLinkState", gpu.handle, number)))
        except Refused as error:
            if error.code == INVALID_ARGUMENT or not states:
                break  # past the last one, or a GPU without
            states.append(False)
    return states


def _end(nvml: Nvml, gpu: Gpu, number: int) -> str | int | None:
    """REMOTE_SWITCH, or the address of what is there. None: it does not say. Whether that is a GPU the addresses tell."""
    if nvml.optional("nvmlDeviceGetNvLinkRemoteDeviceType", gpu.handle, number) == REMOTE_SWITCH:
        return REMOTE_SWITCH
    info = nvml.optional("nvmlDeviceGetNvLinkRemotePciInfo", gpu.handle, number)
    return pci_address(text(info.busId)) if info else None


def _fabric(nvml: Nvml, gpu: Gpu) -> str:
    """The fabric that the driver names: machines that share one across nodes (NVL72) have several cliques."""
    info = nvml.fabric(gpu.handle)
    if info is None or info.state != COMPLETED:
        return ""
    cluster = bytes(info.clusterUuid)
    return f"{cluster.hex()}/{info.cliqueId}" if any(cluster) else ""


def read_pair(nvml: Nvml, a: Gpu, b: Gpu, numa_a: int | None, numa_b: int | None) -> Pair:
    """What the driver says of two GPUs; without a word on PCIe, what their NUMA nodes say."""
    ancestor = nvml.optional("nvmlDeviceGetTopologyCommonAncestor", a.handle, b.handle)
    if ancestor is None and numa_a is not None and numa_b is not None:
        ancestor = NODE if numa_a == numa_b else SYSTEM
    return Pair(ancestor, _peer(nvml, a, b, PEER_READ), _peer(nvml, a, b, PEER_NVLINK))


def _peer(nvml: Nvml, a: Gpu, b: Gpu, capability: int) -> bool | None:
    """Whether both may do this to each other. None: neither direction is told."""
    ways: list[Any] = [
        nvml.optional("nvmlDeviceGetP2PStatus", one.handle, other.handle, capability) for one, other in ((a, b), (b, a))
    ]
    told = [way == PEER_OK for way in ways if way is not None]
    return all(told) if told else None
