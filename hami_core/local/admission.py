"""Whether a pod may start now: on this machine, beside what is held, after those who came first. A cluster's scheduler here.

The first half is pure and asks the same functions as a cluster; the second reads and writes the state under the machine's lock.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import decision, explain, names, wire
from hami_core.errors import NeverFits
from hami_core.ledger import Ledger
from hami_core.local import changes, holdings, locks, procfs, queue
from hami_core.local.host import no_machine
from hami_core.local.queue import Ticket
from hami_core.model import Holding, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hami_core.decision import Ask, Tables
    from hami_core.local.changes import Watch
    from hami_core.local.holdings import Found, Lease
    from hami_core.local.host import Host
    from hami_core.local.manifest import PodSpec
    from hami_core.local.queue import Place, Waiting
    from hami_core.model import Grant, Kind, Share

SETTLE = 0.02, 0.2, 1.0  # seconds to the next looks after the kernel has told: a lock is free a moment after its holder's end
FIRST_LOOKS = 1.0  # seconds between looks of the first in the queue: a group that holds no lock ends without a sign
OTHERS_LOOK = 5.0  # seconds between looks of everybody else: one before them may have been stopped, without a sign
UNTOLD = 0.1, 1.0  # the same two where the kernel tells us nothing

CORES_NOTE = "cores reserved, not enforced by this build"


# --- Deciding: pure. --------------------------------------------------------------------------------------------------


def asks(host: Host, pod: PodSpec) -> tuple[Ask, ...]:
    """What the pod asks of every kind. ValidationError: it asks for what cannot be meant.

    NoMachine, NeverFits: this machine could not hold it even if it were idle, so that waiting would be for ever.
    """
    decision.admit(host.catalogue, pod.manifest)
    asked = decision.ask(host.plugins.hook, host.catalogue, host.settings, pod.manifest)
    for one in asked:
        if one.kind.name not in host.inventories:
            raise no_machine(host, one.kind.name)
    idle = tables(host)
    refused = _refusals(host, asked, idle)
    if refused:
        raise NeverFits(f'pod "{pod.label}" can never run on {host.name}: {refused}')
    return asked


def tables(host: Host) -> Tables:
    """The tables of this machine, one row each, nothing used."""
    return decision.tables(host.catalogue, {host.name: host.offered})


def ledger(host: Host, held: Iterable[Holding]) -> Ledger:
    """The tables with what is held counted in."""
    counted = Ledger(tables(host))
    for holding in held:
        counted.hold(host.name, holding)
    return counted


def place(host: Host, asked: Sequence[Ask], held: Sequence[Holding]) -> tuple[Share, ...] | str:
    """The pod's shares beside what is held, or why it does not fit now."""
    columns = ledger(host, held).tables
    if refused := _refusals(host, asked, columns):
        return refused + _holders(asked, held)
    shares: list[Share] = []
    for one in asked:
        placed = decision.place(host.plugins.hook, one, columns, 0)
        if not placed:
            return f"{one.kind.name}: no place was found" + _holders(asked, held)
        shares += placed
    return tuple(shares)


def _refusals(host: Host, asked: Sequence[Ask], columns: Tables) -> str:
    """Why the one row of the tables cannot hold all of it. Empty: it can."""
    words = []
    for one in asked:
        verdict = decision.judge(host.plugins.hook, one, columns)
        if not verdict.nodes[0]:
            splitting, requests = decision.refused(one, verdict, 0)
            told = explain.refusal(one.kind, requests, columns[one.kind.name, splitting.name])
            words.append(told or f"{one.kind.name}: {Reason(int(verdict.reasons[0])).name}")
    return "; ".join(words)


def _holders(asked: Sequence[Ask], held: Sequence[Holding]) -> str:
    """Who has what is missing, for people to go and ask."""
    kinds = {one.kind.name for one in asked}
    names = [holding.name for holding in held if any(share.kind in kinds for share in holding.shares)]
    return f"; held by {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}" if names else ""


# --- Waiting and holding: the state, under the machine's lock. --------------------------------------------------------


@frozen
class Admitted:
    """A pod that may start."""

    lease: Lease
    grants: dict[str, tuple[Grant, ...]]  # by container


async def admit(host: Host, pod: PodSpec, asked: Sequence[Ask], waits: Callable[[str], None]) -> Admitted:
    """Hold what the pod asks for, as soon as it fits and nobody comes first. ``waits`` is told why not, once for every reason.

    Cancelled while it waits, it leaves the queue as if it had never been there.
    """
    own: Place | None = None
    told = ""
    looks = len(SETTLE)  # since the kernel told of anything
    try:
        while True:
            with changes.watching() as watch:
                async with locks.locked(host.folder.lock):
                    first = _first(host, own, asked)
                    queue.watch(host.folder, first, watch)  # before the look: what changes after it is told
                    outcome = _try(host, pod, asked, first)
                    if isinstance(outcome, Admitted):
                        return outcome
                    own = _wait(host, own, _ticket(pod, asked, outcome))
                if outcome != told:
                    waits(outcome)
                    told = outcome
                looks = 0 if await watch.changed(_patience(watch, first, looks)) else looks + 1
    finally:
        if own:
            own.leave()


def _first(host: Host, own: Place | None, asked: Sequence[Ask]) -> Waiting | None:
    """Who comes before us; nobody before him who asks for nothing."""
    waiting = queue.awake(queue.heal(host.folder))
    return queue.ahead(waiting, own, [one.kind.name for one in asked]) if asked else None


def _wait(host: Host, own: Place | None, ticket: Ticket) -> Place:
    if own is None:
        return queue.join(host.folder, ticket)
    return own if own.ticket.why == ticket.why else own.explain(ticket.why)


def _patience(watch: Watch, first: Waiting | None, looks: int) -> float:
    """Seconds to wait for a change before looking all the same, after so many looks since the last that was told."""
    if looks < len(SETTLE):
        return SETTLE[looks]
    of_first, of_others = (FIRST_LOOKS, OTHERS_LOOK) if watch.fd is not None else UNTOLD
    return of_first if first is None else of_others


def _try(host: Host, pod: PodSpec, asked: Sequence[Ask], first: Waiting | None) -> Admitted | str:
    if first is not None:
        return _behind(first)
    live = holdings.heal(host.folder)
    if asked and (fault := next((found.fault for found in live if found.holding is None), "")):
        return fault
    shares = place(host, asked, held(live)) if asked else ()
    return shares if isinstance(shares, str) else _hold(host, pod, shares)


def held(found: Iterable[Found]) -> list[Holding]:
    """The holdings of those whose shares can be read, oldest first; folders come in the order of their random names."""
    oldest_first = sorted(found, key=lambda one: (one.record.since if one.record else 0, one.uid))
    return [one.holding for one in oldest_first if one.holding]


def _behind(first: Waiting) -> str:
    who = first.ticket.name if first.ticket else "another pod"
    return f"{who} came first, and waits too"


def _hold(host: Host, pod: PodSpec, shares: tuple[Share, ...]) -> Admitted:
    grants = decision.grants(host.plugins.hook, host.catalogue, host.settings, shares)
    record = holdings.Record(
        holding=Holding(pod.uid, pod.name, pod.namespace, shares),
        owner=procfs.identity(os.getpid()),
        since=int(time.time()),
    )
    limits = {
        container.name: wire.limits_text(
            names.grant_id(pod.uid, container.name),
            [share for share in shares if share.container == container.name],
            grants.get(container.name, ()),
        )
        for container in pod.containers
    }
    return Admitted(holdings.create(host.folder, record, limits), grants)


def _ticket(pod: PodSpec, asked: Sequence[Ask], why: str) -> Ticket:
    kinds = tuple(one.kind.name for one in asked)
    return Ticket(pod.uid, pod.name, pod.namespace, kinds, os.getpid(), int(time.time()), why)


async def release(host: Host, lease: Lease) -> bool:
    """Give back what is held, and say whether it is free now: a process that left its container's group keeps it."""
    async with locks.locked(host.folder.lock):
        return holdings.finish(lease)


def notes(kinds: Iterable[Kind], shares: Sequence[Share], asked: Sequence[Ask]) -> tuple[str, ...]:
    """What the user should be told about what was granted, one sentence each."""
    told = [note for one in asked for request in one.requests for note in request.notes]
    for kind in kinds:
        reserved = {share.cores for share in shares if share.kind == kind.name and share.cores}
        if reserved:
            told.append(f"{kind.resources.cores}: {CORES_NOTE}")
    return tuple(dict.fromkeys(told))
