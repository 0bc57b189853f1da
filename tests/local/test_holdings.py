from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core import wire
from hami_core.local import holdings, procfs, state
from hami_core.local.holdings import Group, Record
from hami_core.local.procfs import Identity
from hami_core.model import Holding, Share

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.local.state import Folder

SHARE = Share("main", "acme", "card-0", memory=3000, physical=8000, cores=30)
IDENTITIES = st.builds(Identity, st.integers(1, 2**22), st.integers(0, 2**63))
SHARES = st.builds(
    Share, st.text(), st.text(), st.text(), *[st.integers(0, 2**40)] * 3, phases=st.lists(st.integers()).map(tuple)
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return state.folder(tmp_path, "host")


def a_lease(folder: Folder, uid: str = "u1") -> holdings.Lease:
    record = Record(Holding(uid, "pod", "default", (SHARE,)), procfs.identity(os.getpid()), since=1)
    return holdings.create(folder, record, {"main": wire.limits_text(f"{uid}/main", [SHARE], [])})


def uids(folder: Folder) -> list[str]:
    return [found.uid for found in holdings.heal(folder)]


@given(
    st.builds(
        Record,
        st.builds(Holding, st.text(), st.text(), st.text(), st.lists(SHARES).map(tuple)),
        IDENTITIES,
        st.integers(0, 2**40),
        st.lists(st.builds(Group, st.text(), IDENTITIES)).map(tuple),
    )
)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert wire.decode(Record, wire.encode(record), "record") == record


def test_a_holding_is_found_as_it_was_made_and_gone_when_it_is_finished(folder: Folder) -> None:
    lease = a_lease(folder)
    (found,) = holdings.find(folder)
    assert (found.record, found.holding) == (lease.record, lease.record.holding)

    assert holdings.finish(lease)

    assert list(folder.holdings.iterdir()) == []


def test_a_holding_lives_as_long_as_somebody_has_inherited_its_lock(folder: Folder) -> None:
    lease = a_lease(folder)
    heir = os.dup(lease.locks["main"])
    lease.close()
    assert uids(folder) == ["u1"]

    os.close(heir)

    assert uids(folder) == []


def test_a_holding_lives_as_long_as_a_recorded_group_has_a_member(folder: Folder) -> None:
    lease = a_lease(folder)
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as sleeper:  # inherits nothing
        lease.add_group("main", procfs.identity(sleeper.pid))
        lease.close()
        assert uids(folder) == ["u1"]

        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # a zombie, which nobody may ever reap, is no member

        assert uids(folder) == []


def test_a_process_of_the_same_number_is_not_taken_for_the_recorded_one(folder: Folder) -> None:
    lease = a_lease(folder)
    ours = procfs.identity(os.getpid())
    lease.add_group("main", Identity(ours.pid, ours.start + 1))
    lease.close()

    assert uids(folder) == []


def test_a_process_that_left_its_group_keeps_the_holding_after_its_end(folder: Folder) -> None:
    lease = a_lease(folder)
    heir = os.dup(lease.locks["main"])

    assert not holdings.finish(lease)
    assert uids(folder) == ["u1"]
    os.close(heir)


def test_a_broken_record_is_told_and_its_shares_are_counted_from_the_limits(folder: Folder) -> None:
    lease = a_lease(folder)
    (lease.path / "holding.json").write_text("{")

    (found,) = holdings.heal(folder)

    assert found.holding
    assert found.holding.shares == (SHARE,)
    assert found.fault.startswith(f"holding {lease.path} @ $: no JSON")
    assert found.fault.endswith("its shares are counted as its limits files tell them")


@pytest.mark.parametrize("record", ["", "[]", '{"v":2}', '{"v":1}', "\0"])
def test_with_broken_limits_too_nobody_knows_what_is_held(folder: Folder, record: str) -> None:
    lease = a_lease(folder)
    (lease.path / "holding.json").write_text(record)
    lease.limits("main").write_text("hami-limits 1\n")

    (found,) = holdings.heal(folder)

    assert found.holding is None
    assert found.fault.endswith("until its processes have ended, nothing is granted on this machine")


def test_a_broken_record_goes_when_its_processes_have_gone(folder: Folder) -> None:
    lease = a_lease(folder)
    (lease.path / "holding.json").write_text("{")
    lease.close()

    assert uids(folder) == []


def test_what_a_killed_hami_had_half_made_is_removed(folder: Folder) -> None:
    (folder.holdings / ".new-u1" / "main").mkdir(parents=True)
    (folder.holdings / ".gone-u2").mkdir()

    assert uids(folder) == []
    assert list(folder.holdings.iterdir()) == []


def test_a_record_that_cannot_be_made_leaves_nothing(folder: Folder) -> None:
    a_lease(folder)
    with pytest.raises(OSError, match="not empty"):
        a_lease(folder)

    assert [path.name for path in folder.holdings.iterdir()] == ["u1"]


def test_a_name_with_brackets_and_blanks_does_not_hide_the_start_time(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as sleeper:
        found = procfs.stat(sleeper.pid)
        assert found
        assert (found.identity.pid, found.group, found.is_running) == (sleeper.pid, os.getpgrp(), True)
        sleeper.send_signal(signal.SIGKILL)
