"""Shared regions as values. Read only: what is written to them, and by whom, is `include/region.h`'s subject."""

from __future__ import annotations

import os
from typing import Any

from attrs import frozen

from hami_native.abi import MESSAGE, ffi, reader, text


class RegionError(Exception):
    """A file that is no region, or cannot be read: one sentence with the path and what is wrong with it."""


@frozen
class RegionDevice:
    """One device of the grant. `used` and `peak` in bytes; `used` may count a dead process until somebody reaps it.

    `refused` counts the allocations that the limit refused.
    """

    uuid: str
    used: int
    peak: int
    refused: int


@frozen
class RegionProcess:
    """One process that was charged, alive or not yet reaped.

    `start_time` in clock ticks since boot and `pid_namespace` as an inode make the pid unique. `used` in bytes, by device in
    the grant's order; `context` is the part of it that is contexts.
    """

    pid: int
    start_time: int
    pid_namespace: int
    used: tuple[int, ...]
    context: tuple[int, ...]


@frozen
class Region:
    """What the processes of one grant use, as it was at one moment.

    `unnamed` is the use, by device, of processes beyond the 512 that have a slot of their own.
    """

    grant: str
    devices: tuple[RegionDevice, ...]
    processes: tuple[RegionProcess, ...]
    unnamed: tuple[int, ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Region:
        """Copy the region at `path`. Its size and header are checked each time, and nothing in it is trusted.

        Raises RegionError. The file is read, not mapped: a workload that truncates it cannot hurt the reader.
        """
        copy = ffi().new("struct hami_region *")
        message = ffi().new("char[]", MESSAGE)
        if reader().hami_region_read(os.fsencode(path), copy, message) != 0:
            raise RegionError(text(message))
        count = copy.device_count
        return cls(
            grant=text(copy.grant),
            devices=tuple(_device(copy.devices[i]) for i in range(count)),
            processes=tuple(_process(copy.processes[i], count) for i in range(copy.process_count)),
            unnamed=tuple(copy.unnamed[0:count]),
        )


def _device(device: Any) -> RegionDevice:
    return RegionDevice(uuid=text(device.uuid), used=device.used, peak=device.peak, refused=device.refused)


def _process(process: Any, devices: int) -> RegionProcess:
    return RegionProcess(
        pid=process.pid,
        start_time=process.start_time,
        pid_namespace=process.pid_namespace,
        used=tuple(process.used[0:devices]),
        context=tuple(process.context[0:devices]),
    )
