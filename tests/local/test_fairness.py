"""Many who wait: who is served when, who is woken, and what becomes of those behind one that was killed or stopped."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from attrs import evolve

from hami_core.local import admission, procfs, queue, state
from hami_core.local.events import Granted, Queued
from tests.local.acme import a_container, a_host, a_manifest, a_pod, card, hami, played, until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def a_file(folder: Path, name: str, program: str = "exit 0") -> Path:
    """Of a pod that wants the whole card."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(a_manifest(a_container(program, limits=card(8000)), name=name)))
    return path


@pytest.mark.parametrize("crowd", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_a_crowd_is_served_in_the_order_in_which_it_came_and_woken_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowd: int
) -> None:
    here = a_host(tmp_path)
    pods = [a_pod(here, a_container("exit 0", limits=card(8000)), name=f"p{number}") for number in range(crowd)]
    looks: list[object] = []
    place = admission.place

    def counted(*given: Any) -> object:
        looks.append(given)
        return place(*given)

    monkeypatch.setattr(admission, "place", counted)

    result, events = played(here, *(evolve(pod, label=pod.name) for pod in pods))

    came = list(dict.fromkeys(event.pod for event in events if isinstance(event, Queued)))
    served = [event.pod for event in events if isinstance(event, Granted)]
    assert (result.status, len(served)) == (0, crowd)
    assert [pod for pod in served if pod in came] == came
    assert len(looks) < 6 * crowd  # if every change woke all of them, it would grow with the square


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """A hami that holds the whole card until it is told to end."""
    process = hami(tmp_path / "state", 8000, a_file(tmp_path, "holder", "exec sleep 1000"))
    until(process, "Started")
    return process


def waiter(tmp_path: Path, name: str, program: str = "exit 0") -> subprocess.Popen[str]:
    process = hami(tmp_path / "state", 8000, a_file(tmp_path, name, program))
    until(process, "Queued")
    return process


def served(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.wait(60) in {0, 143}
        assert process.stderr
        process.stderr.close()


@pytest.mark.slow
def test_processes_that_wait_are_served_in_the_order_in_which_they_came(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    waiters = [waiter(tmp_path, f"w{number}", f"echo {number} >> {tmp_path}/order") for number in range(6)]

    holder.terminate()

    served(holder, *waiters)
    assert (tmp_path / "order").read_text().split() == [str(number) for number in range(6)]


@pytest.mark.slow
def test_who_stands_behind_one_that_was_killed_moves_up_at_once(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    first, second, third = (waiter(tmp_path, name) for name in ("first", "second", "third"))

    first.kill()
    assert "held by holder" in until(second, "Queued")  # it is the first now, and its reason is its own
    second.kill()
    assert "held by holder" in until(third, "Queued")
    (ticket,) = queue.waiting(state.folder(tmp_path / "state", "host"))
    assert ticket.ticket
    assert "held by holder" in ticket.ticket.why

    holder.terminate()
    served(holder, third)
    for process in (first, second):
        process.wait()
        assert process.stderr
        process.stderr.close()


@pytest.mark.slow
def test_one_that_a_signal_has_stopped_is_passed_over_and_keeps_its_place(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    first = waiter(tmp_path, "first", f"echo first >> {tmp_path}/order")
    second = waiter(tmp_path, "second", f"echo second >> {tmp_path}/order")
    first.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)

    holder.terminate()
    served(holder, second)
    first.send_signal(signal.SIGCONT)
    served(first)

    assert (tmp_path / "order").read_text().split() == ["second", "first"]


@pytest.mark.slow
def test_a_holder_that_a_signal_has_stopped_keeps_its_share(tmp_path: Path) -> None:
    program = f"echo $$ > {tmp_path}/pid; kill -STOP $$; exit 0"
    holder = hami(tmp_path / "state", 8000, a_file(tmp_path, "holder", program))
    until(holder, "Started")
    second = waiter(tmp_path, "second")
    assert [one.ticket.name for one in queue.waiting(state.folder(tmp_path / "state", "host")) if one.ticket] == ["second"]

    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        os.sched_yield()
    pid = int((tmp_path / "pid").read_text())
    while (found := procfs.stat(pid)) and not found.is_stopped:
        os.sched_yield()
    os.kill(pid, signal.SIGCONT)

    served(holder, second)
