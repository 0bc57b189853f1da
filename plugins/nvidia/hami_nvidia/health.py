"""When a GPU is sick, for what reason, and when it has recovered. Pure: what is asked of the driver, and when, is in ``watch``.

Findings come from two sides. What lasts is seen anew at every look: a GPU that is lost, rows that wait to be remapped, a
recovery that the driver asks for, calls that fail. What happened once comes as an event: an Xid, an ECC error. A finding makes
its device sick at once; the device is well again when for ``recovery`` seconds there was no such finding, so that what flickers
does not let pods in and out. An Xid after which the GPU works again leaves no other trace, and its reason stays as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from hami_nvidia import xids
from hami_nvidia.xids import Effect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DOUBLE_BIT, XID = 0x2, 0x8  # nvmlEventType: what is listened to
FATAL_POISON, UNAVAILABLE = 0x2000, 0x4000
EVENTS = DOUBLE_BIT | XID | FATAL_POISON | UNAVAILABLE
EVENT_WORDS = {
    DOUBLE_BIT: "double-bit ECC error",
    FATAL_POISON: "fatal memory poison error",
    UNAVAILABLE: "the driver calls the GPU unavailable",
}
RECOVERIES = {  # nvmlDeviceGpuRecoveryAction_t
    1: "a reset of the GPU",
    2: "a reboot of the node",
    3: "the peers to be drained and reset",
    4: "the GPU to be drained and reset",
    5: "recovery of its IMEX domain",
    6: "a reset of its bus",
    7: "a reboot of the system",
}
FEW = 3  # contained errors within the time of recovery that do no harm yet


@frozen
class Finding:
    """One thing that speaks against a device. ``cause`` tells findings of one kind apart from others."""

    cause: str
    reason: str


@frozen
class Event:
    """Something that happened on a GPU."""

    type: int  # nvmlEventType
    data: int = 0  # of an Xid its number


@frozen
class Look:
    """What a GPU says of itself when it is looked at. None, and 0: nothing is wrong, or it does not say."""

    error: str = ""  # why it does not answer; empty: it does
    remap_failed: bool = False
    remap_pending: bool = False
    retirement_pending: bool = False
    recovery: int | None = None  # nvmlDeviceGpuRecoveryAction_t


@frozen
class Ailment:
    """A finding that was made, and still counts."""

    reason: str
    last: float  # by the monotonic clock, in seconds
    times: int = 1
    harmless: bool = False  # until it has happened too often


@frozen
class Record:
    """What is known of one device."""

    ailments: Mapping[str, Ailment] = field(factory=dict)

    @property
    def sick(self) -> str:
        """Why it cannot be used: the reasons, the earliest first. Empty: it can."""
        return "; ".join(one.reason for one in self.ailments.values() if not one.harmless)


def seen(look: Look, rules: xids.Rules) -> tuple[Finding, ...]:
    """What speaks against a device that was looked at.

    Rows that wait to be remapped, and pages to be retired, are out of use until the next reset, which needs the GPU to be idle:
    what runs goes on, and nothing new comes. A GPU that does not answer is sick under any rules.
    """
    if look.error:
        return (Finding("answer", look.error),)
    if rules.nothing:
        return ()
    found = []
    if look.remap_failed:
        found.append(Finding("remap", "a row of memory could not be remapped"))
    if look.remap_pending:
        found.append(Finding("remap", "rows of memory wait to be remapped by a reset"))
    if look.retirement_pending:
        found.append(Finding("retire", "pages of memory wait to be retired by a reset"))
    if look.recovery:
        found.append(Finding("recovery", f"the driver asks for {RECOVERIES.get(look.recovery, f'recovery {look.recovery}')}"))
    return tuple(found)


def happened(record: Record, events: Iterable[Event], rules: xids.Rules, now: float) -> Record:
    """The record after these events."""
    for event in events:
        if event.type == XID:
            effect = rules.effect(event.data)
            if effect is not Effect.NONE:
                contained = effect is Effect.CONTAINED
                record = _with(record, Finding(f"xid {event.data}", xids.words(event.data)), now, few=FEW if contained else 0)
        elif event.type in EVENT_WORDS and not rules.nothing:
            record = _with(record, Finding(f"event {event.type}", EVENT_WORDS[event.type]), now)
    return record


def looked(record: Record, findings: Iterable[Finding], now: float, recovery: float, deaf: bool = False) -> Record:
    """The record after a look: what was found counts anew, what was not for ``recovery`` seconds counts no more.

    ``recovery`` 0: nothing is forgotten. ``deaf``: events could not be had, so that nothing is known to have stopped: what
    they said stands, however old.
    """
    found = {finding.cause: finding for finding in findings}
    for finding in found.values():
        record = _with(record, finding, now)
    kept = {
        cause: ailment
        for cause, ailment in record.ailments.items()
        if not recovery or now - ailment.last < recovery or (deaf and _of_events(cause))
    }
    return Record(kept)


def _of_events(cause: str) -> bool:
    return cause.startswith(("xid", "event"))


def _with(record: Record, finding: Finding, now: float, few: int = 0) -> Record:
    before = record.ailments.get(finding.cause)
    times = before.times + 1 if before else 1
    ailment = Ailment(finding.reason, now, times, harmless=times <= few)
    return evolve(record, ailments={**record.ailments, finding.cause: ailment})
