"""Which GPU is sick, for what reason, and when it is well again: by a small NVML and a clock that a test turns."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pynvml
import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from hami_core.errors import DriverError
from hami_nvidia import health, xids
from hami_nvidia.health import Event, Finding, Record
from hami_nvidia.watch import Backoff, Watch
from tests.nvidia.driver import LOST, NOT_SUPPORTED, FakeGpu, FakeNvml, gpus

if TYPE_CHECKING:
    from hami_nvidia.nvml import Nvml

XID, DOUBLE_BIT = health.XID, health.DOUBLE_BIT
RULES = xids.rules("none", "none")
RECOVERY = 100.0


@define(eq=False)
class Ward:
    """A watch over fake GPUs, and the time."""

    fake: FakeNvml
    now: float = 1000.0
    sessions: int = 0
    patience: float = 5.0
    recovery: float = RECOVERY
    rules: xids.Rules = RULES
    devices: tuple[str, ...] = ()
    watch: Watch = field(init=False)
    nvml: Nvml | None = None

    def __attrs_post_init__(self) -> None:
        self.devices = self.devices or tuple(gpu.uuid for gpu in self.fake.gpus)
        self.watch = Watch("/", self._open, self._close, lambda: self.now)

    def _open(self, _: str) -> Nvml:
        if self.nvml is None:
            self.nvml, self.sessions = self.fake.nvml, self.sessions + 1
        return self.nvml

    def _close(self) -> None:
        self.nvml = None

    def check(self, after: float = 1.0) -> dict[str, str]:
        """What is sick so many seconds later."""
        self.now += after
        return self.watch.check(self.devices, self.rules, self.recovery, self.patience)


def ward(count: int = 2, **more: object) -> Ward:
    return Ward(FakeNvml(gpus(count), **more))  # type: ignore[arg-type]


def test_gpus_that_answer_are_well() -> None:
    assert ward().check() == {}


# --- Events


def test_an_xid_makes_its_own_gpu_sick_and_no_other() -> None:
    here = ward(3)
    here.check()

    here.fake.event(1, XID, 48)

    assert here.check() == {"GPU-1": "Xid 48: double-bit ECC error"}


@pytest.mark.parametrize("xid", sorted(xids.APPLICATION))
def test_the_xid_of_a_program_makes_nobody_sick(xid: int) -> None:
    here = ward()
    here.check()

    here.fake.event(0, XID, xid)

    assert here.check() == {}


def test_several_faults_are_told_the_first_first() -> None:
    here = ward()
    here.check()

    here.fake.event(0, XID, 119)
    here.fake.event(0, DOUBLE_BIT)

    assert here.check() == {"GPU-0": "Xid 119: the GPU's system processor does not answer; double-bit ECC error"}


def test_contained_errors_make_sick_when_they_are_many() -> None:
    here = ward()
    here.check()
    answers = []
    for _ in range(4):
        here.fake.event(0, XID, 94)
        answers.append(here.check())

    assert answers == [{}, {}, {}, {"GPU-0": "Xid 94: contained ECC error"}]


def test_a_gpu_is_well_again_after_the_time_of_recovery_and_not_before() -> None:
    here = ward()
    here.check()
    here.fake.event(0, XID, 48)
    here.check()

    assert here.check(RECOVERY - 1) != {}
    assert here.check(1) == {}


def test_each_fault_starts_the_time_anew() -> None:
    here = ward()
    here.check()
    for _ in range(3):
        here.fake.event(0, XID, 48)
        assert here.check(RECOVERY - 1) != {}


def test_without_a_time_of_recovery_nothing_is_forgotten() -> None:
    here = ward()
    here.recovery = 0
    here.check()
    here.fake.event(0, XID, 48)
    here.check()

    assert here.check(1e9) != {}


def test_a_gpu_without_events_is_not_sick() -> None:
    here = ward(2, refuses={("nvmlDeviceGetSupportedEventTypes", 0): NOT_SUPPORTED})
    here.check()
    here.fake.event(1, XID, 48)

    assert here.check() == {"GPU-1": "Xid 48: double-bit ECC error"}
    assert here.fake.registered == {1: 0xA & here.fake.gpus[1].events}


def test_a_driver_without_events_is_not_sick() -> None:
    here = ward(refuses={"nvmlEventSetCreate": pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})

    assert here.check() == {}


def test_one_gpu_that_cannot_be_registered_deafens_no_other() -> None:
    here = ward(2, refuses={("nvmlDeviceRegisterEvents", 0): 999})
    here.check()
    here.fake.event(1, XID, 79)

    assert here.check() == {"GPU-1": "Xid 79: the GPU has fallen off the bus"}


def test_a_wait_that_fails_is_unknown_and_leaves_the_last_answer_standing() -> None:
    here = ward()
    here.check()
    here.fake.event(0, XID, 48)
    sick = here.check()

    here.fake.happened.append(999)
    unknown = here.check(RECOVERY + 1)

    assert sick == unknown == {"GPU-0": "Xid 48: double-bit ECC error"}
    assert here.check(1) == {}


def test_what_was_heard_before_a_wait_failed_counts() -> None:
    here = ward()
    here.check()
    here.fake.event(0, XID, 48)
    here.fake.happened.append(999)

    assert here.check() == {"GPU-0": "Xid 48: double-bit ECC error"}


def test_a_gpu_that_comes_later_is_heard_too() -> None:
    here = ward(2, refuses={("nvmlDeviceGetHandleByIndex", 1): 999})
    here.check()
    here.fake.refuses.clear()
    here.check()
    here.fake.event(1, XID, 48)

    assert "Xid 48: double-bit ECC error" in here.check()["GPU-1"]


def test_a_driver_that_is_gone_makes_nobody_well() -> None:
    watch = Watch("/", lambda _: None, lambda: None)

    with pytest.raises(DriverError, match="there is no driver any more"):
        watch.check(["GPU-0"], RULES, RECOVERY, 5)


def test_a_broken_set_is_made_anew_with_back_off() -> None:
    here = ward()
    here.check()
    here.fake.refuses["nvmlEventSetWait"] = 999
    made = []
    for _ in range(16):
        here.check(1)
        made.append(here.fake.sets)
    here.fake.refuses.clear()
    here.check(60)
    here.fake.event(1, XID, 48)

    assert made == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]
    assert here.check() == {"GPU-1": "Xid 48: double-bit ECC error"}


def test_events_of_an_instance_are_its_own() -> None:
    fake = FakeNvml((FakeGpu(0, "00000000:01:00.0", instances=(("MIG-a", 1), ("MIG-b", 2))),))
    here = Ward(fake, devices=("MIG-a", "MIG-b"))
    here.check()

    fake.event(0, XID, 48, gi=2, ci=0)
    of_one = here.check()
    fake.event(0, XID, 64)

    assert of_one == {"MIG-b": "Xid 48: double-bit ECC error"}
    assert here.check() == {"MIG-a": "Xid 64: a row of memory could not be remapped", "MIG-b": "Xid 48: double-bit ECC error"}


def test_what_settings_leave_out_does_not_count() -> None:
    here = ward()
    here.rules = xids.rules("all", "none")
    here.check()
    here.fake.event(0, XID, 48)
    here.fake.event(0, DOUBLE_BIT)
    here.fake.gpus[1].recovery = 1
    here.fake.refuses["nvmlDeviceGetMemoryInfo", 0] = LOST

    assert here.check() == {"GPU-0": "does not answer: GPU is lost"}


# --- Looks


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("remapped", (0, 1, 1, 0), "rows of memory wait to be remapped by a reset"),
        ("remapped", (0, 1, 0, 1), "a row of memory could not be remapped"),
        ("retired_pending", 1, "pages of memory wait to be retired by a reset"),
        ("recovery", 1, "the driver asks for a reset of the GPU"),
        ("recovery", 9, "the driver asks for recovery 9"),
    ],
)
def test_what_lasts_is_seen_without_an_event_and_ends(name: str, value: object, reason: str) -> None:
    here = ward()
    before = getattr(here.fake.gpus[0], name)
    setattr(here.fake.gpus[0], name, value)

    sick = here.check()
    setattr(here.fake.gpus[0], name, before)

    assert sick == {"GPU-0": reason}
    assert here.check(RECOVERY) == {}


def test_remapped_rows_and_recoveries_that_are_none_are_no_fault() -> None:
    here = ward()
    here.fake.gpus[0].remapped, here.fake.gpus[0].recovery = (3, 2, 0, 0), None

    assert here.check() == {}


@pytest.mark.parametrize("code", [LOST, 999, pynvml.NVML_ERROR_RESET_REQUIRED])
def test_a_gpu_that_does_not_answer_is_sick_and_its_siblings_are_not(code: int) -> None:
    here = ward(3, refuses={("nvmlDeviceGetMemoryInfo", 1): code})

    assert list(here.check()) == ["GPU-1"]


def test_a_gpu_that_refuses_the_question_has_answered() -> None:
    assert ward(refuses={"nvmlDeviceGetMemoryInfo": NOT_SUPPORTED}).check() == {}


def test_a_gpu_that_hangs_is_sick_until_it_answers() -> None:
    gate = threading.Event()
    fake = FakeNvml(gpus(2))
    here = Ward(fake, patience=0.1)
    fake.answers["nvmlDeviceGetMemoryInfo"] = lambda _, gpu: gate.wait() if gpu.index == 0 else None

    sick, still = here.check(), here.check()
    hung = here.nvml
    gate.set()
    assert hung
    while hung.mute():
        pass

    assert sick == {"GPU-0": "no answer within 0.1 s"}
    assert list(still) == ["GPU-0"]
    assert here.check(RECOVERY) == {}


def test_a_gpu_that_is_lost_is_found_by_a_new_session() -> None:
    here = ward(2, refuses={("nvmlDeviceGetHandleByIndex", 0): LOST})

    lost = [here.check(1) for _ in range(8)]
    here.fake.refuses.clear()

    assert lost == [{"GPU-0": "the driver does not list it"}] * 8
    assert here.sessions == 4  # at the start, at once, then after 1 s, and after 2
    assert here.check(RECOVERY) == {}


@pytest.mark.parametrize(
    "code", [pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED]
)
def test_what_is_the_drivers_fault_is_no_gpus(code: int) -> None:
    here = ward()
    here.check()
    here.fake.refuses["nvmlDeviceGetMemoryInfo"] = code

    with pytest.raises(DriverError, match="no GPU is called sick for that"):
        here.check()
    here.fake.refuses.clear()
    assert here.check() == {}


# --- Records


CAUSES = st.sampled_from([Finding("remap", "remap"), Finding("answer", "answer")])


@given(st.lists(st.tuples(st.floats(0, 50), st.lists(CAUSES, max_size=2)), max_size=20), st.floats(1, 60))
def test_a_device_is_sick_as_long_as_a_finding_is_younger_than_the_recovery(
    looks: list[tuple[float, list[Finding]]], recovery: float
) -> None:
    record, now = Record(), 0.0
    last: dict[str, float] = {}
    for step, findings in looks:
        now += step
        record = health.looked(record, findings, now, recovery)
        last |= {finding.cause: now for finding in findings}

        assert set(record.ailments) == {cause for cause, when in last.items() if now - when < recovery}


@given(st.lists(st.sampled_from((8, 13, 31, 43, 48, 63, 79, 94, 154, 9999)), max_size=12))
def test_a_record_is_sick_of_what_the_rules_call_sick(numbers: list[int]) -> None:
    record = health.happened(Record(), [Event(XID, number) for number in numbers], RULES, 0.0)

    contained = {number for number in (63, 94) if numbers.count(number) > health.FEW}
    assert set(filter(None, record.sick.split("; "))) == {
        xids.words(number) for number in {48, 79, 154, 9999}.intersection(numbers) | contained
    }


def test_back_off_doubles_up_to_a_minute() -> None:
    backoff, now, tries = Backoff(), 0.0, []
    for now in range(200):
        if backoff.due(now):
            tries.append(now)
            backoff.failed(now)

    assert tries == [0, 1, 3, 7, 15, 31, 63, 123, 183]
