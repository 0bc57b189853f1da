from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hami_core.errors import NeverFits, NoMachine, ValidationError
from hami_core.local import admission, holdings
from hami_core.model import Holding, Share
from tests.local.acme import a_container, a_host, a_pod, card

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.local.admission import Admitted
    from hami_core.local.host import Host


def asking(here: Host, **limits: int) -> tuple[object, ...]:
    return admission.asks(here, a_pod(here, a_container(limits={f"acme.dev/{name}": n for name, n in limits.items()})))


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"card": 99}, "99 devices asked, there is 1 (acme.dev/card)"),
        ({"card": 1, "mem": 9000}, "9000 MiB asked, 8000 in all on the largest of 1 device (acme.dev/mem)"),
    ],
)
def test_what_could_never_fit_is_refused_at_once_with_its_numbers(tmp_path: Path, limits: dict[str, int], why: str) -> None:
    with pytest.raises(NeverFits) as caught:
        asking(a_host(tmp_path), **limits)

    assert str(caught.value) == f'pod "pod" can never run on host: container "main": {why}'


def test_a_pod_for_devices_that_are_not_here_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoMachine, match="this host has no acme device; name a simulated machine by --machine t4-node"):
        asking(a_host(tmp_path, []), card=1)


def test_a_variable_that_is_ours_to_set_is_refused(tmp_path: Path) -> None:
    here = a_host(tmp_path)
    with pytest.raises(ValidationError, match="ACME_VISIBLE: all in container"):
        admission.asks(here, a_pod(here, a_container(env=[{"name": "ACME_VISIBLE", "value": "all"}])))


def test_what_fits_is_placed_beside_what_is_held(tmp_path: Path) -> None:
    here = a_host(tmp_path, [8000, 8000])
    pod = a_pod(here, a_container(limits=card(5000)))
    held = [Holding("u", "other", "default", (Share("c", "acme", "card-0", 5000, 8000, 0),))]

    placed = admission.place(here, admission.asks(here, pod), held)

    assert placed == (Share("main", "acme", "card-1", 5000, 8000, 0),)


def test_what_does_not_fit_now_is_told_with_numbers_and_names(tmp_path: Path) -> None:
    here = a_host(tmp_path)
    pod = a_pod(here, a_container(limits=card(5000)))
    held = [Holding(str(n), f"p{n}", "default", (Share("c", "acme", "card-0", 1000, 8000, 0),)) for n in range(5)]

    why = admission.place(here, admission.asks(here, pod), held)

    assert why == (
        'container "main": 5000 MiB asked, 3000 free on the emptiest of 1 device (acme.dev/mem); held by p0, p1, p2 and 2 more'
    )


def test_cores_are_said_to_be_reserved_and_not_enforced(tmp_path: Path) -> None:
    here = a_host(tmp_path)
    pod = a_pod(here, a_container(limits={**card(1000), "acme.dev/cores": 30}))
    asked = admission.asks(here, pod)
    shares = admission.place(here, asked, [])

    assert isinstance(shares, tuple)
    assert admission.notes(here.catalogue.kinds, shares, asked) == (
        "acme.dev/cores: cores reserved, not enforced by this build",
    )


def admitted_in_turn(here: Host, *memory: int) -> list[str]:
    """Pods p0, p1, ... ask in this order at once; whoever is admitted gives back at the next turn. Who came when."""
    came: list[str] = []

    async def one(number: int, mem: int, queued: asyncio.Event) -> None:
        pod = a_pod(here, a_container(limits=card(mem)), name=f"p{number}")

        def waits(_: str) -> None:
            queued.set()

        admitted = await admission.admit(here, pod, admission.asks(here, pod), waits)
        came.append(pod.name)
        queued.set()
        await asyncio.sleep(0)
        await admission.release(here, admitted.lease)

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            blocker = a_pod(here, a_container(limits=card(8000)), name="blocker")
            first = await admission.admit(here, blocker, admission.asks(here, blocker), lambda _: None)
            for number, mem in enumerate(memory):
                queued = asyncio.Event()
                group.create_task(one(number, mem, queued))
                await queued.wait()
            await admission.release(here, first.lease)

    asyncio.run(all_of_them())
    return came


def test_a_small_pod_does_not_overtake_a_large_one(tmp_path: Path) -> None:
    assert admitted_in_turn(a_host(tmp_path), 8000, 1000, 8000, 1000) == ["p0", "p1", "p2", "p3"]


def test_a_cancelled_pod_leaves_no_trace_in_the_queue(tmp_path: Path) -> None:
    here = a_host(tmp_path)
    pod = a_pod(here, a_container(limits=card(8000)))
    asked = admission.asks(here, pod)

    async def cancel_the_second() -> Admitted:
        first = await admission.admit(here, pod, asked, lambda _: None)
        queued = asyncio.Event()
        other = a_pod(here, a_container(limits=card(8000)))
        second = asyncio.ensure_future(admission.admit(here, other, asked, lambda _: queued.set()))
        await queued.wait()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        return first

    first = asyncio.run(cancel_the_second())

    assert list(here.folder.queue.iterdir()) == []
    assert [found.uid for found in holdings.heal(here.folder)] == [pod.uid]
    first.lease.close()


def test_nothing_is_granted_while_nobody_knows_what_is_held(tmp_path: Path) -> None:
    here = a_host(tmp_path)
    pod = a_pod(here, a_container(limits=card(1000)))
    asked = admission.asks(here, pod)
    told: list[str] = []

    async def beside_an_unreadable_one() -> None:
        first = await admission.admit(here, pod, asked, told.append)
        (first.lease.path / "holding.json").write_text("{")
        first.lease.limits("main").write_text("")
        queued = asyncio.Event()
        other = a_pod(here, a_container(limits=card(1000)))

        def waits(why: str) -> None:
            told.append(why)
            queued.set()

        second = asyncio.ensure_future(admission.admit(here, other, asked, waits))
        await queued.wait()
        first.lease.close()
        (await second).lease.close()

    asyncio.run(beside_an_unreadable_one())

    assert len(told) == 1
    assert told[0].endswith("until its processes have ended, nothing is granted on this machine")
