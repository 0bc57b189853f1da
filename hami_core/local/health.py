"""The health of this machine's devices as time goes on: what is sick, and what has changed since one looked before.

A command that runs once has what the drivers say at that moment (``host``). This is for one that stays: drivers report many
faults once, when they happen, to whoever listens then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.local.host import Host
    from hami_core.plugins import Failure


@frozen
class DeviceHealth:
    """One device; ``sick`` says why it cannot be used, empty: it can."""

    kind: str
    index: int
    device: str
    model: str
    sick: str


@frozen
class Health:
    """All devices, and which plugins could not say: their last answer stands."""

    devices: tuple[DeviceHealth, ...] = ()
    failures: tuple[Failure, ...] = ()
    reasons: Mapping[str, Mapping[str, str]] = field(factory=dict)  # kind -> device -> reason


def found(host: Host) -> Health:
    """What was found when the host was opened."""
    reasons = {kind: {one.id: one.sick for one in found.devices if one.sick} for kind, found in host.inventories.items()}
    return _health(host, reasons, ())


def look(host: Host, before: Health) -> Health:
    """What the drivers say now; of those that do not answer what they said before."""
    reasons = dict(before.reasons)
    failures: tuple[Failure, ...] = ()
    for kind in host.inventories:
        told, failed = host.health(kind)
        failures = (*failures, *failed)
        if not failed:
            reasons[kind] = told
    return _health(host, reasons, failures)


def changes(before: Health, now: Health) -> tuple[DeviceHealth, ...]:
    """The devices of which something else is true now."""
    return tuple(one for one in now.devices if one not in before.devices)


def _health(host: Host, reasons: Mapping[str, Mapping[str, str]], failures: tuple[Failure, ...]) -> Health:
    devices = tuple(
        DeviceHealth(kind, one.index, one.id, one.model, reasons.get(kind, {}).get(one.id, ""))
        for kind, inventory in host.inventories.items()
        for one in inventory.devices
    )
    return Health(devices, failures, reasons)
