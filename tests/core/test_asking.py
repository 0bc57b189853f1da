"""A question to a driver costs its deadline at most, whatever the driver does; other plugins' answers stand."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

PREAMBLE = """
import os, signal, sys, threading, time
from hami_core import hookimpl, plugins
from hami_core.asking import Drivers
from hami_core.model import DeviceInventory

class Plugin:
    def __init__(self, hook):
        self.hook = hook
    @hookimpl
    def hami_discover(self, node):
        return self.hook(node)

def drivers(seconds=20.0, **hooks):
    found = [plugins.Found(name, name, "1", lambda hook=hook: Plugin(hook)) for name, hook in hooks.items()]
    return Drivers(plugins.load(found, block=""), seconds)

def ask(asked):
    answers = asked.ask_each("hami_discover", node="here", settings=None)
    for name, answer in answers.by_plugin.items():
        print(name, answer)
    for failure in answers.failures:
        print(failure)
    return answers

def says(word):
    return lambda node: [DeviceInventory(word, ())]

def process(node):
    return [DeviceInventory("acme", (), faults=(str(os.getpid()),))]
"""


def ran(code: str, **options: Any) -> list[str]:
    """What a program of a single thread prints that asks drivers; here, under pytest, there are several threads."""
    source = PREAMBLE + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False, **options)
    assert done.returncode == 0, done.stderr
    lines: list[str] = done.stdout.splitlines()
    return lines


def test_what_has_to_be_done_anyway_is_done_while_a_driver_takes_its_time(tmp_path: Path) -> None:
    lines = ran(f"""
        fifo = {str(tmp_path / "fifo")!r}
        os.mkfifo(fifo)
        def slow(node):
            with open(fifo) as told:
                return says(told.read())(node)
        asked = drivers(a=slow)
        asked.meanwhile = lambda: open(fifo, "w").write("meanwhile")
        ask(asked)
    """)

    assert len(lines) == 1
    assert "'meanwhile'" in lines[0], "the driver waited for what is done meanwhile"


def test_a_hang_costs_its_deadline_and_the_others_answer() -> None:
    lines = ran("""
        asked = drivers(0.3, a=says("a"), b=lambda node: time.sleep(3600), c=says("c"))
        before = time.monotonic()
        ask(asked)
        assert time.monotonic() - before < 5
    """)

    assert lines == [
        "a [DeviceInventory(kind='a', devices=(), links=(), faults=())]",
        "c [DeviceInventory(kind='c', devices=(), links=(), faults=())]",
        "b: hami_discover gave no answer within 0.3 s, and was given up",
    ]


def test_one_process_answers_all_questions_and_it_is_not_the_asking_one() -> None:
    lines = ran("""
        asked = drivers(a=process, b=process)
        told = {one.faults for _ in range(3) for answer in asked.ask_each(
            "hami_discover", node="", settings=None).by_plugin.values() for one in answer}
        print(len(told), (str(os.getpid()),) in told)
    """)

    assert lines == ["1 False"]


def test_a_process_that_crashes_is_told_with_its_signal() -> None:
    lines = ran("""
        ask(drivers(a=lambda node: os.kill(os.getpid(), signal.SIGSEGV), b=lambda node: os._exit(3), c=says("c")))
    """)

    assert sorted(lines) == [
        "a: hami_discover: the process that asked the driver was ended by SIGSEGV",
        "b: hami_discover: the process that asked the driver ended with status 3",
        "c [DeviceInventory(kind='c', devices=(), links=(), faults=())]",
    ]


def test_what_a_hook_raises_comes_back_with_the_line_where_it_did() -> None:
    lines = ran("""
        def fails(node):
            raise OSError(5, "card fell out")
        (failure,) = ask(drivers(a=fails)).failures
        print(type(failure.error).__name__, "in fails" in "".join(failure.error.__notes__))
    """)

    assert lines == ['plugin "a": OSError: [Errno 5] card fell out', "OSError True"]


@pytest.mark.parametrize(
    ("hook", "fault"),
    [
        (
            """
class Odd(Exception):
    def __init__(self, one, two):
        super().__init__("odd")
def hook(node):
    raise Odd(1, 2)
""",
            'plugin "a": hook hami_discover: Odd: odd',
        ),
        ("def hook(node):\n    sys.exit('bye')", 'plugin "a": SystemExit: bye'),
        (
            "def hook(node):\n    return [lambda: 1]",
            'plugin "a": hook hami_discover: the answer cannot be sent to another process: ',
        ),
        (
            "def hook(node):\n    return [1]",
            'plugin "a": hook hami_discover: answers 1 (int) at [0] where DeviceInventory belongs',
        ),
    ],
    ids=["an exception that cannot be read back", "an exit", "an answer that cannot be sent", "an answer of another shape"],
)
def test_what_cannot_come_back_as_it_is_is_told_in_words(hook: str, fault: str) -> None:
    (line,) = ran(f"{hook}\nask(drivers(a=hook))")

    assert line.startswith(fault)


def test_a_question_that_cannot_be_sent_is_the_plugins_fault() -> None:
    (line,) = ran("""
        answers = drivers(a=says("a")).ask_each("hami_discover", node=lambda: 1, settings=None)
        print(answers.failures[0])
    """)

    assert line.startswith('plugin "a": hook hami_discover: ')
    assert line.endswith("the question cannot be sent to another process")


def test_the_child_has_neither_the_locks_nor_the_terminal_of_its_parent(tmp_path: Path) -> None:
    lines = ran(
        f"""
        import fcntl
        lock = open({str(tmp_path / "lock")!r}, "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        asked = drivers(a=lambda node: [DeviceInventory(sys.stdin.read() or "none", (), faults=(print("noise") or "x",))])
        ask(asked)
        lock.close()
        again = open({str(tmp_path / "lock")!r}, "w")
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    """,
        input="typed by somebody",
    )

    assert lines == ["a [DeviceInventory(kind='none', devices=(), links=(), faults=('x',))]"]


def test_standard_streams_that_are_closed_do_not_matter() -> None:
    lines = ran("""
        out = os.dup(1)
        for descriptor in range(3):
            os.close(descriptor)
        asked = drivers(a=says("a"))
        told = asked.ask_each("hami_discover", node="", settings=None)
        os.dup2(out, 1)
        print(told)
    """)

    assert lines == ["Answers(by_plugin={'a': [DeviceInventory(kind='a', devices=(), links=(), faults=())]}, failures=())"]


def test_the_child_ends_with_its_parent_however_that_ends() -> None:
    for end in ("os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()"):
        code = PREAMBLE + f"asked = drivers(a=process)\nask(asked)\nsys.stdout.flush()\n{end}"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout
            child = int(parent.stdout.readline().split("faults=('")[1].split("'")[0])

        assert gone(child)


def test_a_child_that_hangs_ends_itself_when_nobody_is_left_to_kill_it() -> None:
    code = PREAMBLE + textwrap.dedent("""
        def hook(node):
            print(os.getpid(), flush=True)
            time.sleep(3600)
        asked = drivers(0.2, a=hook)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        ask(asked)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stderr
        child = int(parent.stderr.readline())

    assert gone(child)


def gone(pid: int) -> bool:
    """Whether the process ends within a while. Its parent has; whoever reaps orphans here may take its time."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        os.sched_yield()
    return False


# --- From a process with threads: a new interpreter, which knows installed plugins only. --------------------------------


def test_a_process_with_threads_asks_a_new_interpreter() -> None:
    lines = ran("""
        from hami_core.settings import resolve
        stop = threading.Event()
        threading.Thread(target=stop.wait).start()
        loaded = plugins.load(block="nvidia")
        chosen = resolve(plugins.settings_classes(loaded), [("here", {"mock.devices": 1})])
        answers = Drivers(loaded, 20.0).ask_each("hami_discover", node="here", settings=chosen)
        print(list(answers.by_plugin), [device.id for device in answers.by_plugin["mock"][0].devices], answers.failures)
        stop.set()
    """)

    assert lines == ["['mock'] ['MOCK-here-0'] ()"]


def test_a_plugin_that_no_entry_point_names_cannot_be_asked_from_there() -> None:
    (line,) = ran("""
        stop = threading.Event()
        threading.Thread(target=stop.wait).start()
        ask(drivers(a=says("a")))
        stop.set()
    """)

    assert line == 'plugin "a": hook hami_discover: no entry point leads a new process to it'
