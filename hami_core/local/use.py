"""Who uses what, as three witnesses have it: /proc, the driver, and the books of enforcement. Asked once for a whole view."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import names
from hami_core.local import procfs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hami_core.local.holdings import Found
    from hami_core.local.host import Host
    from hami_core.local.procfs import Stat
    from hami_core.model import Account, DeviceUse, Usage


@frozen
class Driver:
    """What the driver of one kind counts. Units: MiB."""

    devices: Mapping[str, DeviceUse]
    processes: Mapping[tuple[str, int], int]  # by device and process


@frozen
class Uses:
    """All of it at one moment. A kind that is missing in ``drivers``: its driver does not say."""

    everybody: Mapping[int, Stat]  # by process
    drivers: Mapping[str, Driver]  # by kind
    accounts: Mapping[tuple[str, str], Account]  # by kind and grant id
    faults: tuple[str, ...]


def take(host: Host, held: Sequence[Found]) -> Uses:
    """What is used on this machine now by those who hold something, and by others."""
    kinds = [kind for kind in sorted(_kinds(held) | set(host.inventories)) if kind in host.catalogue.owners]
    drivers, deaf = _drivers(host, kinds)
    accounts, damaged = _accounts(host, kinds, held)
    everybody = {one.identity.pid: one for one in procfs.everybody()} if held else {}
    return Uses(everybody, drivers, accounts, deaf + damaged)


def _kinds(held: Iterable[Found]) -> set[str]:
    return {share.kind for one in held if one.holding for share in one.holding.shares}


def _drivers(host: Host, kinds: Iterable[str]) -> tuple[dict[str, Driver], tuple[str, ...]]:
    found: dict[str, Driver] = {}
    faults: list[str] = []
    for kind in kinds:
        if kind not in host.inventories:
            continue
        answers = host.usage(kind)
        faults += [str(failure) for failure in answers.failures]
        for usage in answers.by_plugin.values():
            found[kind] = _driver(usage)
    return found, tuple(faults)


def _driver(usage: Usage) -> Driver:
    processes: defaultdict[tuple[str, int], int] = defaultdict(int)
    for use in usage.processes:
        processes[use.device, use.pid] += use.memory or 0
    return Driver({use.device: use for use in usage.devices}, processes)


def _accounts(
    host: Host, kinds: Iterable[str], held: Sequence[Found]
) -> tuple[dict[tuple[str, str], Account], tuple[str, ...]]:
    found: dict[tuple[str, str], Account] = {}
    faults: list[str] = []
    for kind in kinds:
        limits = {
            names.grant_id(one.uid, share.container): str(one.path / share.container / names.LIMITS_FILE)
            for one in held
            for share in (one.holding.shares if one.holding else ())
            if share.kind == kind
        }
        if not limits:
            continue
        answers = host.plugins.ask_each("hami_accounts", kind=host.catalogue.kind(kind), limits=limits, settings=host.settings)
        faults += [str(failure) for failure in answers.failures]
        for answer in answers.by_plugin.values():
            found |= {(kind, grant): account for grant, account in answer.items()}
    return found, tuple(faults) + tuple(account.fault for account in found.values() if account.fault)
