"""Stopping and waiting from outside, whatever has become of the hami that carries the pod out. Each is a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest
import yaml

from hami_core.local import pods, queue, state, stopping, view
from tests.local.acme import a_container, a_host, a_manifest, card, hami, until

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.local.pods import Known
    from hami_core.local.state import Folder
    from hami_core.local.stopping import Stopped

pytestmark = pytest.mark.slow

STUBBORN = "trap '' TERM; : > {ready}; while :; do sleep 1; done"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return state.folder(tmp_path / "state", "host")


def a_file(folder: Path, program: str, name: str = "pod", mem: int = 5000, **spec: object) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(a_manifest(a_container(program, limits=card(mem)), name=name, **spec)))
    return path


def the_pod(folder: Folder, name: str = "pod") -> Known:
    (found,) = [one for one in pods.known(folder) if one.record.name == name]
    return found


def stop(folder: Folder, name: str = "pod", grace: int | None = None) -> Stopped:
    return asyncio.run(stopping.stop(folder, the_pod(folder, name).record, grace))


def heard(ready: Path) -> None:
    """Return when the stubborn one does not hear SIGTERM any more."""
    while not ready.exists():
        os.sched_yield()


def test_a_pod_is_stopped_by_the_hami_that_carries_it_out(folder: Folder, tmp_path: Path) -> None:
    with hami(tmp_path / "state", 8000, a_file(tmp_path, "exec sleep 1000", restartPolicy="Always")) as owner:
        until(owner, "Started")

        stopped = stop(folder)

        assert owner.wait(60) == 143
    assert stopped.known.record.end
    assert (stopped.known.phase, stopped.known.record.end.reason, stopped.left) == (pods.ENDED, "stopped by hami stop", ())


def test_one_pod_of_several_is_stopped_and_the_others_go_on(folder: Folder, tmp_path: Path) -> None:
    files = [a_file(tmp_path, "exec sleep 1000", name, 1000) for name in ("one", "two")]
    with hami(tmp_path / "state", 8000, *files) as owner:
        until(owner, "Started")
        until(owner, "Started")

        stop(folder, "one")

        assert [(one.record.name, one.phase) for one in pods.known(folder) if one.is_live] == [("two", pods.RUNNING)]
        stop(folder, "two")
        assert owner.wait(60) == 143


def test_a_pod_that_waits_leaves_the_queue(folder: Folder, tmp_path: Path) -> None:
    with hami(tmp_path / "state", 8000, a_file(tmp_path, "exec sleep 1000", "first")) as first:
        until(first, "Started")
        with hami(tmp_path / "state", 8000, a_file(tmp_path, "exit 0", "second")) as second:
            until(second, "Queued")
            assert the_pod(folder, "second").phase == pods.WAITING

            stop(folder, "second")

            assert second.wait(60) == 143
        assert queue.waiting(folder) == ()
        stop(folder, "first")


def test_who_does_not_heed_sigterm_is_killed_after_the_grace(folder: Folder, tmp_path: Path) -> None:
    with hami(tmp_path / "state", 8000, a_file(tmp_path, STUBBORN.format(ready=tmp_path / "ready"))) as owner:
        until(owner, "Started")
        heard(tmp_path / "ready")

        stopped = stop(folder, grace=0)

        assert owner.wait(60) == 137
    assert (stopped.known.phase, stopped.left) == (pods.ENDED, ())


@pytest.mark.parametrize("program", [": > {ready}; exec sleep 1000", STUBBORN])
def test_a_pod_whose_hami_was_killed_is_stopped_from_here(folder: Folder, tmp_path: Path, program: str) -> None:
    with hami(
        tmp_path / "state", 8000, a_file(tmp_path, program.format(ready=tmp_path / "ready"), restartPolicy="Always")
    ) as owner:
        until(owner, "Started")
        heard(tmp_path / "ready")
        owner.kill()
    assert the_pod(folder).phase == pods.ORPHANED

    stopped = stop(folder, grace=1)

    assert (stopped.known.phase, stopped.left) == (pods.LOST, ())
    assert list(folder.holdings.iterdir()) == []


def test_a_daemon_that_left_its_group_is_stopped_by_the_lock_that_it_holds(folder: Folder, tmp_path: Path) -> None:
    with hami(tmp_path / "state", 8000, a_file(tmp_path, "setsid sleep 1000 & exec sleep 1000")) as owner:
        until(owner, "Started")
        owner.kill()

    assert stop(folder).left == ()
    assert list(folder.holdings.iterdir()) == []


def test_a_hami_and_its_workload_that_a_signal_has_stopped_are_woken_to_end(folder: Folder, tmp_path: Path) -> None:
    with hami(tmp_path / "state", 8000, a_file(tmp_path, "exec sleep 1000")) as owner:
        until(owner, "Started")
        (holding,) = view.ps(a_host(tmp_path / "state")).holdings
        os.kill(holding.shares[0].pids[0], signal.SIGSTOP)
        owner.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, owner.pid, os.WSTOPPED | os.WNOWAIT)

        stopped = stop(folder)

        assert owner.wait(60) == 143
    assert stopped.known.phase == pods.ENDED


def test_a_killed_hami_stop_leaves_its_request_and_the_pod_ends_all_the_same(folder: Folder, tmp_path: Path) -> None:
    with hami(tmp_path / "state", 8000, a_file(tmp_path, "exec sleep 1000")) as owner:
        until(owner, "Started")

        pods.ask_to_stop(folder, the_pod(folder).record.uid, pods.StopRequest())  # all that it does before it waits

        assert owner.wait(60) == 143


def test_a_request_that_cannot_be_read_asks_all_the_same(folder: Folder, tmp_path: Path) -> None:
    with hami(tmp_path / "state", 8000, a_file(tmp_path, "exec sleep 1000")) as owner:
        until(owner, "Started")
        uid = the_pod(folder).record.uid

        (folder.pods / uid / ".draft").write_text("{")
        (folder.pods / uid / ".draft").rename(folder.pods / uid / pods.STOP)

        assert owner.wait(60) == 143


# --- Waiting. ---------------------------------------------------------------------------------------------------------


def test_waiting_ends_with_the_pod_and_tells_its_status(folder: Folder, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with hami(tmp_path / "state", 8000, a_file(tmp_path, f"read line < {gate}; exit 7")) as owner:
        until(owner, "Started")
        record = the_pod(folder).record

        async def meanwhile() -> Known | None:
            waiting = asyncio.ensure_future(stopping.reached(folder, record, stopping.ENDED, 60))
            await asyncio.sleep(0)
            gate.write_text("go\n")
            return await waiting

        known = asyncio.run(meanwhile())

        assert owner.wait(60) == 7
    assert known
    assert known.record.end
    assert known.record.end.status == 7


def test_waiting_gives_up_when_the_time_is_over(folder: Folder, tmp_path: Path) -> None:
    with hami(tmp_path / "state", 8000, a_file(tmp_path, "exec sleep 1000")) as owner:
        until(owner, "Started")
        record = the_pod(folder).record

        assert asyncio.run(stopping.reached(folder, record, stopping.RUNNING, 60)) == the_pod(folder)
        assert asyncio.run(stopping.reached(folder, record, stopping.ENDED, 0.05)) is None
        stop(folder)


def test_waiting_ends_too_when_hami_was_killed(folder: Folder, tmp_path: Path) -> None:
    with hami(tmp_path / "state", 8000, a_file(tmp_path, "exec sleep 1000")) as owner:
        until(owner, "Started")
        (holding,) = view.ps(a_host(tmp_path / "state")).holdings
        owner.kill()
    os.kill(holding.shares[0].pids[0], signal.SIGKILL)

    known = asyncio.run(stopping.reached(folder, the_pod(folder).record, stopping.ENDED, 60))

    assert known
    assert known.phase == pods.LOST
