"""GPUs as shares: what each offers when it is cut by the settings, and what a container's limits file says of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from hami_core import sharing
from hami_nvidia import contexts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Capacity, Device, DeviceInventory, Share
    from hami_nvidia.settings import NvidiaSettings

MIB = 1024 * 1024


def capacities(inventory: DeviceInventory, own: NvidiaSettings) -> list[Capacity]:
    """Every GPU that is not filtered out, with its slots, scaled memory and cores, and what a context takes of a share."""
    offered = zip(inventory.devices, sharing.hami_split(inventory), strict=True)
    return [_capacity(device, whole, own) for device, whole in offered if not _is_filtered(device, own)]


def _is_filtered(device: Device, own: NvidiaSettings) -> bool:
    return device.id in own.filtered_uuids or device.index in own.filtered_indices


def _capacity(device: Device, whole: Capacity, own: NvidiaSettings) -> Capacity:
    return evolve(
        whole,
        slots=own.split_count,
        memory=round(whole.memory * own.memory_scaling),
        cores=round(whole.cores * own.core_scaling),
        overhead=contexts.memory(device.model, own.context_memory),
    )


def section(shares: Sequence[Share]) -> str:
    """NVIDIA's section of one container's limits file; native/include/limits.h has its grammar."""
    devices = [_device_line(share) for share in shares]
    options = [f"{key}={value}\n" for key, value in shares[0].options]
    return "".join(devices + options)


def _device_line(share: Share) -> str:
    return (
        f"device {share.device} memory={share.memory * MIB} physical={share.physical * MIB} cores={share.cores} "
        f"context={share.overhead * MIB}\n"
    )
