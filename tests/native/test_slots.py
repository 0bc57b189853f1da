"""The arithmetic on a region, alone: slots.c and pointers.c without a driver, called through cffi."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cffi import FFI
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.native.harness import compile_c
from tests.native.hooks import NATIVE

pytestmark = pytest.mark.slow

ffi: Any = FFI()
ffi.cdef(
    """
    struct identity { uint32_t pid; uint64_t start_time; uint64_t pid_namespace; };
    struct pointer { uint64_t bytes; unsigned device; int kind; };
    struct stat { char state; uint64_t threads; uint64_t start_time; };

    void *region_new(void);
    void region_delete(void *region);
    int reserve(void *region, int slot, unsigned device, uint64_t limit, uint64_t bytes);
    void release(void *region, int slot, unsigned device, uint64_t bytes);
    int claim(void *region, struct identity who);
    bool reap(void *region, struct identity self);
    bool audit(void *region);
    bool clear_foreign(void *region, struct identity self);
    void reserve_anonymous(void *region, unsigned device, uint64_t bytes);
    void clear_anonymous(void *region);
    uint64_t anonymous_begin(void *region);
    uint64_t anonymous_end(void *region);
    void set_dead(uint32_t pid, int dead);
    uint64_t device_used(void *region, unsigned device);
    uint64_t device_peak(void *region, unsigned device);
    uint64_t slot_used(void *region, int slot, unsigned device);
    uint64_t slot_state(void *region, int slot);
    void die_reserving(void *region, int slot, unsigned device, uint64_t bytes, int step);
    void die_releasing(void *region, int slot, unsigned device, uint64_t bytes, int step);
    void die_reaping(void *region, int slot, struct identity reaper, int step);
    void die_claiming(void *region, int slot, struct identity who);

    void *table_new(void);
    void table_delete(void *table);
    bool table_add(void *table, uint64_t key, struct pointer value, struct pointer *stale);
    bool table_take(void *table, uint64_t key, struct pointer *value);
    size_t table_count(void *table);

    bool stat_parse(const char *text, size_t length, struct stat *stat);
    """
)

HERE_NAMESPACE = 4026531836
LIMIT = 1000


def who(pid: int, start: int = 77, namespace: int = HERE_NAMESPACE) -> tuple[int, int, int]:
    return (pid, start, namespace)


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> Any:
    sources = [str(NATIVE / "src" / name) for name in ("slots.c", "pointers.c", "identity.c")]
    flags = ["-shared", "-fPIC", "-iquote", str(NATIVE / "include"), "-iquote", str(NATIVE / "src")]
    return ffi.dlopen(str(compile_c(tmp_path_factory.mktemp("slots") / "slots.so", "slots_bridge.c", *sources, flags=flags)))


@pytest.fixture
def region(c: Any) -> Any:
    for pid in range(64):
        c.set_dead(pid, 0)
    made = c.region_new()
    yield made
    c.region_delete(made)


def test_a_reservation_up_to_the_limit_fits_and_one_byte_more_does_not(c: Any, region: Any) -> None:
    slot = c.claim(region, who(1))

    assert [c.reserve(region, slot, 3, LIMIT, n) for n in (LIMIT - 1, 2, 1, 1, 0)] == [1, 0, 1, 0, 1]
    assert (c.device_used(region, 3), c.slot_used(region, slot, 3), c.device_peak(region, 3)) == (LIMIT, LIMIT, LIMIT)


@given(limit=st.integers(0, 2**64 - 1), held=st.integers(0, 2**56), asked=st.integers(0, 2**64 - 1))
def test_a_reservation_fits_exactly_when_the_sum_does(c: Any, limit: int, held: int, asked: int) -> None:
    region = c.region_new()
    slot = c.claim(region, who(1))
    c.reserve(region, slot, 0, 2**64 - 1, held)

    fits = c.reserve(region, slot, 0, limit, asked)

    assert bool(fits) == (held + asked <= limit)
    assert c.device_used(region, 0) == (held + asked if fits else held)
    c.region_delete(region)


def test_a_limit_below_what_is_used_refuses_and_wraps_nowhere(c: Any, region: Any) -> None:
    slot = c.claim(region, who(1))
    c.reserve(region, slot, 0, LIMIT, LIMIT)

    assert c.reserve(region, slot, 0, LIMIT // 2, 1) == 0


def test_processes_get_slots_of_their_own_until_there_are_none(c: Any, region: Any) -> None:
    assert [c.claim(region, who(pid)) for pid in range(1, 514)] == [*range(512), -1]


def test_a_process_finds_its_own_slot_again_and_empty(c: Any, region: Any) -> None:
    slot = c.claim(region, who(1))
    c.reserve(region, slot, 0, LIMIT, 10)
    c.claim(region, who(2))

    assert c.claim(region, who(1)) == slot
    assert (c.slot_used(region, slot, 0), c.device_used(region, 0)) == (0, 0)


@pytest.mark.parametrize("other", [who(1, start=78), who(1, namespace=5), who(2)])
def test_a_number_that_comes_again_is_another_process(c: Any, region: Any, other: tuple[int, int, int]) -> None:
    slot = c.claim(region, who(1))
    c.reserve(region, slot, 0, LIMIT, 10)

    assert c.claim(region, other) != slot
    assert c.device_used(region, 0) == 10


def test_the_dead_are_reaped_and_the_living_are_not(c: Any, region: Any) -> None:
    for pid in (1, 2):
        c.reserve(region, c.claim(region, who(pid)), 0, LIMIT, 100 * pid)
    c.set_dead(1, 1)

    assert (c.reap(region, who(2)), c.device_used(region, 0), c.slot_state(region, 0)) == (True, 200, 0)
    assert (c.reap(region, who(2)), c.audit(region)) == (False, False)


def test_who_cannot_be_told_dead_keeps_what_it_has(c: Any, region: Any) -> None:
    c.reserve(region, c.claim(region, who(1, namespace=99)), 0, LIMIT, 100)
    c.set_dead(1, 1)

    assert (c.reap(region, who(2)), c.device_used(region, 0)) == (False, 100)


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("act", ["die_reserving", "die_releasing"])
def test_death_at_any_step_leaves_too_much_and_all_comes_back(c: Any, region: Any, act: str, step: int) -> None:
    victim, survivor = c.claim(region, who(1)), c.claim(region, who(2))
    c.reserve(region, victim, 0, LIMIT, 300)
    c.reserve(region, survivor, 0, LIMIT, 50)

    getattr(c, act)(region, victim, 0, 300, step)
    assert c.device_used(region, 0) >= c.slot_used(region, victim, 0) + 50
    c.set_dead(1, 1)
    c.reap(region, who(2))
    c.audit(region)

    assert (c.device_used(region, 0), c.reserve(region, survivor, 0, LIMIT, LIMIT - 50)) == (50, 1)


@pytest.mark.parametrize("step", range(3))
def test_a_reaper_that_dies_is_reaped(c: Any, region: Any, step: int) -> None:
    c.reserve(region, c.claim(region, who(1)), 0, LIMIT, 300)
    c.set_dead(1, 1)
    c.die_reaping(region, 0, who(2), step)
    assert (c.reap(region, who(3)), c.audit(region)) == (False, False)  # it may only be slow
    c.set_dead(2, 1)

    c.reap(region, who(3))
    c.audit(region)

    assert (c.device_used(region, 0), c.slot_state(region, 0)) == (0, 0)


def test_a_claimer_that_dies_leaves_a_slot_that_can_be_claimed(c: Any, region: Any) -> None:
    c.die_claiming(region, 0, who(1))
    c.set_dead(1, 1)

    assert (c.reap(region, who(2)), c.claim(region, who(2))) == (True, 0)


def test_what_a_thread_was_doing_when_another_called_exec_is_undone(c: Any, region: Any) -> None:
    c.reserve(region, c.claim(region, who(9)), 0, LIMIT, 300)
    c.set_dead(9, 1)
    c.die_reaping(region, 0, who(1), 1)

    c.claim(region, who(1))
    c.audit(region)

    assert c.device_used(region, 0) == 0


@pytest.mark.parametrize("step", range(1, 3))
@pytest.mark.parametrize("act", ["die_reserving", "die_releasing"])
def test_the_audit_leaves_a_process_between_two_steps_alone(c: Any, region: Any, act: str, step: int) -> None:
    """It is alive: stopped, or frozen, and will go on. Correcting now would be wrong for good."""
    stopped = c.claim(region, who(1))
    c.reserve(region, stopped, 0, LIMIT, 300)
    getattr(c, act)(region, stopped, 0, 300, step)
    before = c.device_used(region, 0)

    assert (c.audit(region), c.device_used(region, 0)) == (False, before)


def test_slots_of_other_namespaces_are_cleared_when_no_process_of_ours_lives(c: Any, region: Any) -> None:
    for pid, namespace in ((1, 99), (2, 98), (3, HERE_NAMESPACE)):
        c.reserve(region, c.claim(region, who(pid, namespace=namespace)), 0, LIMIT, 100)
    c.die_reaping(region, 1, who(9, namespace=99), 1)
    c.set_dead(3, 1)

    assert (c.clear_foreign(region, who(4)), c.device_used(region, 0)) == (True, 0)
    assert [c.slot_state(region, slot) for slot in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("other", [who(3), who(3, namespace=0)], ids=["alive", "untold"])
def test_one_slot_of_a_process_that_may_live_keeps_all_of_them(c: Any, region: Any, other: tuple[int, int, int]) -> None:
    for owner in (who(1, namespace=99), other):
        c.reserve(region, c.claim(region, owner), 0, LIMIT, 100)

    assert (c.clear_foreign(region, who(4)), c.device_used(region, 0)) == (False, 200)


def test_emptying_the_anonymous_slot_shows_in_its_brackets(c: Any, region: Any) -> None:
    """Its state tells nothing: an audit between the two steps would give the bytes back twice."""
    c.reserve_anonymous(region, 0, 100)
    before = c.anonymous_begin(region)

    c.clear_anonymous(region)

    assert (c.anonymous_begin(region), c.anonymous_end(region)) == (before + 1, before + 1)
    assert c.device_used(region, 0) == 0


class Table(RuleBasedStateMachine):
    """The pointer table against a dict. Keys fall into few buckets, so that levels grow."""

    library: Any

    def __init__(self) -> None:
        super().__init__()
        self.table = self.library.table_new()
        self.model: dict[int, tuple[int, int, int]] = {}

    @rule(key=st.integers(2, 40).map(lambda n: n << 44), size=st.integers(1, 2**56 - 1), device=st.integers(0, 15))
    def add(self, key: int, size: int, device: int) -> None:
        stale = ffi.new("struct pointer *")
        assert self.library.table_add(self.table, key, (size, device, 0), stale)
        before = self.model.get(key, (0, 0, 0))
        assert stale.bytes == before[0]
        self.model[key] = (size, device, 0)

    @rule(key=st.integers(2, 40).map(lambda n: n << 44))
    def take(self, key: int) -> None:
        value = ffi.new("struct pointer *")
        known = self.library.table_take(self.table, key, value)
        assert known == (key in self.model)
        if known:
            assert (value.bytes, value.device, value.kind) == self.model.pop(key)

    @invariant()
    def counts_agree(self) -> None:
        assert self.library.table_count(self.table) == len(self.model)

    def teardown(self) -> None:
        self.library.table_delete(self.table)


def test_the_pointer_table_is_a_dictionary(c: Any) -> None:
    run_state_machine_as_test(type("BoundTable", (Table,), {"library": c}))


def test_the_pointer_table_holds_a_hundred_thousand(c: Any) -> None:
    table, value = c.table_new(), ffi.new("struct pointer *")
    keys = [(0x7F << 40) + 512 * n for n in range(100_000)]

    assert all(c.table_add(table, key, (n + 1, 0, 0), value) for n, key in enumerate(keys))
    assert c.table_count(table) == 100_000
    assert all(c.table_take(table, key, value) and value.bytes == n + 1 for n, key in enumerate(keys))
    assert (c.table_count(table), c.table_take(table, keys[0], value)) == (0, False)
    c.table_delete(table)


@pytest.mark.parametrize("nothing", [0, 1])
def test_what_stands_for_nothing_is_never_known(c: Any, nothing: int) -> None:
    key = 2**44
    table, value = c.table_new(), ffi.new("struct pointer *")
    while key * 0x9E3779B97F4A7C15 % 2**64 >> 54:  # one of the first bucket, where 0 would lie
        key += 512

    c.table_add(table, key, (4096, 0, 0), value)
    c.table_take(table, key, value)

    assert not c.table_take(table, nothing, value)
    assert c.table_add(table, nothing, (1, 0, 0), value)
    assert value.bytes == 0
    assert (c.table_take(table, nothing, value), c.table_count(table)) == (False, 0)
    c.table_delete(table)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("7 (plain) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 20 18 22 rest", ("S", 20, 22)),
        ("7 (with ) bracket) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 2 18 99 0", ("Z", 2, 99)),
        ("7 (a (b) c d) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 1 18 5", ("R", 1, 5)),
        ("7 (short) S 1 2", None),
        ("", None),
        (")", None),
    ],
)
def test_a_proc_stat_is_read_after_its_last_bracket(c: Any, text: str, parsed: tuple[str, int, int] | None) -> None:
    stat = ffi.new("struct stat *")

    found = c.stat_parse(text.encode(), len(text), stat)

    assert found == (parsed is not None)
    if parsed:
        assert (stat.state.decode(), stat.threads, stat.start_time) == parsed


def test_this_very_process_can_be_read(c: Any) -> None:
    content = Path("/proc/self/stat").read_bytes()

    assert c.stat_parse(content, len(content), ffi.new("struct stat *"))
