"""Whatever a line of a watch says, it becomes a change, a version, a failure, or something unreadable; never an exception."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from hami_core.kube.errors import Gone, TooManyRequests, Unavailable
from hami_core.kube.events import Events
from hami_core.kube.listing import Unreadable
from hami_core.kube.objects import Pod
from tests.kube.scripted import a_bookmark, a_pod, a_status, an_event

EVENTS = Events(Pod)
THINGS: list[object] = [None, 7, "text", [], {}, {"metadata": None}, {"metadata": {"name": 3}}, a_pod("p", 5), a_status(410)]


@given(
    kind=st.sampled_from(["ADDED", "DELETED", "BOOKMARK", "ERROR", "NEW"]),
    thing=st.sampled_from(THINGS),
    junk=st.binary(max_size=6),
    at=st.integers(0, 60),
)
def test_no_line_is_lost_and_none_raises(kind: str, thing: object, junk: bytes, at: int) -> None:
    line = json.dumps({"type": kind, "object": thing}).encode()

    batch = EVENTS.decode([line[:at] + junk + line[at:]])

    assert batch.changes or batch.failure or kind == "BOOKMARK"


def test_a_pod_of_bad_text_is_unreadable() -> None:
    line = an_event("ADDED", a_pod("p", 5)).replace(b'"nodeName": "n"', b'"nodeName": "\xff"')

    (change,) = EVENTS.decode([line]).changes

    assert isinstance(change, Unreadable)
    assert b"\xff" in change.raw


def test_an_unknown_type_of_event_is_not_passed_over() -> None:
    (change,) = EVENTS.decode([an_event("RENAMED", a_pod("p", 5))]).changes

    assert isinstance(change, Unreadable)
    assert "unknown type RENAMED" in str(change.error)


def test_the_version_is_that_of_the_last_line_that_has_one() -> None:
    lines = [an_event("ADDED", a_pod("p", 5)), a_bookmark(9), an_event("ADDED", {"metadata": {"name": 1}})]

    assert EVENTS.decode(lines).version == "9"


def test_what_stands_behind_an_error_is_not_read() -> None:
    error = an_event("ERROR", a_status(410, "Gone"))

    batch = EVENTS.decode([an_event("ADDED", a_pod("p", 5)), error, an_event("ADDED", a_pod("q", 6))])

    assert (len(batch.changes), type(batch.failure)) == (1, Gone)


def test_an_error_is_of_the_kind_that_an_answer_would_be() -> None:
    codes = [429, 500]

    failures = [EVENTS.decode([an_event("ERROR", a_status(code))]).failure for code in codes]

    assert [type(failure) for failure in failures] == [TooManyRequests, Unavailable]
