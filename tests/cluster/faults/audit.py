"""The checker: what was bound and what has ended, in the order in which the API server did it, judged afterwards.

It counts for itself, not with the scheduler's ledger: two readings of the same rules, so that one mistake does not hide
another. All pure. Findings are sentences; none means that all is well.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from hami_core import names, wire
from hami_core.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hami_core.model import NodeDevices, Share

MIB = 1 << 20
Where = tuple[str, str]  # node, device


# --- What there is, and what happens to it ---------------------------------------------------------------------------


@frozen
class Room:
    """What one device has, or what is taken of it. Units: tasks, MiB, percent."""

    slots: int = 0
    memory: int = 0
    cores: int = 0

    def __add__(self, other: Room) -> Room:
        return Room(self.slots + other.slots, self.memory + other.memory, self.cores + other.cores)

    def __sub__(self, other: Room) -> Room:
        return Room(self.slots - other.slots, self.memory - other.memory, self.cores - other.cores)

    def most(self, other: Room) -> Room:
        """The larger of each number."""
        return Room(max(self.slots, other.slots), max(self.memory, other.memory), max(self.cores, other.cores))


@frozen
class Granted:
    """A pod was bound with a grant."""

    uid: str
    pod: str  # namespace/name
    node: str
    shares: tuple[Share, ...]


@frozen
class Ended:
    """A pod has reached a terminal phase, or is gone."""

    uid: str


Step = Granted | Ended


def room(devices: Iterable[NodeDevices], node: str) -> dict[Where, Room]:
    """What a node offers in shares."""
    return {
        (node, one.device): Room(one.slots, one.memory, one.cores)
        for published in devices
        for _, capacities in published.capacities
        for one in capacities
    }


def taken(shares: Iterable[Share]) -> dict[str, Room]:
    """What one pod takes of each device: of the phases of its life, the one that takes most."""
    phases: defaultdict[str, defaultdict[int, Room]] = defaultdict(lambda: defaultdict(Room))
    for share in shares:
        for phase in share.phases:
            phases[share.device][phase] += Room(1, share.memory, share.cores)
    most: dict[str, Room] = {}
    for device, by_phase in phases.items():
        for one in by_phase.values():
            most[device] = most.get(device, Room()).most(one)
    return most


# --- No device beyond its room, no grant twice -----------------------------------------------------------------------


@define
class _Device:
    """One device while the history is replayed."""

    used: Room = Room()
    holders: dict[str, tuple[Room, bool]] = field(factory=dict)  # uid -> what it takes, and whether alone


def replay(steps: Iterable[Step], there: Mapping[Where, Room]) -> list[str]:
    """Every step by which a device was handed out beyond its room, or a pod was granted twice."""
    devices: defaultdict[Where, _Device] = defaultdict(_Device)
    held: dict[str, Granted] = {}
    granted: set[str] = set()
    found: list[str] = []
    for number, step in enumerate(steps):
        if isinstance(step, Ended):
            _release(devices, held.pop(step.uid, None))
            continue
        if step.uid in granted:
            found.append(f"step {number}: {step.pod} is granted a second time")
            continue
        granted.add(step.uid)
        held[step.uid] = step
        found += (f"step {number}: {step.pod} on {step.node}: {fault}" for fault in _hold(devices, step, there))
    return found


def _release(devices: Mapping[Where, _Device], was: Granted | None) -> None:
    for device in {share.device for share in was.shares} if was else ():
        place = devices[was.node, device] if was else _Device()
        amount, _ = place.holders.pop(was.uid if was else "")
        place.used -= amount


def _hold(devices: Mapping[Where, _Device], step: Granted, there: Mapping[Where, Room]) -> Iterator[str]:
    alone = {share.device for share in step.shares if share.exclusive}
    for device, amount in taken(step.shares).items():
        place = devices[step.node, device]
        place.holders[step.uid] = (amount, device in alone)
        place.used += amount
        yield from _faults(device, place, there.get((step.node, device)))


def _faults(device: str, place: _Device, has: Room | None) -> Iterator[str]:
    if has is None:
        yield f"the node has no device {device}"
        return
    for name in ("slots", "memory", "cores"):
        if getattr(place.used, name) > getattr(has, name):
            yield f"{device} has {getattr(has, name)} {name}, {getattr(place.used, name)} are granted"
    if len(place.holders) > 1 and any(alone for _, alone in place.holders.values()):
        yield f"{device} is held by one that has it for itself, and by others"


# --- Pods as they are: a grant is what a Binding wrote, and nothing else ---------------------------------------------


def is_over(pod: Mapping[str, Any]) -> bool:
    """Whether it holds nothing any more."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def grant(pod: Mapping[str, Any]) -> Granted | None:
    """What a bound pod was granted. None: it is not bound, or has no grant. WireError: it cannot be read, or names another."""
    meta, node = pod["metadata"], pod.get("spec", {}).get("nodeName", "")
    found: list[Share] = []
    for key, text in _grants(meta.get("annotations")).items():
        container = key.removeprefix(names.grant_key(""))
        owner = f"grant {names.grant_id(meta['uid'], container)}"
        if owner not in text.split("\n")[:2]:
            raise WireError(key, "line 2", f"it is not {owner!r}")
        found += wire.shares(text, container, key)
    return Granted(meta["uid"], f"{meta['namespace']}/{meta['name']}", node, tuple(found)) if node and found else None


def _grants(annotations: Mapping[str, str] | None) -> dict[str, str]:
    return {key: text for key, text in (annotations or {}).items() if key.startswith(names.grant_key(""))}


@frozen
class Bound:
    """A Binding that was carried out; or may have been: not ``certain`` where the server could not answer any more."""

    user: str
    uid: str
    pod: str
    node: str
    annotations: Mapping[str, str]
    certain: bool = True


def doubles(bindings: Iterable[Bound]) -> list[str]:
    """Pods for which more than one Binding was carried out."""
    count: defaultdict[str, list[str]] = defaultdict(list)
    for one in (binding for binding in bindings if binding.certain):
        count[one.uid].append(f"{one.pod} on {one.node}")
    return [f"{uid}: {len(all_)} Bindings: {', '.join(all_)}" for uid, all_ in count.items() if len(all_) > 1]


def unfounded(pods: Iterable[Mapping[str, Any]], bindings: Iterable[Bound], user: str) -> list[str]:
    """Pods whose node or grant is not that of this user's Binding."""
    written: defaultdict[str, list[Bound]] = defaultdict(list)
    for one in bindings:
        if one.user == user:
            written[one.uid].append(one)
    return [fault for pod in pods if (fault := _unfounded(pod, written[pod["metadata"]["uid"]]))]


def _unfounded(pod: Mapping[str, Any], written: Sequence[Bound]) -> str:
    meta, grants, node = pod["metadata"], _grants(pod["metadata"].get("annotations")), pod.get("spec", {}).get("nodeName", "")
    certain = [one for one in written if one.certain]
    if not certain and not grants:
        return ""
    if any((node, grants) == (one.node, _grants(one.annotations)) for one in certain or written):
        return ""
    nodes = ", ".join(one.node for one in written) or "nowhere"
    return f"{meta['namespace']}/{meta['name']} on {node or 'no node'} is not what its Bindings say, to {nodes}"


# --- Leaks: the scheduler's books against the pods -------------------------------------------------------------------

_SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ALLOCATED = "hami_gpu_memory_allocated_bytes"
_CORES = "hami_gpu_core_allocated_ratio"
_SLOTS = "hami_gpu_shared_count"


def books(page: str) -> dict[Where, Room]:
    """What the scheduler counts as taken, out of its page of devices; idle ones are left out."""
    found: defaultdict[Where, dict[str, float]] = defaultdict(dict)
    for name, labels, value in _SAMPLE.findall(page):
        label = dict(_LABEL.findall(labels))
        found[label["node"], label["device_uuid"]][name] = float(value)
    counted = {
        where: Room(int(one[_SLOTS]), round(one[_ALLOCATED] / MIB), round(one[_CORES] * 100)) for where, one in found.items()
    }
    return {where: one for where, one in counted.items() if one != Room()}


def live(pods: Iterable[Mapping[str, Any]], there: Mapping[Where, Room]) -> dict[Where, Room]:
    """What the pods that are there hold, by their own annotations. Who has a device for itself has all its slots."""
    total: defaultdict[Where, Room] = defaultdict(Room)
    for one in (grant(pod) for pod in pods if not is_over(pod)):
        for device, amount in taken(one.shares).items() if one else ():
            where = (one.node, device) if one else ("", "")
            alone = one is not None and any(share.exclusive for share in one.shares if share.device == device)
            total[where] += amount.most(Room(there.get(where, Room()).slots)) if alone else amount
    return dict(total)


def leaks(counted: Mapping[Where, Room], held: Mapping[Where, Room]) -> list[str]:
    """Devices of which the books say something else than the pods."""
    both = {where: (counted.get(where, Room()), held.get(where, Room())) for where in sorted({*counted, *held})}
    return [
        f"{device} on {node}: the books say {one}, the pods hold {other}"
        for (node, device), (one, other) in both.items()
        if one != other
    ]


def stuck(pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Pods that are not bound, for when all of them could be."""
    return [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']} is not bound"
        for pod in pods
        if not pod.get("spec", {}).get("nodeName") and not is_over(pod)
    ]
