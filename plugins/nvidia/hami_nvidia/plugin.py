"""The nvidia plugin: hook implementations and nothing else. What the core's defaults do well enough is not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from hami_core import hookimpl, sharing
from hami_core.model import SHARE, Defaults, Kind, Mounts, Resources
from hami_nvidia.settings import NvidiaSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click

    from hami_core.model import Account, Capacity, DeviceInventory, Grant, Pod, Request, Share, Splitting, Usage
    from hami_core.settings import Settings

KIND = "nvidia"
LOG_LEVEL = "LIBCUDA_LOG_LEVEL"


@hookimpl
def hami_settings() -> type[NvidiaSettings]:
    """HAMi's names."""
    return NvidiaSettings


@hookimpl
def hami_kinds(settings: Settings) -> Sequence[Kind]:
    """One kind: NVIDIA GPUs."""
    own = settings[NvidiaSettings]
    resources = Resources(
        count=own.resource_count,
        memory=own.resource_memory,
        memory_percent=own.resource_percent,
        cores=own.resource_cores,
        priority=own.resource_priority,
    )
    defaults = Defaults(own.default_count, own.default_memory, own.default_cores)
    return [Kind(KIND, resources, visible_env="NVIDIA_VISIBLE_DEVICES", defaults=defaults)]


@hookimpl
def hami_discover(settings: Settings) -> Sequence[DeviceInventory] | None:
    """By NVML, of the driver under the setting's root."""
    from hami_nvidia.inventory import inventory

    own = settings[NvidiaSettings]
    found = inventory(KIND, own.driver_root, own.unsaid_memory, _patience(settings))
    return None if found is None else [found]


@hookimpl
def hami_check_health(kind: Kind, devices: Sequence[str], settings: Settings) -> Mapping[str, str] | None:
    """By what NVML says of each GPU now, and the events since this process was asked first."""
    if kind.name != KIND:
        return None
    from hami_nvidia import xids
    from hami_nvidia.watch import watch

    own = settings[NvidiaSettings]
    rules = xids.rules(own.health_ignored, own.health_watched)
    return watch(own.driver_root).check(devices, rules, own.health_recovery, _patience(settings))


@hookimpl
def hami_usage(kind: Kind, settings: Settings) -> Usage | None:
    """By NVML, of the driver under the setting's root."""
    if kind.name != KIND:
        return None
    from hami_nvidia.usage import usage

    return usage(settings[NvidiaSettings].driver_root, _patience(settings))


def _patience(settings: Settings) -> float:
    """Seconds for one GPU: of the driver's time so much that a GPU that hangs leaves enough to tell of the others."""
    return settings[sharing.CoreSettings].driver_deadline / 4


@hookimpl
def hami_accounts(kind: Kind, limits: Mapping[str, str]) -> Mapping[str, Account] | None:
    """The interposer's regions."""
    if kind.name != KIND:
        return None
    from hami_nvidia import accounts

    return accounts.read(limits)


@hookimpl
def hami_parse(kind: Kind, pod: Pod, settings: Settings) -> Sequence[Request] | None:
    """The core's reading, and from each container's env the policies that go with its grant."""
    if kind.name != KIND:
        return None
    from hami_nvidia.requests import parse

    return parse(kind, pod, sharing.default_policy(settings), settings[NvidiaSettings])


@hookimpl
def hami_split(kind: Kind, splitting: Splitting, inventory: DeviceInventory, settings: Settings) -> Sequence[Capacity] | None:
    """Shares, by the node's settings."""
    if (kind.name, splitting.name) != (KIND, SHARE):
        return None
    from hami_nvidia import shares

    return shares.capacities(inventory, settings[NvidiaSettings])


@hookimpl
def hami_grant(kind: Kind, splitting: Splitting, shares: Sequence[Share]) -> Grant | None:
    """Our section, and the driver's own variable beside it: without a container runtime nothing else renumbers the GPUs."""
    if (kind.name, splitting.name) != (KIND, SHARE):
        return None
    from hami_nvidia.shares import section

    grant = sharing.hami_grant(kind, shares)
    return evolve(grant, section=section(shares), env=(("CUDA_VISIBLE_DEVICES", grant.visible),))


@hookimpl
def hami_mounts(kind: Kind, settings: Settings) -> Mounts | None:
    """The interposer ahead of the program's own libraries; no device is visible until a grant says which."""
    if kind.name != KIND:
        return None
    import hami_native

    level = settings[NvidiaSettings].log_level
    env = [(kind.visible_env, kind.hidden)]
    if level != 1:  # what the interposer does without being told; so a variable of the caller's own counts
        env.append((LOG_LEVEL, str(level)))
    return Mounts(env=tuple(env), preload=(str(hami_native.library()),))


@hookimpl
def hami_commands() -> Sequence[click.Command]:
    """``hami nvidia``: what a context takes."""
    from hami_nvidia import commands

    return [commands.nvidia]
