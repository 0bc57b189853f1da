"""What is on this machine now, for people and programs that look: devices, holdings, the queue. Changes nothing but the dead.

Holdings whose processes are gone are removed in passing if nobody is deciding at the moment; looking never waits for a lock.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import names
from hami_core.ledger import claims
from hami_core.local import holdings, locks, pods, procfs, queue, use
from hami_core.plugins import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hami_core.local.holdings import Found
    from hami_core.local.host import Host
    from hami_core.local.queue import Waiting
    from hami_core.local.use import Uses
    from hami_core.model import Account, Capacity, Holding, Share

STARTING, RUNNING, STOPPED, STOPPING, ORPHANED = "starting", "running", "stopped", "stopping", "orphaned"


@frozen
class ProcessView:
    """One process of a container, and what it has of one device."""

    pid: int
    command: str
    charged: int | None  # bytes, by the books of enforcement; None: there are none
    driver: int | None  # MiB as the driver counts it, with what the driver itself needs; None: it does not say


@frozen
class ShareView:
    """One share, and what its container's processes have of the device."""

    container: str
    kind: str
    device: str
    memory: int  # MiB
    cores: int
    used: int | None  # MiB as the driver counts it, of all processes; None: it does not say
    charged: int | None  # bytes, by the books of enforcement; None: there are none, or they cannot be read
    peak: int | None  # bytes, the most so far
    refused: int | None  # allocations that the limit refused
    pids: tuple[int, ...]
    processes: tuple[ProcessView, ...]


@frozen
class HoldingView:
    """One pod that runs here. ``owner_is_running`` False: hami was killed, and the workload lives on. 0: the record is lost.

    ``state``: STARTING, no process yet or none between two runs; STOPPED, by a signal; STOPPING, it was asked to end; ORPHANED,
    its hami was killed; else RUNNING.
    """

    uid: str
    name: str
    namespace: str
    state: str
    age_s: int
    owner: int
    owner_is_running: bool
    shares: tuple[ShareView, ...]


@frozen
class WaitingView:
    """One pod in the queue. ``position``: from 1, among those who want a kind that it wants."""

    uid: str
    name: str
    namespace: str
    position: int
    age_s: int
    owner: int
    why: str  # now


@frozen
class DeviceTotal:
    """One device: what is granted of it, and what is used by whomever. Units: tasks, MiB, percent of time."""

    kind: str
    device: str
    index: int
    model: str
    slots: int
    slots_used: int
    memory: int
    granted: int
    used: int | None  # as the driver counts it; None: it does not say
    utilisation: int | None


@frozen
class Ps:
    """Who holds and who waits. ``faults``: what could not be read or asked, one sentence each."""

    devices: tuple[DeviceTotal, ...]
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
    uses = use.take(host, found)
    views = [_holding(host, one, one.holding, uses, now) for one in found if one.holding]
    waiting = queue.waiting(host.folder)
    totals, silent = _totals(host, found, uses)
    return Ps(
        devices=totals,
        holdings=tuple(sorted(views, key=lambda view: (-view.age_s, view.uid))),
        waiting=tuple(_waiting(one, waiting, now) for one in waiting if one.ticket),
        faults=tuple(one.fault for one in found if one.fault) + uses.faults + silent,
    )


def _live(host: Host) -> tuple[Found, ...]:
    with locks.locked_if_free(host.folder.lock) as ours:
        if ours:
            return holdings.heal(host.folder)
    return holdings.find(host.folder)


def _holding(host: Host, found: Found, holding: Holding, uses: Uses, now: int) -> HoldingView:
    record = found.record
    pids = _pids(found, holding, uses)
    running = record is not None and procfs.is_running(record.owner)
    return HoldingView(
        uid=holding.uid,
        name=holding.name,
        namespace=holding.namespace,
        state=_state(host, found, [uses.everybody[pid].is_stopped for each in pids.values() for pid in each], running),
        age_s=max(now - record.since, 0) if record else 0,
        owner=record.owner.pid if record else 0,
        owner_is_running=running,
        shares=tuple(_share(found.uid, share, pids.get(share.container, ()), uses) for share in holding.shares),
    )


def _pids(found: Found, holding: Holding, uses: Uses) -> dict[str, tuple[int, ...]]:
    """Container -> its processes: those of its group, and those that its books name, wherever they went."""
    groups = found.record.groups if found.record else ()
    among = tuple(uses.everybody.values())
    pids = {group.container: set(procfs.members(group.leader, among)) for group in groups}
    for share in holding.shares:
        account = uses.accounts.get((share.kind, names.grant_id(found.uid, share.container)))
        pids.setdefault(share.container, set()).update(_charged(account, uses))
    return {container: tuple(sorted(found)) for container, found in pids.items()}


def _charged(account: Account | None, uses: Uses) -> Iterable[int]:
    for process in account.processes if account else ():
        stat = uses.everybody.get(process.pid)
        if stat is not None and stat.is_running and stat.identity.start == process.start:
            yield process.pid


def _state(host: Host, found: Found, stopped: Sequence[bool], owner_is_running: bool) -> str:
    """``stopped``: of each process, whether a signal has stopped it."""
    if not owner_is_running:
        return ORPHANED
    if (host.folder.pods / found.uid / pods.STOP).exists():
        return STOPPING
    if not stopped:
        return STARTING
    return STOPPED if all(stopped) else RUNNING


def _share(uid: str, share: Share, pids: tuple[int, ...], uses: Uses) -> ShareView:
    driver = uses.drivers.get(share.kind)
    account = uses.accounts.get((share.kind, names.grant_id(uid, share.container)))
    book = next((one for one in account.devices if one.device == share.device), None) if account else None
    charged = {one.pid: one.used for one in account.processes if one.device == share.device} if account and book else None
    counted = {pid: driver.processes.get((share.device, pid), 0) for pid in pids} if driver else None
    return ShareView(
        container=share.container,
        kind=share.kind,
        device=share.device,
        memory=share.memory,
        cores=share.cores,
        used=None if counted is None else sum(counted.values()),
        charged=book.used if book else None,
        peak=book.peak if book else None,
        refused=book.refused if book else None,
        pids=pids,
        processes=tuple(
            ProcessView(
                pid=pid,
                command=procfs.command(pid),
                charged=None if charged is None else charged.get(pid, 0),
                driver=None if counted is None else counted[pid],
            )
            for pid in pids
        ),
    )


def _waiting(one: Waiting, everybody: Sequence[Waiting], now: int) -> WaitingView:
    ticket = one.ticket
    assert ticket is not None  # those that cannot be read are left out
    return WaitingView(
        uid=ticket.uid,
        name=ticket.name,
        namespace=ticket.namespace,
        position=queue.position(everybody, one),
        age_s=max(now - ticket.since, 0),
        owner=ticket.pid,
        why=ticket.why,
    )


def _totals(host: Host, found: Sequence[Found], uses: Uses) -> tuple[tuple[DeviceTotal, ...], tuple[str, ...]]:
    """Every device that a plugin found, in the order of kinds and of the drivers' own tools, and the sentences of failures."""
    taken = [(device, claim) for one in found if one.holding for (_, _, device), claim in claims(one.holding.shares).items()]
    totals, faults = [], []
    for kind, inventory in host.inventories.items():
        offered, fault = _offered(host, kind)
        faults += fault
        driver = uses.drivers.get(kind)
        for device in inventory.devices:
            claimed = [claim for name, claim in taken if name == device.id]
            counted = driver.devices.get(device.id) if driver else None
            totals.append(
                DeviceTotal(
                    kind=kind,
                    device=device.id,
                    index=device.index,
                    model=device.model,
                    slots=offered[device.id].slots if device.id in offered else 0,
                    slots_used=sum(claim.slots for claim in claimed),
                    memory=offered[device.id].memory if device.id in offered else device.memory,
                    granted=sum(claim.memory for claim in claimed),
                    used=counted.memory if counted else None,
                    utilisation=counted.utilisation if counted else None,
                )
            )
    return tuple(totals), tuple(faults)


def _offered(host: Host, name: str) -> tuple[dict[str, Capacity], list[str]]:
    """Device -> what it offers, and a sentence if the plugin fails: who holds what is shown all the same."""
    kind = host.catalogue.kind(name)
    try:
        offered = [
            one
            for splitting in host.catalogue.splittings[name]
            for one in host.plugins.hook.hami_split(
                kind=kind, splitting=splitting, inventory=host.inventories[name], settings=host.settings
            )
        ]
    except Exception as error:  # a stranger's code may raise anything
        return {}, [str(Failure(host.catalogue.owners[name], error))]
    return {one.device: one for one in offered}, []


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
