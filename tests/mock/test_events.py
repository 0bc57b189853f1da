"""NVML's events between processes: who sees which, once, and when."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

import pytest

from hami_mock import machine, script
from tests.mock.conftest import OUT, Program
from tests.mock.test_nvml import ask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_mock.machine import Machine

SINGLE_BIT, DOUBLE_BIT, XID = 0x1, 0x2, 0x8
NOT_SUPPORTED, TIMEOUT = 3, 10


@pytest.fixture
def two(tmp_path: Path) -> Machine:
    """A fresh machine with eight A100."""
    return machine.install("dgx-a100", tmp_path / "dgx-a100")


class Listener:
    """A program with an event set that is registered for devices."""

    def __init__(self, program: Program, devices: tuple[int, ...] = (0, 1), types: int = XID) -> None:
        self.program = program
        program.good("nvmlInit_v2")
        self.gpus = [program.good("nvmlDeviceGetHandleByIndex_v2", index, OUT) for index in range(2)]
        self.set = program.good("nvmlEventSetCreate", OUT)
        for index in devices:
            program.good("nvmlDeviceRegisterEvents", self.gpus[index], types, self.set)

    def next(self, timeout_ms: int = 0) -> tuple[int, int, int] | None:
        """(device, type, data); None: nothing happened meanwhile."""
        result, text = self.program.call("nvmlEventSetWait_v2", self.set, "raw", timeout_ms)
        if result == TIMEOUT:
            return None
        assert result == 0
        device, kind, data, gi, ci = struct.unpack_from("<QQQII", bytes.fromhex(text))
        assert gi == ci == 0xFFFFFFFF
        return self.gpus.index(device), kind, data


def xid(on: Machine, gpu: int, code: int) -> None:
    script.add(on.folder, {"kind": "xid", "gpu": gpu, "code": code})


def test_every_set_sees_each_event_once(two: Machine, start: Callable[[Machine], Program]) -> None:
    first, second = Listener(start(two)), Listener(start(two))

    xid(two, 0, 31)
    xid(two, 1, 48)

    for listener in (first, second):
        assert [listener.next() for _ in range(3)] == [(0, XID, 31), (1, XID, 48), None]


def test_events_before_a_registration_and_of_other_devices_are_not_seen(
    two: Machine, start: Callable[[Machine], Program]
) -> None:
    xid(two, 0, 13)
    listener = Listener(start(two), devices=(0,))

    xid(two, 1, 13)
    xid(two, 0, 94)

    assert [listener.next(), listener.next()] == [(0, XID, 94), None]


def test_a_waiter_is_woken_by_another_process(two: Machine, start: Callable[[Machine], Program]) -> None:
    listener = Listener(start(two))
    listener.program.tell("nvmlEventSetWait_v2", listener.set, "raw", 60_000)

    begin = time.monotonic()
    xid(two, 1, 79)

    assert listener.program.answer()[0] == 0
    assert time.monotonic() - begin < 30


def test_an_event_by_the_clock_needs_nobody_but_the_waiter(two: Machine, start: Callable[[Machine], Program]) -> None:
    listener = Listener(start(two))
    script.add(two.folder, {"kind": "xid", "gpu": 0, "code": 63, "at": "50ms"})

    assert listener.next(timeout_ms=60_000) == (0, XID, 63)


def test_memory_errors_are_events_counters_and_an_xid(two: Machine, start: Callable[[Machine], Program]) -> None:
    listener = Listener(start(two), types=SINGLE_BIT | DOUBLE_BIT | XID)

    script.add(two.folder, {"kind": "ecc", "gpu": 1, "corrected": 5, "uncorrected": 2})

    assert [listener.next() for _ in range(4)] == [(1, SINGLE_BIT, 0), (1, DOUBLE_BIT, 0), (1, XID, 48), None]
    code = "gpu = nvmlDeviceGetHandleByIndex(1)\nanswer([nvmlDeviceGetTotalEccErrors(gpu, kind, 0) for kind in (0, 1)])"
    assert ask(two, code) == [5, 2]


def test_a_lost_gpu_says_79_and_the_set_goes_on(two: Machine, start: Callable[[Machine], Program]) -> None:
    listener = Listener(start(two))

    script.add(two.folder, {"kind": "lost", "gpu": 0})
    xid(two, 1, 43)

    assert [listener.next(), listener.next()] == [(0, XID, 79), (1, XID, 43)]


def test_many_events_lose_the_oldest_and_never_one_of_the_newest(two: Machine, start: Callable[[Machine], Program]) -> None:
    listener = Listener(start(two))
    for code in range(1, 301):
        xid(two, 0, code)
        script.clear(two.folder, 0)

    seen = []
    while (event := listener.next()) is not None:
        seen.append(event[2])

    assert seen == list(range(45, 301))


def test_a_type_that_the_device_cannot_tell_is_not_supported(two: Machine, start: Callable[[Machine], Program]) -> None:
    listener = Listener(start(two))

    assert listener.program.call("nvmlDeviceRegisterEvents", listener.gpus[0], 0x100, listener.set)[0] == NOT_SUPPORTED
