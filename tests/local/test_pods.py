from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hami_core.local import pods, procfs, state
from hami_core.local.procfs import Identity

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.local.state import Folder

NOBODY = Identity(0, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return state.folder(tmp_path, "host")


def a_record(uid: str, owner: Identity = NOBODY, since: int = 0) -> pods.Record:
    return pods.Record(uid, uid, "default", ("main",), owner, since)


def test_a_pod_waits_runs_and_ends(folder: Folder) -> None:
    written = pods.create(folder, a_record("uid", procfs.identity(os.getpid())))
    phases = [pods.known(folder)[0].phase]
    written.start()
    phases.append(pods.known(folder)[0].phase)
    written.finish(pods.End(3, "why", 7))

    assert [*phases, pods.known(folder)[0].phase] == [pods.WAITING, pods.RUNNING, pods.ENDED]
    assert pods.known(folder)[0].record.end == pods.End(3, "why", 7)


def test_one_whose_hami_was_killed_and_of_whom_nothing_lives_is_lost(folder: Folder) -> None:
    pods.create(folder, a_record("uid"))

    assert [one.phase for one in pods.known(folder)] == [pods.LOST]


def test_a_record_that_cannot_be_read_is_no_pod(folder: Folder) -> None:
    pods.create(folder, a_record("uid"))
    (folder.pods / "uid" / pods.RECORD).write_text("{")

    assert pods.known(folder) == ()


def test_of_those_that_ended_the_last_are_remembered(folder: Folder) -> None:
    for number in range(pods.KEPT + 3):
        uid = f"uid-{number:02d}"
        pods.create(folder, a_record(uid, since=number)).finish(pods.End(0, "", number))

    assert [one.record.uid for one in pods.known(folder)] == [f"uid-{number:02d}" for number in range(3, pods.KEPT + 3)]


def test_one_that_lives_is_not_forgotten_however_old_it_is(folder: Folder) -> None:
    pods.create(folder, a_record("old", procfs.identity(os.getpid())))
    for number in range(pods.KEPT + 3):
        pods.create(folder, a_record(f"uid-{number:02d}", since=1)).finish(pods.End(0, "", number))

    assert pods.known(folder)[0].record.uid == "old"
