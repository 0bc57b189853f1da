"""The nvidia plugin: hook implementations and nothing else. What the core's defaults do well enough is not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from hami_core import hookimpl, sharing
from hami_core.model import SHARE, Defaults, Kind, Mounts, Resources
from hami_nvidia.settings import NvidiaSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Capacity, DeviceInventory, Grant, Pod, Request, Share, Splitting, Usage
    from hami_core.settings import Settings

KIND = "nvidia"


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
    from hami_nvidia import nvml

    found = nvml.inventory(KIND, settings[NvidiaSettings].driver_root)
    return None if found is None else [found]


@hookimpl
def hami_usage(kind: Kind, settings: Settings) -> Usage | None:
    """By NVML, of the driver under the setting's root."""
    if kind.name != KIND:
        return None
    from hami_nvidia import nvml

    return nvml.usage(settings[NvidiaSettings].driver_root)


@hookimpl
def hami_parse(kind: Kind, pod: Pod, settings: Settings) -> Sequence[Request] | None:
    """The core's reading, and from each container's env the policies that go with its grant."""
    if kind.name != KIND:
        return None
    from hami_nvidia.requests import parse

    return parse(kind, pod, sharing.default_policy(settings))


@hookimpl
def hami_split(kind: Kind, splitting: Splitting, inventory: DeviceInventory, settings: Settings) -> Sequence[Capacity] | None:
    """Shares: as many slots as the split count, all of the physical memory."""
    if (kind.name, splitting.name) != (KIND, SHARE):
        return None
    slots = settings[NvidiaSettings].split_count
    return [evolve(capacity, slots=slots) for capacity in sharing.hami_split(inventory)]


@hookimpl
def hami_grant(kind: Kind, splitting: Splitting, shares: Sequence[Share]) -> Grant | None:
    """The core's text, and the driver's own variable beside it: without a container runtime nothing else renumbers the GPUs."""
    if (kind.name, splitting.name) != (KIND, SHARE):
        return None
    grant = sharing.hami_grant(kind, shares)
    return evolve(grant, env=(("CUDA_VISIBLE_DEVICES", grant.visible),))


@hookimpl
def hami_mounts(kind: Kind) -> Mounts | None:
    """The interposer ahead of the program's own libraries; no device is visible until a grant says which."""
    if kind.name != KIND:
        return None
    import hami_native

    return Mounts(env=((kind.visible_env, kind.hidden),), preload=(str(hami_native.library()),))
