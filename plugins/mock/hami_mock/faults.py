"""Scripted faults: what a table of a description, or the options of ``hami mock fault add``, may say, as frozen values.

How a fault comes about in the drivers is in driver/fault.h; nothing here knows the state file.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from attrs import frozen

from hami_mock.toml_table import nearest

if TYPE_CHECKING:
    from collections.abc import Collection

    from hami_mock.toml_table import Table

KINDS = {  # the numbers of driver/fault.h; in_use is an error with a name of its own
    "xid": 1,
    "lost": 2,
    "error": 3,
    "slow": 4,
    "hang": 5,
    "ecc": 6,
    "driver_reload": 7,
    "reset_required": 8,
    "in_use": 3,
}
OF_CALLS = ("error", "slow", "hang", "in_use")  # they happen to a call; the others to a GPU or to the driver
KEYS = {  # of each kind, beside kind, gpu, at, when and times
    "xid": ("code",),
    "lost": (),
    "error": ("code",),
    "slow": ("ms", "jitter"),
    "hang": (),
    "ecc": ("corrected", "uncorrected", "xid"),
    "driver_reload": ("ms",),
    "reset_required": (),
    "in_use": (),
}
COMMON = ("kind", "gpu", "at", "when", "times")
MOST = 32  # of one description
IN_USE = 19  # NVML_ERROR_IN_USE
UNKNOWN = 999  # NVML_ERROR_UNKNOWN, CUDA_ERROR_UNKNOWN
DOUBLE_BIT = 48  # the Xid of an uncorrectable memory error
PATTERN = re.compile(r"[A-Za-z0-9_*?]{1,95}")
MILLISECOND = 10**6  # in nanoseconds
MIB = 1 << 20


@frozen
class Fault:
    """One fault; the fields of ``struct mock_fault``. Times in nanoseconds of the machine's clock, memory in bytes."""

    kind: str
    gpu: int = -1  # any
    call: str = ""  # the clock sets it off
    at: int = 0
    nth: int = 0
    times: int = 0  # without end
    after: int = 0
    duration: int = 0
    jitter: int = 0
    code: int = 0
    corrected: int = 0
    uncorrected: int = 0


def parse(table: Table, gpus: int, functions: Collection[str]) -> Fault:
    """The fault that a table describes, for a machine with so many GPUs and drivers with these functions.

    Raises DescriptionError with the path of the key.
    """
    kind = table.text("kind")
    if kind not in KINDS:
        raise table.fault("kind", f"{kind}: is no kind of fault{nearest(kind, KINDS)}")
    table.only(*COMMON, *KEYS[kind])
    when = table.table("when", {}).only("call", "nth", "after_mib")
    call = _call(when, kind, functions)
    return Fault(
        kind=kind,
        gpu=_gpu(table, kind, gpus),
        call=call,
        at=table.duration("at", 0),
        nth=_nth(when, call),
        times=_times(table, kind, call, nth="nth" in when.data),
        after=when.whole("after_mib", 0, 1 << 24, 0) * MIB,
        duration=_milliseconds(table, "ms", {"slow": None, "driver_reload": 1000}.get(kind, 0)),
        jitter=_jitter(table),
        code=_code(table, kind),
        corrected=table.whole("corrected", 0, 10**6, 0),
        uncorrected=table.whole("uncorrected", 0, 10**6, int(kind == "ecc" and "corrected" not in table.data)),
    )


def _call(when: Table, kind: str, functions: Collection[str]) -> str:
    if "call" not in when.data:
        if kind == "in_use":
            return "nvml*InstanceDestroy"
        if kind in OF_CALLS:
            raise when.fault("call", f"is missing: the functions that meet this {kind}, such as nvmlDeviceGetMemoryInfo*")
        return ""
    pattern = when.text("call", PATTERN)
    if not any(fnmatchcase(name, pattern) for name in functions):
        close = nearest(pattern, functions) if len(pattern) > 3 else ""
        raise when.fault("call", f"{pattern}: the drivers have no such function{close if 'did you' in close else ''}")
    return pattern


def _nth(when: Table, call: str) -> int:
    if "nth" in when.data and not call:
        raise when.fault("nth", "counts calls: name them by call")
    return when.whole("nth", 1, 2**31 - 1, 1) if call else 0


def _times(table: Table, kind: str, call: str, *, nth: bool) -> int:
    """Calls that meet the fault: as many as said; else one if the n-th is meant or a GPU is befallen; else all from then on."""
    if "times" in table.data and not call:
        raise table.fault("times", "counts calls: name them by when.call")
    once = nth or not call or kind not in OF_CALLS
    return table.whole("times", 1, 2**31 - 1) if "times" in table.data else int(once)


def _gpu(table: Table, kind: str, gpus: int) -> int:
    if kind == "driver_reload" and "gpu" in table.data:
        raise table.fault("gpu", "a driver is reloaded for all GPUs: leave this key out")
    if "gpu" not in table.data:
        if kind not in OF_CALLS and kind != "driver_reload":
            raise table.fault("gpu", f"is missing: the index of the GPU with this {kind}")
        return -1
    return table.whole("gpu", 0, gpus - 1)


def _code(table: Table, kind: str) -> int:
    if kind == "xid":
        return table.whole("code", 1, 10**6)
    if kind == "error":
        return table.whole("code", 1, 10**6, UNKNOWN)
    if kind == "ecc":
        broken = "corrected" not in table.data or table.data.get("uncorrected", 0)
        return table.whole("xid", 0, 10**6, DOUBLE_BIT if broken else 0)
    return IN_USE if kind == "in_use" else 0


def _milliseconds(table: Table, key: str, default: int | None) -> int:
    """In nanoseconds."""
    return table.whole(key, 0, 10**8, default) * MILLISECOND


def _jitter(table: Table) -> int:
    jitter = _milliseconds(table, "jitter", 0)
    if jitter > _milliseconds(table, "ms", 0):
        raise table.fault("jitter", f"{table.data['jitter']}: should not be above ms")
    return jitter
