"""Which devices of one kind carry nothing new because of their health, over time. Pure: the agent asks the drivers.

A device that its owner calls sick is out at once. It is in again when for ``settle`` seconds no answer has called it sick, so
that what flickers does not let pods in and out. An owner that cannot say leaves its last answer standing, for ``silence``
seconds: after that nobody knows, and its devices are out until it answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WORDS = 60.0
"""Seconds for which the words of a reason stay: they are published, and a driver may find others at every look."""

SILENT = "nobody can say whether it is well: its driver gives no answer"


@frozen
class Ailment:
    """Why a device is sick; when it was called so first in these words, and when last. By the monotonic clock, in seconds."""

    reason: str
    since: float
    last: float


@frozen
class Health:
    """What was said of one kind's devices. ``answered``: when that was."""

    answered: float
    ailments: Mapping[str, Ailment] = field(factory=dict)  # by device


def told(before: Health, reasons: Mapping[str, str], now: float, settle: float) -> Health:
    """The health after an answer that calls these devices sick."""
    kept = {device: one for device, one in before.ailments.items() if now - one.last < settle}
    return Health(now, {**kept, **{device: _called(kept.get(device), reason, now) for device, reason in reasons.items()}})


def _called(before: Ailment | None, reason: str, now: float) -> Ailment:
    if before is None or (reason != before.reason and now - before.since >= WORDS):
        return Ailment(reason, now, now)
    return evolve(before, last=now)


def sick(health: Health, devices: Iterable[str], now: float, silence: float) -> dict[str, str]:
    """Why these devices carry nothing new, for those that do not. The words stay the same while nothing changes."""
    unheard = now - health.answered >= silence
    reasons = {device: _reason(health.ailments.get(device), unheard) for device in devices}
    return {device: reason for device, reason in reasons.items() if reason}


def _reason(ailment: Ailment | None, unheard: bool) -> str:
    if ailment is not None:
        return ailment.reason
    return SILENT if unheard else ""
