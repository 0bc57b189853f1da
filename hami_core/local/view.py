"""What is on this machine now, for people and programs that look: devices, holdings, the queue. Changes nothing but the dead.

Holdings whose processes are gone are removed in passing if nobody is deciding at the moment; looking never waits for a lock.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core.local import holdings, locks, procfs, queue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hami_core.local.holdings import Found
    from hami_core.local.host import Host
    from hami_core.local.queue import Ticket
    from hami_core.model import Holding, Share

    Used = Mapping[str, Mapping[tuple[str, int], int]]  # kind -> (device, pid) -> MiB; only kinds of which a driver says it


@frozen
class ShareView:
    """One share, and what its container's processes have of the device. ``used`` None: the driver does not say."""

    container: str
    kind: str
    device: str
    memory: int  # MiB
    cores: int
    used: int | None  # MiB as the driver counts it, with what the driver itself needs
    pids: tuple[int, ...]


@frozen
class HoldingView:
    """One pod that runs here. ``owner_is_running`` False: hami was killed, and the workload lives on. 0: the record is lost."""

    uid: str
    name: str
    namespace: str
    age_s: int
    owner: int
    owner_is_running: bool
    shares: tuple[ShareView, ...]


@frozen
class WaitingView:
    """One pod in the queue."""

    uid: str
    name: str
    namespace: str
    age_s: int
    owner: int
    why: str  # when it joined


@frozen
class Ps:
    """Who holds and who waits. ``faults``: what could not be read or asked, one sentence each."""

    holdings: tuple[HoldingView, ...]
    waiting: tuple[WaitingView, ...]
    faults: tuple[str, ...]


@frozen
class DeviceView:
    """One device, what it offers in one splitting, and what is free of it. Units: tasks, MiB, percent."""

    kind: str
    splitting: str
    device: str
    index: int
    model: str
    sick: str  # why it cannot be used; empty: healthy
    slots: int
    slots_free: int
    memory: int
    memory_free: int
    cores: int
    cores_free: int
    holders: tuple[str, ...]  # names of pods


def ps(host: Host) -> Ps:
    """Who holds what and who waits, oldest first. Needs no numpy."""
    now = int(time.time())
    found = _live(host)
    used, faults = _usage(host, {share.kind for one in found if one.holding for share in one.holding.shares})
    views = [_holding(one, one.holding, used, now) for one in found if one.holding]
    return Ps(
        holdings=tuple(sorted(views, key=lambda view: (-view.age_s, view.uid))),
        waiting=tuple(_waiting(one.ticket, now) for one in queue.waiting(host.folder) if one.ticket),
        faults=tuple(one.fault for one in found if one.fault) + faults,
    )


def _live(host: Host) -> tuple[Found, ...]:
    with locks.locked_if_free(host.folder.lock) as ours:
        if ours:
            return holdings.heal(host.folder)
    return holdings.find(host.folder)


def _usage(host: Host, held: Iterable[str]) -> tuple[Used, tuple[str, ...]]:
    used: dict[str, Mapping[tuple[str, int], int]] = {}
    faults: list[str] = []
    for kind in sorted(set(held) & set(host.inventories)):
        answers = host.usage(kind)
        faults += [str(failure) for failure in answers.failures]
        for usage in answers.by_plugin.values():
            by_process: defaultdict[tuple[str, int], int] = defaultdict(int)
            for use in usage.processes:
                by_process[use.device, use.pid] += use.memory or 0
            used[kind] = by_process
    return used, tuple(faults)


def _holding(found: Found, holding: Holding, used: Used, now: int) -> HoldingView:
    record = found.record
    leaders = {group.container: group.leader for group in record.groups} if record else {}
    pids = {container: procfs.members(leader) for container, leader in leaders.items()}
    return HoldingView(
        uid=holding.uid,
        name=holding.name,
        namespace=holding.namespace,
        age_s=max(now - record.since, 0) if record else 0,
        owner=record.owner.pid if record else 0,
        owner_is_running=record is not None and procfs.is_running(record.owner),
        shares=tuple(_share(share, pids.get(share.container, ()), used) for share in holding.shares),
    )


def _share(share: Share, pids: tuple[int, ...], used: Used) -> ShareView:
    by_process = used.get(share.kind)
    return ShareView(
        container=share.container,
        kind=share.kind,
        device=share.device,
        memory=share.memory,
        cores=share.cores,
        used=None if by_process is None else sum(by_process.get((share.device, pid), 0) for pid in pids),
        pids=pids,
    )


def _waiting(ticket: Ticket, now: int) -> WaitingView:
    age = max(now - ticket.since, 0)
    return WaitingView(ticket.uid, ticket.name, ticket.namespace, age, ticket.pid, ticket.why)


def devices(host: Host) -> tuple[DeviceView, ...]:
    """Every device in every splitting, in the order of kinds and of the drivers' own tools."""
    from hami_core.local import admission  # numpy

    held = admission.held(_live(host))
    views = []
    for (kind, splitting), table in admission.ledger(host, held).tables.items():
        inventory = host.inventories.get(kind)
        described = {device.id: device for device in inventory.devices} if inventory else {}
        for w, name in enumerate(table.devices[0]):
            views.append(
                DeviceView(
                    kind=kind,
                    splitting=splitting,
                    device=name,
                    index=described[name].index,
                    model=described[name].model,
                    sick=described[name].sick,
                    slots=int(table.slots[0, w]),
                    slots_free=int(table.slots[0, w] - table.slots_used[0, w]),
                    memory=int(table.memory[0, w]),
                    memory_free=int(table.memory[0, w] - table.memory_used[0, w]),
                    cores=int(table.cores[0, w]),
                    cores_free=int(table.cores[0, w] - table.cores_used[0, w]),
                    holders=tuple(one.name for one in held if any(share.device == name for share in one.shares)),
                )
            )
    return tuple(views)
