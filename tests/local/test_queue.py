from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core.local import changes, locks, queue, state
from hami_core.local.queue import Ticket

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from hami_core.local.state import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return state.folder(tmp_path, "host")


def a_ticket(name: str, *kinds: str) -> Ticket:
    return Ticket(name, name, "default", kinds or ("acme",), pid=1, since=1, why="full")


def names(folder: Folder) -> list[str]:
    return [one.ticket.name for one in queue.heal(folder) if one.ticket]


def first(folder: Folder, own: queue.Place | None, *kinds: str) -> str:
    found = queue.ahead(queue.heal(folder), own, kinds or ("acme",))
    return found.ticket.name if found and found.ticket else ""


def test_who_joins_first_comes_first(folder: Folder) -> None:
    places = [queue.join(folder, a_ticket(name)) for name in ("a", "b", "c")]
    assert names(folder) == ["a", "b", "c"]
    assert [first(folder, place) for place in places] == ["", "a", "b"]

    places[0].leave()

    assert first(folder, places[1]) == ""
    for place in places[1:]:
        place.leave()
    assert list(folder.queue.iterdir()) == []


def test_a_newcomer_comes_behind_everybody(folder: Folder) -> None:
    place = queue.join(folder, a_ticket("a"))
    assert first(folder, None) == "a"
    place.leave()


def test_nobody_waits_behind_those_who_want_something_else(folder: Folder) -> None:
    place = queue.join(folder, a_ticket("a", "other"))
    assert first(folder, None, "acme") == ""
    assert first(folder, None, "acme", "other") == "a"
    place.leave()


def test_the_dead_leave_the_queue(folder: Folder) -> None:
    queue.join(folder, a_ticket("dead")).leave()
    (folder.queue / "000000007").write_text("")  # nobody holds its lock
    (folder.queue / "000000007.json").write_text("{}")
    (folder.queue / "000000008.json").write_text("{}")  # killed between the two

    assert names(folder) == []
    assert list(folder.queue.iterdir()) == []


def test_a_ticket_that_cannot_be_read_is_waited_for(folder: Folder) -> None:
    place = queue.join(folder, a_ticket("a"))
    place.path.with_name(f"{place.path.name}.json").write_text("{")

    found = queue.ahead(queue.heal(folder), None, ["acme"])

    assert found == queue.Waiting(1, None, place.path)
    place.leave()


def test_the_reason_of_a_ticket_is_the_present_one(folder: Folder) -> None:
    place = queue.join(folder, a_ticket("a"))

    place = place.explain("something else")

    assert [one.ticket.why for one in queue.waiting(folder) if one.ticket] == ["something else"]
    place.leave()
    assert list(folder.queue.iterdir()) == []


def test_a_position_counts_those_who_want_the_same(folder: Folder) -> None:
    kinds = (("acme",), ("other",), ("acme", "other"), ("acme",))
    places = [queue.join(folder, a_ticket(str(number), *wanted)) for number, wanted in enumerate(kinds)]
    found = queue.waiting(folder)

    assert [queue.position(found, one) for one in found] == [1, 1, 3, 3]
    for place in places:
        place.leave()


def woken(folder: Folder, first: queue.Waiting | None, change: Callable[[], object]) -> bool:
    """Whether the kernel tells somebody who stands behind ``first`` of that change."""
    with changes.watching() as watch:
        queue.watch(folder, first, watch)
        change()
        return watch.drain()


def killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_who_stands_behind_another_is_woken_by_his_leaving_and_by_nothing_else(folder: Folder) -> None:
    places = [queue.join(folder, a_ticket(name)) for name in ("a", "b", "c")]
    before_c = queue.ahead(queue.waiting(folder), places[2], ["acme"])

    assert not woken(folder, before_c, places[0].leave)
    assert not woken(folder, before_c, (folder.holdings / "x").mkdir)
    assert woken(folder, before_c, places[1].leave)
    places[2].leave()


def test_who_stands_behind_another_is_woken_by_his_death(folder: Folder) -> None:
    place = queue.join(folder, a_ticket("a"))
    (first,) = queue.waiting(folder)
    with subprocess.Popen(["sleep", "1000"], pass_fds=[place.lock]) as other:  # it is he who waits
        os.close(place.lock)
        assert woken(folder, first, lambda: killed(other))
    assert queue.heal(folder) == ()


def test_the_first_is_woken_by_the_death_of_the_last_who_lives_in_a_holding(folder: Folder) -> None:
    (folder.holdings / "uid" / "main").mkdir(parents=True)
    lock = locks.take(folder.holdings / "uid" / "main" / "alive")
    assert lock is not None
    with subprocess.Popen(["sleep", "1000"], pass_fds=[lock]) as heir:
        assert not woken(folder, None, lambda: os.close(lock))
        assert woken(folder, None, lambda: killed(heir))


# --- Fairness. --------------------------------------------------------------------------------------------------------

KINDS = ("acme", "other", "third")
WANTED = st.lists(
    st.tuples(st.sets(st.sampled_from(KINDS), min_size=1).map(tuple), st.integers(1, 10)), min_size=1, max_size=12
)


@given(WANTED, st.randoms(use_true_random=False))
def test_pods_that_want_the_same_are_served_in_the_order_in_which_they_came(
    wanted: list[tuple[tuple[str, ...], int]], chance: random.Random
) -> None:
    """Every kind has 10 of everything; whoever is woken looks when chance lets him, and runs as long as chance lets him."""
    queued = [queue.Waiting(n, a_ticket(str(n), *kinds), Path(str(n))) for n, (kinds, _) in enumerate(wanted)]
    running: list[queue.Waiting] = []
    served: list[int] = []
    while queued or running:
        one = chance.choice([*queued, *running])
        if one in running:
            running.remove(one)
            continue
        assert one.ticket
        own = queue.Place(one.path, one.number, -1, one.ticket)
        taken = {kind: sum(wanted[it.number][1] for it in running if it.wants([kind])) for kind in KINDS}
        fits = all(taken[kind] + wanted[one.number][1] <= 10 for kind in one.ticket.kinds)
        if queue.ahead(queued, own, one.ticket.kinds) is None and fits:
            queued.remove(one)
            running.append(one)
            served.append(one.number)

    assert sorted(served) == list(range(len(wanted)))
    overtakings = [
        (early, late)
        for early in served
        for late in served[: served.index(early)]
        if late > early and set(wanted[late][0]) & set(wanted[early][0])
    ]
    assert overtakings == []
