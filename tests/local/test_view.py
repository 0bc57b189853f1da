from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from hami_core import hookimpl
from hami_core.local import admission, locks, procfs, queue, view
from hami_core.local.queue import Ticket
from hami_core.local.view import DeviceTotal, HoldingView, ProcessView, Ps, ShareView
from hami_core.model import Account, DeviceAccount, ProcessAccount, ProcessUse
from tests.local.acme import Acme, a_container, a_host, a_pod, card

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import NoReturn

    from hami_core.local.admission import Admitted
    from hami_core.local.host import Host
    from hami_core.model import DeviceInventory, Kind


@pytest.fixture
def workload() -> Iterator[int]:
    """A process that leads a group of its own. Ours may have outlived its leader."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as sleeper:
        yield sleeper.pid
        sleeper.kill()


def hold(here: Host, mem: int, leader: int | None = None) -> Admitted:
    """A pod's holding, and the process that leads its group, if it has one."""
    pod = a_pod(here, a_container(limits={**card(mem), "acme.dev/cores": 30}))
    admitted = asyncio.run(admission.admit(here, pod, admission.asks(here, pod), lambda _: None))
    if leader is not None:
        admitted.lease.add_group("main", procfs.identity(leader))
    return admitted


def test_an_idle_machine_shows_its_devices_and_nobody(tmp_path: Path) -> None:
    here = a_host(tmp_path, [8000])

    (device,) = view.devices(here)

    assert view.ps(here) == Ps((DeviceTotal("acme", "card-0", 0, "Acme One", 10, 0, 8000, 0, None, None),), (), (), ())
    assert (device.device, device.model, device.sick) == ("card-0", "Acme One", "")
    assert (device.memory, device.memory_free, device.slots_free) == (8000, 8000, 10)


def test_what_is_held_is_shown_with_its_use(tmp_path: Path, workload: int) -> None:
    uses = [ProcessUse("card-0", workload, 700), ProcessUse("card-0", 1, 5)]
    start = procfs.identity(workload).start
    account = Account(
        (DeviceAccount("card-0", 500, 900, 1),),
        (ProcessAccount("card-0", workload, start, 500), ProcessAccount("card-0", 1, start, 7)),  # the latter is dead
    )
    here = a_host(tmp_path, plugin=Acme([8000], uses=uses, account=account))
    admitted = hold(here, 3000, workload)

    found = view.ps(here)

    (holding,) = found.holdings
    assert holding == HoldingView(
        uid=admitted.lease.record.holding.uid,
        name="pod",
        namespace="default",
        state="running",
        age_s=holding.age_s,
        owner=os.getpid(),
        owner_is_running=True,
        shares=(
            ShareView(
                container="main",
                kind="acme",
                device="card-0",
                memory=3000,
                cores=30,
                used=700,
                charged=500,
                peak=900,
                refused=1,
                pids=(workload,),
                processes=(ProcessView(workload, "sleep 1000", 500, 700),),
            ),
        ),
    )
    admitted.lease.close()


def test_free_is_what_is_not_held(tmp_path: Path) -> None:
    here = a_host(tmp_path)
    admitted = hold(here, 3000)

    (device,) = view.devices(here)

    assert (device.memory_free, device.slots_free, device.cores_free, device.holders) == (5000, 9, 70, ("pod",))
    admitted.lease.close()


def test_a_broken_record_is_told_and_hides_nothing(tmp_path: Path) -> None:
    here = a_host(tmp_path)
    broken, sound = hold(here, 1000), hold(here, 2000)
    (broken.lease.path / "holding.json").write_text("{")

    found = view.ps(here)

    assert sorted(holding.shares[0].memory for holding in found.holdings) == [1000, 2000]
    assert len(found.faults) == 1
    broken.lease.close()
    sound.lease.close()


def test_who_waits_is_shown_with_the_reason(tmp_path: Path) -> None:
    here = a_host(tmp_path)
    place = queue.join(here.folder, Ticket("u", "pod", "default", ("acme",), 7, 0, "full"))

    (waiting,) = view.ps(here).waiting

    assert (waiting.name, waiting.owner, waiting.why) == ("pod", 7, "full")
    place.leave()


def test_a_holder_that_a_signal_has_stopped_is_shown_so(tmp_path: Path, workload: int) -> None:
    here = a_host(tmp_path)
    admitted = hold(here, 1000, workload)

    os.kill(workload, signal.SIGSTOP)
    os.waitid(os.P_PID, workload, os.WSTOPPED | os.WNOWAIT)
    stopped = view.ps(here).holdings[0].state
    os.kill(workload, signal.SIGCONT)
    os.waitid(os.P_PID, workload, os.WCONTINUED | os.WNOWAIT)

    assert (stopped, view.ps(here).holdings[0].state) == ("stopped", "running")
    admitted.lease.close()


def test_totals_count_what_is_granted(tmp_path: Path) -> None:
    here = a_host(tmp_path)
    admitted = hold(here, 3000)

    (total,) = view.ps(here).devices

    assert (total.slots_used, total.slots, total.granted, total.memory) == (1, 10, 3000, 8000)
    admitted.lease.close()


def test_a_plugin_that_cannot_say_what_it_offers_hides_nobody(tmp_path: Path) -> None:
    class Broken(Acme):
        @hookimpl
        def hami_split(self, kind: Kind, inventory: DeviceInventory) -> NoReturn:
            raise RuntimeError("no licence")

    admitted = hold(a_host(tmp_path), 3000)

    found = view.ps(a_host(tmp_path, plugin=Broken([8000])))

    assert [one.name for one in found.holdings] == ["pod"]
    assert found.faults == ('plugin "acme": RuntimeError: no licence',)
    admitted.lease.close()


def test_looking_waits_for_nobody(tmp_path: Path) -> None:
    here = a_host(tmp_path)

    async def while_somebody_decides() -> Ps:
        async with locks.locked(here.folder.lock):
            return view.ps(here)

    assert asyncio.run(while_somebody_decides()) == view.ps(here)
