"""The limit on memory, as a program meets it."""

import os
import subprocess

import pytest

from hami_native import Region
from tests.native.harness import LIMIT, MIB, Frame, device, uuid

OOM = 2
GIB16 = 16 << 30


def test_the_share_can_be_filled_to_the_byte_and_not_beyond(frame: Frame) -> None:
    outcome = frame.python(f"c = Cuda(); c.start(); say(c.code({LIMIT} + 1), c.code({LIMIT}), c.code(1), c.memory())")

    assert outcome.said == [[OOM, 0, OOM, [0, LIMIT]]]


def test_an_allocation_of_exactly_what_is_free_succeeds(frame: Frame) -> None:
    outcome = frame.python("c = Cuda(); c.start(); c.code(12345); free, _ = c.memory(); say(c.code(free + 1), c.code(free))")

    assert outcome.said == [[OOM, 0]]


def test_what_is_freed_can_be_allocated_again(frame: Frame) -> None:
    outcome = frame.python(f"c = Cuda(); c.start(); _, p = c.allocate({LIMIT}); say(c.free(p), c.memory(), c.code({LIMIT}))")

    assert outcome.said == [[0, [LIMIT, LIMIT], 0]]


def test_sizes_that_wrap_are_refused(frame: Frame) -> None:
    outcome = frame.python("c = Cuda(); c.start(); c.code(512); say([c.code(2**64 - n) for n in (1, 256, 512, 513)])")

    assert outcome.said == [[OOM] * 4]


@pytest.mark.parametrize("call", ["cuMemAllocManaged', 1, None", "cuMemAllocAsync', None", "cuMemAllocAsync_ptsz', None"])
def test_every_way_to_allocate_is_charged(frame: Frame, call: str) -> None:
    outcome = frame.python(f"c = Cuda(); c.start(); say(c.code({LIMIT}, '{call}), c.code(1), c.code(1, '{call}))")

    assert outcome.said == [[0, OOM, OOM]]


@pytest.mark.parametrize("free", ["cuMemFree_v2'", "cuMemFreeAsync', None", "cuMemFreeAsync_ptsz', None"])
def test_every_way_to_free_gives_back(frame: Frame, free: str) -> None:
    outcome = frame.python(f"c = Cuda(); c.start(); _, p = c.allocate({LIMIT}); say(c.free(p, '{free}), c.memory())")

    assert outcome.said == [[0, [LIMIT, LIMIT]]]


def test_a_pitched_allocation_is_charged_what_its_rows_take(frame: Frame) -> None:
    outcome = frame.python("c = Cuda(); c.start(); code, _, pitch = c.pitch(4, 1000); say(code, pitch, c.memory()[0])")

    assert outcome.said == [[0, 256, LIMIT - 256 * 1000]]


def test_a_pitched_allocation_that_overflows_is_refused(frame: Frame) -> None:
    assert frame.python("c = Cuda(); c.start(); say(c.pitch(2**40, 2**40)[0], c.memory()[0])").said == [[OOM, LIMIT]]


def test_a_drivers_error_is_the_programs_and_costs_nothing(frame: Frame) -> None:
    outcome = frame.but(STUB_FAIL_NTH="2").python("c = Cuda(); c.start(); say([c.code(4096) for _ in '123'], c.memory()[0])")

    assert outcome.said == [[[0, 999, 0], LIMIT - 2 * 4096]]


def test_threads_that_retain_a_context_which_does_not_fit_are_all_refused(frame: Frame) -> None:
    frame.grants(device(memory=64 * MIB, context=100 * MIB))

    outcome = frame.python(
        "import threading\n"
        "c = Cuda(); c.library.cuInit(0); d = c.device(0); codes = []; together = threading.Barrier(8)\n"
        "def retain():\n"
        "    context = ctypes.c_void_p(); together.wait()\n"
        "    for _ in range(100): codes.append(c.library.cuDevicePrimaryCtxRetain(ctypes.byref(context), d))\n"
        "threads = [threading.Thread(target=retain) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "say(codes.count(2), len(codes))"
    )

    assert outcome.said == [[800, 800]]


def test_freeing_null_gives_nothing_back(frame: Frame) -> None:
    outcome = frame.python(
        f"c = Cuda(); c.start(); c.code({LIMIT} // 2)\n"
        "for p in [c.allocate(4096)[1] for _ in range(1900)]: c.free(p)\n"
        "say([c.free(0) for _ in range(99)] == [0] * 99, c.memory()[0])"
    )

    assert outcome.said == [[True, LIMIT // 2]]


def test_a_double_free_is_answered_by_the_driver_and_gives_nothing_back(frame: Frame) -> None:
    outcome = frame.python(
        "c = Cuda(); c.start(); c.code(4096); _, p = c.allocate(4096); say(c.free(p), c.free(p), c.free(999), c.memory()[0])"
    )

    assert outcome.said == [[0, 1, 1, LIMIT - 4096]]


def test_before_init_and_without_a_context_the_driver_answers(frame: Frame) -> None:
    outcome = frame.python("c = Cuda(); before = c.code(1); c.library.cuInit(0); say(before, c.code(1), c.count())")

    assert outcome.said == [[3, 201, 1]]


def test_null_outputs_are_allowed_where_the_driver_allows_them(frame: Frame) -> None:
    assert frame.python("c = Cuda(); c.start(); say(c.library.cuMemGetInfo_v2(None, None))").said == [0]


def test_the_total_is_the_limit_by_every_question(frame: Frame) -> None:
    outcome = frame.python(
        "c = Cuda(); c.start(); n = Nvml(); c.code(4096)\n"
        "total = ctypes.c_size_t(); c.library.cuDeviceTotalMem_v2(ctypes.byref(total), c.device(0))\n"
        "say(total.value, c.memory(), n.memory(), n.memory2())"
    )

    assert outcome.said == [[LIMIT, [LIMIT - 4096, LIMIT], [LIMIT, LIMIT - 4096, 4096], [LIMIT, 0, LIMIT - 4096, 4096]]]


def test_two_processes_share_one_limit(frame: Frame) -> None:
    with frame.start_python(f"c = Cuda(); c.start(); say(c.code({LIMIT} - 100)); wait_for_word()") as other:
        assert other.stdout is not None
        other.stdout.readline()
        outcome = frame.python("c = Cuda(); c.start(); say(c.memory()[0], c.code(101), c.code(100))")
        other.communicate("go\n")

    assert outcome.said == [[100, OOM, 0]]


def test_several_devices_have_each_their_own_limit(frame: Frame) -> None:
    frame.grants(device(0, memory=4 * MIB), device(3, memory=8 * MIB))

    outcome = frame.python(
        "c = Cuda(); c.start(0); first = c.code(4 * MIB), c.code(1)\n"
        "c.use(1); say(first, [c.code(8 * MIB), c.code(1), c.memory()])"
    )

    assert outcome.said == [[[0, OOM], [0, OOM, [0, 8 * MIB]]]]
    assert [d.used for d in Region.read(frame.region()).devices] == [4 * MIB, 8 * MIB]


def test_a_free_counts_for_the_device_that_holds_the_memory_not_the_current_one(frame: Frame) -> None:
    frame.grants(device(0, memory=4 * MIB), device(3, memory=8 * MIB))

    outcome = frame.python(
        "c = Cuda(); c.start(0); _, p = c.allocate(4 * MIB); c.use(1); c.free(p); c.use(0); say(c.memory()[0])"
    )

    assert outcome.said == [4 * MIB]


def test_contexts_are_charged_what_the_limits_file_says(frame: Frame) -> None:
    frame.grants(device(memory=100 * MIB, context=30 * MIB))

    outcome = frame.python(
        "c = Cuda(); c.start(); context = ctypes.c_void_p(); free = [c.memory()[0]]\n"
        "c.use(0); free.append(c.memory()[0])\n"
        "c.library.cuCtxCreate_v2(ctypes.byref(context), 0, c.device(0)); free.append(c.memory()[0])\n"
        "c.library.cuCtxDestroy_v2(context); c.use(0); free.append(c.memory()[0]); say(free)"
    )

    assert outcome.said == [[70 * MIB, 70 * MIB, 40 * MIB, 70 * MIB]]


def test_a_context_that_does_not_fit_is_out_of_memory(frame: Frame) -> None:
    frame.grants(device(memory=10 * MIB, context=30 * MIB))

    outcome = frame.python("c = Cuda(); say(c.start())")

    assert outcome.said == [OOM]
    assert "context" in outcome.errors


@pytest.mark.parametrize("end", ["cuDevicePrimaryCtxReset_v2", "cuDevicePrimaryCtxRelease_v2"])
def test_the_end_of_a_context_ends_the_charge_for_all_that_was_in_it(frame: Frame, end: str) -> None:
    frame.grants(device(memory=100 * MIB, context=30 * MIB))

    outcome = frame.python(
        f"c = Cuda(); c.start(); c.code(70 * MIB); c.library.{end}(c.device(0)); say(c.use(0), c.memory()[0])"
    )

    assert outcome.said == [[0, 70 * MIB]]


def test_destroying_a_context_leaves_the_memory_of_another_charged(frame: Frame) -> None:
    outcome = frame.python(
        "c = Cuda(); c.start(); c.code(1 * MIB); context = ctypes.c_void_p()\n"
        "c.library.cuCtxCreate_v2(ctypes.byref(context), 0, c.device(0)); c.code(2 * MIB)\n"
        "c.library.cuCtxDestroy_v2(context); c.use(0); say(c.memory()[0])"
    )

    assert outcome.said == [LIMIT - 1 * MIB]


def test_a_smaller_limit_is_followed_while_the_program_runs(frame: Frame) -> None:
    with frame.start_python(
        f"c = Cuda(); c.start(); say(c.code(512)); wait_for_word(); say(c.memory()[1], c.code({LIMIT} // 2))"
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        frame.grants(device(memory=LIMIT // 2))
        said, _ = program.communicate("go\n")

    assert said == f"[{LIMIT // 2}, {OOM}]\n"


def test_a_larger_limit_is_followed_by_the_allocation_that_needs_it(frame: Frame) -> None:
    with frame.start_python(f"c = Cuda(); c.start(); say(c.code(512)); wait_for_word(); say(c.code({LIMIT}))") as program:
        assert program.stdout is not None
        program.stdout.readline()
        frame.grants(device(memory=2 * LIMIT))
        said, _ = program.communicate("go\n")

    assert said == "0\n"


def test_a_limits_file_that_goes_wrong_leaves_nothing_to_allocate(frame: Frame) -> None:
    with frame.start_python(
        "c = Cuda(); c.start(); say(c.code(512)); wait_for_word(); say(c.memory(), c.code(512))"
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        frame.limits.write_text("hami-limits 1\ngrant pod/main\n")
        said, errors = program.communicate("go\n")

    assert said == f"[[0, 0], {OOM}]\n"
    assert "the last line is not `end`" in errors


@pytest.mark.parametrize(
    ("variable", "value"), [("CUDA_DEVICE_MEMORY_LIMIT", "100m"), ("CUDA_DEVICE_MEMORY_LIMIT_0", "102400k")]
)
def test_a_variable_tightens_the_file(frame: Frame, variable: str, value: str) -> None:
    assert frame.but(**{variable: value}).python("c = Cuda(); c.start(); say(c.memory())").said == [[100 * MIB, 100 * MIB]]


def test_a_variable_never_loosens_the_file(frame: Frame) -> None:
    assert frame.but(CUDA_DEVICE_MEMORY_LIMIT="9g").python("c = Cuda(); c.start(); say(c.memory())").said == [[LIMIT, LIMIT]]


@pytest.mark.parametrize("value", ["", "0", "1.5g", "8gb", "8GiB", "0x10m", "-1", " 1g", "99999999999g", "unlimited"])
def test_a_malformed_variable_closes_everything(frame: Frame, value: str) -> None:
    outcome = frame.but(CUDA_DEVICE_MEMORY_LIMIT=value).python("say(Cuda().start(), Nvml().count())")

    assert outcome.said == [[100, 0]]
    assert f"CUDA_DEVICE_MEMORY_LIMIT={value}: give bytes" in outcome.errors


def test_variables_alone_limit_the_devices_they_number(frame: Frame) -> None:
    frame.limits.unlink()
    region = frame.folder / "cache"
    alone = frame.but(CUDA_DEVICE_MEMORY_LIMIT_1="5m", CUDA_DEVICE_MEMORY_SHARED_CACHE=str(region))

    outcome = alone.python("c = Cuda(); c.start(); say(c.count(), c.code(5 * MIB), c.code(1)); say(Nvml().uuids())")

    assert outcome.said == [[1, 0, OOM], [uuid(2)]]
    assert Region.read(region).devices[0].used == 5 * MIB


@pytest.mark.parametrize("program", ["say(Cuda().start())", "say(Nvml().count() or 100)"])
def test_without_any_limits_nothing_is_granted(frame: Frame, program: str) -> None:
    frame.limits.unlink()

    outcome = frame.python(program)

    assert outcome.said == [100]
    assert outcome.errors.count("no device is granted") == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "the limits are empty"),
        ("hami-limits 2\nend\n", "the first line must be `hami-limits 1`"),
        ("hami-limits 1\ngrant a/b\n[nvidia]\n", "the last line is not `end`"),
    ],
)
def test_closed_limits_close_cuda_and_nvml_and_say_why_once(frame: Frame, content: str, why: str) -> None:
    frame.limits.write_text(content)

    outcome = frame.python("c = Cuda(); say(c.start(), c.start(), c.code(1), Nvml().count())")

    assert outcome.said == [[100, 100, 100, 0]]
    assert outcome.errors.count(why) == 1


def test_a_named_file_that_is_missing_closes(frame: Frame) -> None:
    outcome = frame.but(HAMI_LIMITS="/nowhere/limits", CUDA_DEVICE_MEMORY_LIMIT="1g").python("say(Cuda().start())")

    assert (outcome.said, "cannot read it" in outcome.errors) == ([100], True)


def test_a_relative_path_means_the_folder_the_program_began_in(frame: Frame) -> None:
    outcome = frame.but(HAMI_LIMITS="limits").python(
        f"os.chdir({str(frame.folder)!r}); c = Cuda(); c.library.cuInit(0); os.chdir('/'); say(c.start(), c.code(1))"
    )

    assert outcome.said == [[0, 0]]


def test_a_program_that_ends_leaves_nothing_charged_for_the_next(frame: Frame) -> None:
    frame.python(f"c = Cuda(); c.start(); c.code({LIMIT})")

    assert frame.python(f"c = Cuda(); c.start(); say(c.memory()[0], c.code({LIMIT}))").said == [[LIMIT, 0]]


def test_ten_thousand_allocations_are_all_given_back(frame: Frame) -> None:
    outcome = frame.python(
        "c = Cuda(); c.start(); held = [c.allocate(512)[1] for _ in range(10000)]; used = c.memory()[0]\n"
        "say(len(set(held)), used, [c.free(p) for p in held] == [0] * 10000, c.memory()[0])"
    )

    assert outcome.said == [[10000, LIMIT - 512 * 10000, True, LIMIT]]


def test_the_peak_is_the_most_that_was_held(frame: Frame) -> None:
    frame.python("c = Cuda(); c.start(); _, p = c.allocate(7 * MIB); c.free(p); c.code(1 * MIB)")

    assert Region.read(frame.region()).devices[0].peak == 7 * MIB


def test_an_unwritable_folder_refuses_and_says_so(frame: Frame) -> None:
    if os.geteuid() == 0:  # root writes everywhere: a path that is no folder refuses root too
        subprocess.run(["mkdir", frame.region()], check=True)
    else:
        frame.folder.chmod(0o500)

    outcome = frame.python("c = Cuda(); c.start(); say(c.code(1), c.memory())")
    frame.folder.chmod(0o700)

    assert outcome.said == [[OOM, [0, LIMIT]]]
    assert outcome.errors.count("no memory can be allocated") == 1


def test_a_green_context_is_charged_like_another(frame: Frame) -> None:
    frame.grants(device(memory=100 * MIB, context=30 * MIB))

    outcome = frame.python(
        "c = Cuda(); c.start(); f = c.library; green = [ctypes.c_void_p() for _ in range(3)]\n"
        "made = [f.cuGreenCtxCreate(ctypes.byref(g), None, c.device(0), 1) for g in green]; c.use(0); full = c.memory()[0]\n"
        "f.cuGreenCtxDestroy(green[0]); c.use(0); say(made, full, c.memory()[0])"
    )

    assert outcome.said == [[[0, 0, 2], 10 * MIB, 40 * MIB]]


def test_a_context_destroyed_without_another_current_gives_back_what_was_in_it(frame: Frame) -> None:
    """The stub, like the documentation, answers questions about pointers only where a context is current."""
    outcome = frame.python(
        "c = Cuda(); c.library.cuInit(0); context = ctypes.c_void_p()\n"
        "c.library.cuCtxCreate_v2(ctypes.byref(context), 0, c.device(0)); c.code(5 * MIB)\n"
        f"c.library.cuCtxSetCurrent(None); c.library.cuCtxDestroy_v2(context); c.use(0); say(c.memory()[0], c.code({LIMIT}))"
    )

    assert outcome.said == [[LIMIT, 0]]


def test_a_context_that_cannot_be_destroyed_keeps_its_charge_and_what_is_in_it(frame: Frame) -> None:
    frame.grants(device(memory=100 * MIB, context=30 * MIB))

    outcome = frame.python(
        "c = Cuda(); c.start(); _, p = c.allocate(10 * MIB); context = ctypes.c_void_p()\n"
        "c.library.cuDevicePrimaryCtxRetain(ctypes.byref(context), c.device(0))\n"
        "say(c.library.cuCtxDestroy_v2(context), c.memory()[0], c.free(p), c.memory()[0])"
    )

    assert outcome.said == [[201, 60 * MIB, 0, 70 * MIB]]


def test_a_primary_context_lives_and_keeps_its_memory_until_its_last_reference_is_released(frame: Frame) -> None:
    frame.grants(device(memory=100 * MIB, context=30 * MIB))

    outcome = frame.python(
        "c = Cuda(); c.start(); c.use(0); c.code(10 * MIB); free = []\n"
        "for _ in '12':\n"
        "    c.library.cuDevicePrimaryCtxRelease_v2(c.device(0)); free.append(c.memory()[0])\n"
        "say(free)"
    )

    assert outcome.said == [[60 * MIB, 100 * MIB]]


def test_refusals_by_the_limit_are_counted_in_the_region(frame: Frame) -> None:
    frame.python(f"c = Cuda(); c.start(); c.code({LIMIT}); c.code(1); c.code({LIMIT} * 2); c.code(1)")

    assert Region.read(frame.region()).devices[0].refused == 3
