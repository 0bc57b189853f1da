from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_core.local import queue, state
from hami_core.local.queue import Ticket

if TYPE_CHECKING:
    from pathlib import Path

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
    (folder.queue / "000000007").write_text("{}")  # nobody holds its lock

    assert names(folder) == []
    assert list(folder.queue.iterdir()) == []


def test_a_ticket_that_cannot_be_read_is_waited_for(folder: Folder) -> None:
    place = queue.join(folder, a_ticket("a"))
    place.path.write_text("{")

    found = queue.ahead(queue.heal(folder), None, ["acme"])

    assert found == queue.Waiting(1, None)
    place.leave()


def test_the_signature_changes_when_somebody_joins_or_leaves(folder: Folder) -> None:
    empty = queue.signature(folder)
    place = queue.join(folder, a_ticket("a"))
    joined = queue.signature(folder)
    place.leave()

    assert joined not in {empty, queue.signature(folder)}
