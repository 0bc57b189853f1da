"""A guest in somebody else's process: fork, exec, threads, exit; and what must be left as it was found."""

from __future__ import annotations

import sys

import pytest

from hami_native import Region
from tests.native.harness import LIMIT, MIB, Frame


def test_a_child_forked_before_cuda_began_is_an_ordinary_process(frame: Frame) -> None:
    outcome = frame.python(
        "if os.fork() == 0:\n"
        "    c = Cuda(); c.start(); say(c.code(2 * MIB), c.memory()[0]); os._exit(0)\n"
        "os.wait(); c = Cuda(); c.start(); say(c.code(1 * MIB), c.memory()[0])"
    )

    assert outcome.said == [[0, LIMIT - 2 * MIB], [0, LIMIT - 1 * MIB]]


def test_a_child_forked_later_does_not_give_back_what_its_parent_holds(frame: Frame) -> None:
    outcome = frame.python(
        "c = Cuda(); c.start(); _, p = c.allocate(5 * MIB)\n"
        "if os.fork() == 0:\n"
        "    c.free(p); os._exit(0)\n"
        "os.wait(); say(c.memory()[0])"
    )

    assert outcome.said == [LIMIT - 5 * MIB]


def test_a_child_forked_later_takes_a_slot_of_its_own_when_it_is_charged(frame: Frame) -> None:
    """The stub lets a forked child allocate, which a real driver refuses."""
    outcome = frame.python(
        "c = Cuda(); c.start(); c.code(5 * MIB)\n"
        "r, w = os.pipe(); back, go = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    say(c.code(3 * MIB)); os.write(w, b'x'); os.read(back, 1); os._exit(0)\n"
        "os.read(r, 1); say(c.memory()[0]); os.write(go, b'x'); os.wait()\n"
        f"say(c.code(1), c.code({LIMIT}), c.memory()[0])"
    )

    assert outcome.said == [0, LIMIT - 8 * MIB, [0, 2, LIMIT - 5 * MIB - 1]]


def test_a_program_that_was_replaced_by_exec_holds_nothing(frame: Frame) -> None:
    after = f"from client import *; c = Cuda(); c.start(); say(c.code({LIMIT}))"

    outcome = frame.python(
        f"c = Cuda(); c.start(); say(c.code({LIMIT})); os.execv({sys.executable!r}, ['python', '-S', '-c', {after!r}])"
    )

    assert outcome.said == [0, 0]
    assert len(Region.read(frame.region()).processes) == 1


def test_threads_share_one_slot_and_lose_nothing(frame: Frame) -> None:
    outcome = frame.python(
        "import threading\n"
        "c = Cuda(); c.start(); context = ctypes.c_void_p()\n"
        "c.library.cuDevicePrimaryCtxRetain(ctypes.byref(context), c.device(0))\n"
        "def work():\n"
        "    c.library.cuCtxSetCurrent(context)\n"
        "    for _ in range(300):\n"
        "        held = [c.allocate(4096)[1] for _ in range(10)]\n"
        "        for p in held: c.free(p)\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]; say(c.memory()[0])"
    )

    assert outcome.said == [LIMIT]
    region = Region.read(frame.region())
    assert (len(region.processes), region.devices[0].used) == (1, 0)


def test_errno_umask_signals_and_descriptors_are_as_before(frame: Frame) -> None:
    outcome = frame.python(
        "import signal\n"
        "c = Cuda(); libc = ctypes.CDLL(None, use_errno=True)\n"
        "def state():\n"
        "    mask = os.umask(0); os.umask(mask)\n"
        "    handlers = [str(signal.getsignal(n)) for n in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGBUS)]\n"
        "    return mask, handlers, sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
        "os.umask(0o27); before = state()\n"
        "library = ctypes.CDLL('libcuda.so.1', use_errno=True); ctypes.set_errno(77)\n"
        "library.cuInit(0); c.use(0); p = U64(); errors = []\n"
        f"for size in (4096, {LIMIT}, 4096):\n"
        "    ctypes.set_errno(77); library.cuMemAlloc_v2(ctypes.byref(p), ctypes.c_size_t(size))\n"
        "    errors.append(ctypes.get_errno())\n"
        "say(state() == before, errors)"
    )

    assert outcome.said == [[True, [77, 77, 77]]]


def test_closed_standard_streams_are_not_taken_for_the_region(frame: Frame) -> None:
    outcome = frame.python(
        "said = os.dup(1); [os.close(n) for n in (0, 1, 2)]; c = Cuda(); c.start(); code = c.code(1)\n"
        "def is_open(n):\n"
        "    try: os.fstat(n); return True\n"
        "    except OSError: return False\n"
        "left = [is_open(n) for n in (0, 1, 2)]; os.dup2(said, 1); say(code, left)"
    )

    assert outcome.said == [[0, [False] * 3]]


def test_nothing_is_printed_by_default(frame: Frame) -> None:
    outcome = frame.python(f"c = Cuda(); c.start(); say(c.code({LIMIT}), c.code(1)); Nvml().memory()")

    assert (outcome.status, outcome.errors) == (0, "")


@pytest.mark.parametrize(("level", "lines"), [("0", 0), ("1", 0), ("2", 2), ("3", 3), ("4", 3), ("loud", 0)])
def test_the_log_says_when_it_begins_and_ends_where_it_is_asked_to(frame: Frame, level: str, lines: int) -> None:
    outcome = frame.but(LIBCUDA_LOG_LEVEL=level).python(f"c = Cuda(); c.start(); c.code({LIMIT} + 1); say(pid())")

    [pid] = outcome.said
    said = outcome.errors.splitlines()
    assert len(said) == lines
    if lines:
        assert said[0].startswith(f"[HAMI-core Msg({pid}:{pid}:grant.c:")
        assert said[0].endswith(")]: Initializing.....")
        assert said[-1].startswith(f"[HAMI-core Msg({pid}:")
        assert said[-1].endswith(f")]: Calling exit handler {pid}")


def test_a_set_uid_program_would_not_listen_to_its_callers_variables() -> None:
    """secure_getenv, everywhere: no plain getenv is bound."""
    import hami_native

    assert b"\0getenv\0" not in hami_native.library().read_bytes()


def test_a_stopped_neighbour_holds_nobody_up(frame: Frame) -> None:
    with frame.start_python(
        f"c = Cuda(); c.start(); say(c.code(5 * MIB), pid()); os.kill(os.getpid(), 19); say(c.code({LIMIT} - 5 * MIB))"
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        outcome = frame.python(f"c = Cuda(); c.start(); say(c.code({LIMIT}), c.code({LIMIT} - 5 * MIB))")
        other.send_signal(18)
        said, _ = other.communicate()

    assert outcome.said == [[2, 0]]
    assert said == "0\n"


def test_a_main_thread_that_has_left_is_not_taken_for_dead(frame: Frame) -> None:
    """Its process shows Z in /proc, with the threads that remain."""
    program = (
        "import threading\n"
        "c = Cuda(); c.start(); c.code(5 * MIB)\n"
        "def stay():\n"
        "    while open(f'/proc/{os.getpid()}/stat').read().rpartition(')')[2].split()[0] != 'Z': os.sched_yield()\n"
        "    os.write(1, b'1\\n'); os.read(0, 1); os._exit(0)\n"
        "threading.Thread(target=stay).start(); ctypes.CDLL(None).syscall(60, 0)  # exit of this thread alone"
    )
    with frame.start_python(program) as other:
        assert other.stdout is not None
        other.stdout.readline()
        outcome = frame.python(f"c = Cuda(); c.start(); say(c.memory()[0], c.code({LIMIT}))")
        other.communicate("x")

    assert outcome.said == [[LIMIT - 5 * MIB, 2]]
