"""What is left of a hami that was killed, as another one finds it. Every hami here is a process of its own."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

import pytest
import yaml

from hami_core.local import holdings, queue, state, view
from tests.local.acme import a_container, a_host, a_manifest, card, hami, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def a_file(folder: Path, name: str, program: str, mem: int = 5000) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(a_manifest(a_container(program, limits=card(mem)), name=name)))
    return path


def ended(pid: int) -> None:
    """Wait for the end of a process that is no child of ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], 60.0)[0]
    os.close(descriptor)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_a_killed_hami_leaves_the_grant_to_its_workload_until_that_ends(root: Path, tmp_path: Path) -> None:
    with hami(root, 8000, a_file(tmp_path, "first", "exec sleep 1000")) as owner:
        until(owner, "Started")
        owner.kill()
    (holding,) = view.ps(a_host(root)).holdings
    (pid,) = holding.shares[0].pids
    assert (holding.name, holding.owner_is_running) == ("first", False)

    with hami(root, 8000, a_file(tmp_path, "second", "exit 0")) as other:
        assert "held by first" in until(other, "Queued")
        os.kill(pid, signal.SIGKILL)
        until(other, "Granted")
        assert other.wait(60) == 0
    assert view.ps(a_host(root)).holdings == ()


def test_a_hami_that_is_killed_while_it_waits_leaves_the_queue(root: Path, tmp_path: Path) -> None:
    folder = state.folder(root, "host")
    with hami(root, 8000, a_file(tmp_path, "first", "exec sleep 1000")) as first:
        until(first, "Started")
        with hami(root, 8000, a_file(tmp_path, "second", "exit 0")) as second:
            until(second, "Queued")
            assert [one.ticket.name for one in queue.waiting(folder) if one.ticket] == ["second"]
            second.kill()
        assert queue.heal(folder) == ()
        first.terminate()
        assert first.wait(60) == 143


def test_of_processes_that_race_for_the_last_share_one_gets_it_at_a_time(root: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    program = f"mkdir {alone} && rmdir {alone}"  # fails if another is in between
    racers = [hami(root, 8000, a_file(tmp_path, f"racer-{n}", program)) for n in range(4)]

    assert [racer.wait(120) for racer in racers] == [0, 0, 0, 0]
    for racer in racers:
        assert racer.stderr
        racer.stderr.close()
    assert holdings.find(state.folder(root, "host")) == ()


def test_a_killed_hami_whose_workload_has_ended_leaves_nothing(root: Path, tmp_path: Path) -> None:
    with hami(root, 8000, a_file(tmp_path, "first", "exec sleep 1000")) as owner:
        until(owner, "Started")
        (holding,) = view.ps(a_host(root)).holdings
        owner.kill()
    (pid,) = holding.shares[0].pids
    os.kill(pid, signal.SIGKILL)
    ended(pid)

    assert view.ps(a_host(root)).holdings == ()
    assert list(state.folder(root, "host").holdings.iterdir()) == []
