"""Whose process it is: a number alone proves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from hami_core.local import holdings, kin, procfs, state
from hami_core.local.procfs import Identity
from hami_core.model import Holding

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.local.state import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return state.folder(tmp_path / "state", "host")


def a_holding(folder: Folder, *leaders: Identity) -> Path:
    groups = tuple(holdings.Group(f"c{number}", leader) for number, leader in enumerate(leaders))
    record = holdings.Record(Holding("uid", "pod", "default", ()), Identity(0, 0), int(time.time()))
    lease = holdings.create(folder, record, {group.container: "" for group in groups})
    for group in groups:
        lease.add_group(group.container, group.leader)
    lease.close()
    return lease.path


def test_a_number_that_is_somebody_elses_by_now_is_not_signalled(folder: Folder) -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
        reused = Identity(stranger.pid, procfs.identity(stranger.pid).start - 1)
        whose = kin.of(a_holding(folder, reused), Identity(0, 0))

        whose.signal(stranger.pid, signal.SIGKILL)

        assert whose.processes() == ()
        assert procfs.is_running(procfs.identity(stranger.pid))
        stranger.kill()


def test_a_group_whose_leader_has_gone_proves_nothing(folder: Folder) -> None:
    program = "import os, subprocess; print(subprocess.Popen(['sleep', '1000'], stdout=subprocess.DEVNULL).pid)"
    with subprocess.Popen(["python3", "-c", program], start_new_session=True, stdout=subprocess.PIPE, text=True) as leader:
        who = procfs.identity(leader.pid)
        assert leader.stdout
        left = int(leader.stdout.readline())
    whose = kin.of(a_holding(folder, who), Identity(0, 0))

    assert procfs.members(who) == (left,)  # it bears the number of the group
    assert whose.processes() == ()
    os.kill(left, signal.SIGKILL)


def test_neither_its_hami_nor_we_ourselves_are_a_holdings_processes(folder: Folder) -> None:
    ours = procfs.identity(os.getpid())
    path = a_holding(folder, ours)

    with (path / "c0" / "alive").open():
        assert os.getpid() not in kin.of(path, Identity(0, 0)).processes()
