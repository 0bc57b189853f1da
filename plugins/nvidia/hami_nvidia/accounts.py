"""The interposer's books: one region for each container that has used a GPU, beside its limits file.

They are the workload's own, and may be damaged: such a one is told, and hides no other. What the driver counts is in ``nvml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hami_core import names
from hami_core.model import Account, DeviceAccount, ProcessAccount
from hami_native import Region, RegionError

if TYPE_CHECKING:
    from collections.abc import Mapping


def read(limits: Mapping[str, str]) -> dict[str, Account]:
    """Grant id -> its account, from grant id -> path of its limits file; without those that have no region yet."""
    regions = {grant: Path(path).with_name(names.region_file(grant)) for grant, path in limits.items()}
    return {grant: _account(region) for grant, region in regions.items() if region.exists()}


def _account(path: Path) -> Account:
    try:
        region = Region.read(path)
    except RegionError as error:
        return Account(fault=str(error))
    return Account(
        devices=tuple(DeviceAccount(one.uuid, one.used, one.peak, one.refused) for one in region.devices),
        processes=tuple(
            ProcessAccount(device.uuid, process.pid, process.start_time, used)
            for process in region.processes
            for device, used in zip(region.devices, process.used, strict=True)
            if used
        ),
    )
