"""Memory pools under a limit: their reserve is charged, which the stub lets grow in steps of 32 MiB, as drivers do."""

from __future__ import annotations

import pytest

from tests.native.harness import LIMIT, MIB, Frame, Outcome, device

pytestmark = pytest.mark.slow

OOM, INVALID_DEVICE = 2, 101
STEP = 32 * MIB
START = "from reserves import *\nc = Reserves(); c.start(); f = c.library\n"


def run(frame: Frame, program: str) -> Outcome:
    outcome = frame.python(START + program)
    assert outcome.errors == ""
    return outcome


def peak(frame: Frame) -> int:
    """Bytes that the stub's device 1 ever held, of all processes."""
    return int.from_bytes(frame.truth.read_bytes()[40:48], "little")


def test_a_pool_is_charged_what_it_reserves_and_not_what_is_allocated_from_it(frame: Frame) -> None:
    outcome = run(
        frame, "c.take(1000); one = c.taken(); c.take(1000); two = c.taken(); c.take(33 * MIB); say(one, two, c.taken())"
    )

    assert outcome.said == [[32, 32, 96]]


def test_the_last_step_can_be_had_and_filled_and_no_byte_more(frame: Frame) -> None:
    frame.grants(device(memory=2 * STEP))

    outcome = run(frame, "say([c.take(8 * MIB)[0] for _ in range(8)], c.take(1)[0], c.code(1), c.memory()[0])")

    assert outcome.said == [[[0] * 8, OOM, OOM, 0]]
    assert peak(frame) == 2 * STEP


def test_a_step_that_does_not_fit_is_refused_before_the_driver_takes_it(frame: Frame) -> None:
    frame.grants(device(memory=STEP - 1))

    outcome = run(frame, "say(c.take(4096)[0], c.memory()[0], c.code(31 * MIB))")

    assert outcome.said == [[OOM, STEP - 1, 0]]
    assert peak(frame) == 31 * MIB


def test_a_driver_with_finer_steps_is_learnt(frame: Frame) -> None:
    frame.grants(device(memory=40 * MIB))

    outcome = run(
        frame.but(STUB_POOL_STEP=str(2 * MIB)), "say([c.take(2 * MIB)[0] for _ in range(20)], c.take(1)[0], c.memory()[0])"
    )

    assert outcome.said == [[[0] * 20, OOM, 0]]


def test_a_driver_with_coarser_steps_is_undone_where_it_took_too_much(frame: Frame) -> None:
    frame.grants(device(memory=100 * MIB))

    outcome = run(frame.but(STUB_POOL_STEP=str(128 * MIB)), "say(c.take(4096)[0], c.memory()[0], c.code(100 * MIB))")

    assert outcome.said == [[OOM, 100 * MIB, 0]]


def test_what_is_freed_is_given_back_when_the_stream_is_synchronised(frame: Frame) -> None:
    outcome = run(frame, "_, p = c.take(10 * MIB); c.give(p); kept = c.taken(); c.synchronise(); say(kept, c.taken())")

    assert outcome.said == [[32, 0]]


@pytest.mark.parametrize(
    "by", ["cuStreamSynchronize(STREAM)", "cuStreamSynchronize_ptsz(STREAM)", "cuEventSynchronize(None)", "cuCtxSynchronize()"]
)
def test_every_synchronisation_is_seen_by_other_processes(frame: Frame, by: str) -> None:
    with frame.start_python(f"{START}_, p = c.take(10 * MIB); c.give(p); f.{by}; say(0); wait_for_word()") as other:
        assert other.stdout is not None
        other.stdout.readline()
        outcome = run(frame, f"say(c.code({LIMIT}))")
        other.communicate("go\n")

    assert outcome.said == [0]


def test_a_pool_that_keeps_its_reserve_stays_charged_until_it_is_trimmed(frame: Frame) -> None:
    outcome = run(
        frame,
        "pool = c.default_pool(); c.keep(pool); _, p = c.take(10 * MIB); c.give(p); c.synchronise(); kept = c.taken()\n"
        "f.cuMemPoolTrimTo(pool, U64(0)); say(kept, c.taken())",
    )

    assert outcome.said == [[32, 0]]


@pytest.mark.parametrize("need", [f"c.code({LIMIT})", f"c.take({LIMIT})[0]", f"c.take({LIMIT}, c.pool()[1])[0]"])
def test_before_it_is_refused_a_process_trims_what_its_pools_do_not_use(frame: Frame, need: str) -> None:
    outcome = run(
        frame,
        "pool = c.default_pool(); c.keep(pool); held = [c.take(10 * MIB)[1] for _ in range(9)]; [c.give(p) for p in held]\n"
        f"say(c.taken(), {need})",
    )

    assert outcome.said == [[96, 0]]


def test_a_full_pool_in_a_full_share_goes_on_serving_what_it_is_given_back(frame: Frame) -> None:
    frame.grants(device(memory=STEP))

    outcome = run(
        frame,
        "held = [c.take(8 * MIB)[1] for _ in range(4)]; codes = set()\n"
        "for _ in range(200):\n"
        "    c.give(held.pop(0)); code, p = c.take(8 * MIB); codes.add(code); held.append(p)\n"
        "say(list(codes), c.taken(), c.code(1))",
    )

    assert outcome.said == [[[0], 32, OOM]]
    assert peak(frame) == STEP


def test_what_another_stream_freed_serves_too(frame: Frame) -> None:
    frame.grants(device(memory=STEP))

    outcome = run(frame, "_, p = c.take(20 * MIB); c.give(p, OTHER); say(c.take(20 * MIB)[0], c.take(20 * MIB)[0], c.taken())")

    assert outcome.said == [[0, OOM, 32]]


def test_an_allocation_that_fits_no_hole_of_a_full_share_is_undone(frame: Frame) -> None:
    """16 MiB are unused, in two places that are too small: the driver grows, and what it took is given back."""
    frame.grants(device(memory=STEP))

    outcome = run(
        frame,
        "held = [c.take(8 * MIB)[1] for _ in range(4)]; c.give(held[0]); c.give(held[2])\n"
        "say(c.take(16 * MIB)[0], c.taken(), c.take(8 * MIB)[0], c.take(8 * MIB)[0], c.taken())",
    )

    assert outcome.said == [[OOM, 32, 0, 0, 32]]


def test_a_pool_of_its_own_is_charged_and_gives_all_back_when_it_is_destroyed(frame: Frame) -> None:
    outcome = run(
        frame,
        "_, pool = c.pool(); c.keep(pool); _, p = c.take(40 * MIB, pool); c.give(p); kept = c.taken()\n"
        "f.cuMemPoolDestroy(pool); say(kept, c.taken())",
    )

    assert outcome.said == [[64, 0]]


def test_a_destroyed_pool_is_charged_until_its_last_allocation_is_freed(frame: Frame) -> None:
    outcome = run(
        frame,
        "_, pool = c.pool(); _, p = c.take(40 * MIB, pool); _, q = c.take(1, pool); f.cuMemPoolDestroy(pool)\n"
        "both = c.taken()\n"
        "c.free(p); one = c.taken(); c.free(q); say(both, one, c.taken())",
    )

    assert outcome.said == [[64, 64, 0]]


def test_the_current_pool_can_be_changed(frame: Frame) -> None:
    outcome = run(
        frame,
        "_, pool = c.pool(); c.take(1); f.cuDeviceSetMemPool(c.device(0), pool); c.take(33 * MIB); mine = c.reserved(pool)\n"
        "f.cuMemPoolDestroy(pool); c.take(1); say(mine, c.reserved(c.default_pool()), c.taken())",
    )

    assert outcome.said == [[64 * MIB, 32 * MIB, 96]]


def test_by_the_names_of_13_too(frame: Frame) -> None:
    outcome = run(
        frame,
        "where = (ctypes.c_int * 2)(1, c.device(0)); _, pool = c.pool(); got = ctypes.c_void_p()\n"
        "say(f.cuMemSetMemPool(where, 1, pool), f.cuMemGetMemPool(ctypes.byref(got), where, 1), got.value == pool.value)\n"
        "f.cuMemGetDefaultMemPool(ctypes.byref(got), where, 1); c.take(1)\n"
        "say(got.value == c.default_pool().value, c.reserved(pool))",
    )

    assert outcome.said == [[0, 0, True], [True, STEP]]


def test_no_pool_of_a_device_that_is_not_granted(frame: Frame) -> None:
    outcome = run(
        frame,
        "other = c.device(0) + 1; where = (ctypes.c_int * 2)(1, other); got = ctypes.c_void_p(); at = ctypes.byref(got)\n"
        "say(c.pool(device=other)[0], f.cuDeviceGetDefaultMemPool(at, other), f.cuDeviceGetMemPool(at, other),\n"
        "    f.cuDeviceSetMemPool(other, None), f.cuMemGetDefaultMemPool(at, where, 1), f.cuMemGetMemPool(at, where, 1),\n"
        "    f.cuMemSetMemPool(where, 1, None))",
    )

    assert outcome.said == [[INVALID_DEVICE] * 7]


@pytest.mark.parametrize("location", [2, 3, 4])
def test_pools_of_the_host_are_not_charged(frame: Frame, location: int) -> None:
    outcome = run(frame, f"_, pool = c.pool(location={location}, device=0); say(c.take(5 * {LIMIT}, pool)[0], c.taken())")

    assert outcome.said == [[0, 0]]


def test_a_pool_of_another_process_is_charged_to_that(frame: Frame) -> None:
    program = "pool = ctypes.c_void_p(); f.cuMemPoolImportFromShareableHandle(ctypes.byref(pool), None, 1, U64(0))\n"

    assert run(frame, f"{program}say(c.take(5 * {LIMIT}, pool)[0], c.taken())").said == [[0, 0]]


def test_pools_of_several_devices_are_charged_each_to_its_own(frame: Frame) -> None:
    """A stream's handle ends in its device; the current device is another."""
    frame.grants(device(2, memory=64 * MIB), device(1, memory=64 * MIB))

    outcome = run(
        frame,
        "second = ctypes.c_void_p(0x3002); say(c.take(1, stream=second)[0], c.take(33 * MIB, stream=second)[0])\n"
        "mine = c.taken()\n"
        "_, pool = c.pool(1); code = c.take(1, pool)[0]; c.use(1); say(mine, c.taken(), code)",
    )

    assert outcome.said == [[0, OOM], [0, 64, 0]]


def test_sizes_that_wrap_are_refused_and_none_is_the_drivers_affair(frame: Frame) -> None:
    outcome = run(
        frame,
        "_, p = c.take(MIB); c.give(p); say([c.take(2**64 - n)[0] for n in (1, 256, 512, 1 << 25)], c.take(0)[0], c.taken())",
    )

    assert outcome.said == [[[OOM] * 4, 1, 32]]


def test_a_drivers_error_costs_nothing(frame: Frame) -> None:
    outcome = run(frame.but(STUB_FAIL_NTH="2"), "say([c.take(MIB)[0] for _ in '123'], c.taken())")

    assert outcome.said == [[[0, 999, 0], 32]]


def test_a_double_free_is_answered_by_the_driver(frame: Frame) -> None:
    outcome = run(frame, "_, p = c.take(MIB); c.take(MIB); say(c.give(p), c.give(p), c.free(p), c.taken())")

    assert outcome.said == [[0, 1, 1, 32]]


def test_a_reset_of_the_device_ends_the_charge_of_its_pools(frame: Frame) -> None:
    outcome = run(
        frame,
        "c.keep(c.default_pool()); _, p = c.take(MIB); c.give(p); f.cuMemPoolTrimTo(c.default_pool(), U64(0))\n"
        "f.cuDevicePrimaryCtxReset_v2(c.device(0)); c.use(0); say(c.taken())",
    )

    assert outcome.said == [0]


def test_more_pools_than_can_be_counted_are_refused(frame: Frame) -> None:
    outcome = run(frame, "codes = [c.pool()[0] for _ in range(600)]; say(codes.index(2) >= 500, set(codes) == {0, 2})")

    assert outcome.said == [[True, True]]


def test_a_child_begins_with_pools_of_its_own(frame: Frame) -> None:
    outcome = run(
        frame,
        "c.take(MIB)\n"
        "if os.fork() == 0:\n"
        "    say(c.taken(), c.take(40 * MIB)[0], c.taken()); os._exit(0)\n"
        f"os.wait(); say(c.code({LIMIT} - 32 * MIB), c.taken())",
    )

    # the stub's pool is inherited with its chunk, which the child is charged for when it reads it
    assert outcome.said == [[32, 0, 128], [0, 1024]]


def test_threads_share_pools_and_lose_nothing(frame: Frame) -> None:
    outcome = run(
        frame,
        "import threading, random\n"
        "def play(seed):\n"
        "    luck = random.Random(seed); stream = ctypes.c_void_p(0x1001 + 16 * seed); c.use(0); held = []\n"
        "    for _ in range(300):\n"
        "        if held and luck.random() < 0.5:\n"
        "            c.give(held.pop(luck.randrange(len(held))), stream)\n"
        "        elif (got := c.take(luck.randrange(1, 50 * MIB), stream=stream))[0] == 0:\n"
        "            held.append(got[1])\n"
        "    for p in held: c.give(p, stream)\n"
        "threads = [threading.Thread(target=play, args=(n,)) for n in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]; c.synchronise(); say(c.taken(), c.code(c.memory()[0]))",
    )

    assert outcome.said == [[0, 0]]


def test_what_a_stream_has_freed_is_no_way_past_the_limit_where_the_driver_takes_another_place(frame: Frame) -> None:
    frame.grants(device(memory=4 * STEP))

    outcome = run(
        frame.but(STUB_BUSY="1"),
        "c.keep(c.default_pool()); _, p = c.take(32 * MIB); c.give(p)\n"
        "say([c.take(32 * MIB)[0] for _ in range(6)], c.taken() <= 128)",
    )

    assert outcome.said == [[[0, 0, 0, OOM, 0, OOM], True]]  # to undo what was too much is a synchronisation
    assert peak(frame) <= 5 * STEP
