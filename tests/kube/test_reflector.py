"""A reflector in front of servers that misbehave, over real sockets: what its sink is told in the end, and in which order."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest

from hami_core.kube.backoff import Backoff, Pace
from hami_core.kube.objects import Meta, Node, Pod
from hami_core.kube.reflector import Reflector
from tests.kube.mirror import Mirror, a_reflector, running
from tests.kube.scripted import (
    END,
    a_bookmark,
    a_list,
    a_pod,
    a_status,
    an_event,
    chunk,
    eventually,
    head,
    refuses,
    says,
    serving,
    then,
    watches,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kube.scripted import Request, Wire

    Act = Callable[[Request, Wire], None]

QUIET = then(watches(), "hang")


def seen(tmp_path: Path, *acts: Act, until: Callable[[Mirror], bool], patience: float = 5.0) -> tuple[Mirror, list[Request]]:
    """What a sink and a server have seen when ``until`` holds."""
    mirror = Mirror()
    with serving(tmp_path, *acts) as (server, connection):
        reflector = a_reflector(connection, mirror, patience)
        with running(reflector):
            eventually(lambda: until(mirror))
        return mirror, server.requests


def queries(requests: list[Request], *keys: str) -> list[tuple[str | None, ...]]:
    return [tuple(request.query.get(key) for key in keys) for request in requests]


def test_a_list_is_read_page_by_page_and_then_watched_from_its_version(tmp_path: Path) -> None:
    pages = [says(a_list(a_pod("a"), version=7, more="one")), says(a_list(a_pod("b"), version=7, more="")), QUIET]

    mirror, requests = seen(tmp_path, *pages, until=lambda mirror: len(mirror.told) == 1)

    assert mirror.told == [("replaced", ["a", "b"])]
    assert queries(requests[:2], "limit", "continue", "watch") == [("500", None, None), ("500", "one", None)]


def test_changes_come_in_their_order_and_together(tmp_path: Path) -> None:
    lines = [an_event("ADDED", a_pod("a", 2)), an_event("MODIFIED", a_pod("a", 3)), an_event("DELETED", a_pod("a", 4))]
    watch = then(head(Transfer_Encoding="chunked") + b"".join(map(chunk, lines)), "hang")

    mirror, _ = seen(tmp_path, says(a_list()), watch, until=lambda mirror: len(mirror.told) == 2)

    assert mirror.told == [("replaced", []), [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]]


def test_events_that_arrive_byte_by_byte_are_whole(tmp_path: Path) -> None:
    def watch(_: Request, wire: Wire) -> None:
        wire.dribble(watches(an_event("ADDED", a_pod("a", 2)) + an_event("ADDED", a_pod("b", 3))[:-9], b'"\n'), 0.0001)
        wire.hang()

    good = then(watches(an_event("ADDED", a_pod("c", 4))), "hang")

    mirror, _ = seen(tmp_path, says(a_list()), watch, good, until=lambda mirror: "c" in mirror.pods)

    assert mirror.told[1] == [("ADDED", "a")]


@pytest.mark.parametrize("end", ["reset", "close"])
def test_a_watch_that_breaks_off_in_a_line_goes_on_from_the_last_whole_one(tmp_path: Path, end: str) -> None:
    cut = then(watches(an_event("ADDED", a_pod("a", 5)), an_event("ADDED", a_pod("b", 6))[:40]), end)
    on = then(watches(an_event("ADDED", a_pod("b", 6))), "hang")

    mirror, requests = seen(tmp_path, says(a_list(version=4)), cut, on, until=lambda mirror: "b" in mirror.pods)

    assert (mirror.pods, len(requests), requests[1].query["resourceVersion"]) == ({"a": "5", "b": "6"}, 3, "4")
    assert requests[2].query["resourceVersion"] in {"4", "5"}  # a reset may overtake what was sent before it


def test_a_watch_that_the_server_ends_is_resumed_at_once_from_its_last_bookmark(tmp_path: Path) -> None:
    ended: Act = lambda _, wire: wire.send(watches(a_bookmark(50)) + END)  # noqa: E731
    mirror, begun = Mirror(), time.monotonic()

    with serving(tmp_path, says(a_list(version=4)), ended, QUIET) as (server, connection):
        reflector = a_reflector(connection, mirror, wait=60.0)
        with running(reflector):
            eventually(lambda: len(server.requests) == 3)

    assert queries(server.requests[1:], "resourceVersion") == [("4",), ("50",)]
    assert (mirror.told, time.monotonic() - begun < 10) == ([("replaced", [])], True)


def test_a_watch_that_ends_at_once_and_empty_is_not_a_busy_loop(tmp_path: Path) -> None:
    empty: Act = lambda _, wire: wire.send(watches() + END)  # noqa: E731
    mirror = Mirror()

    with serving(tmp_path, says(a_list()), empty) as (server, connection), running(a_reflector(connection, mirror, wait=60.0)):
        eventually(lambda: len(server.requests) >= 2)
        threading.Event().wait(0.2)

    assert len(server.requests) == 2


GONE = a_status(410, "Expired", "too old resource version: 4 (9)")


@pytest.mark.parametrize(
    "gone",
    [then(watches(an_event("ERROR", GONE)), "hang"), says(GONE, 410), says(b"gone", 410)],
    ids=["event", "answer", "no status"],
)
def test_a_version_that_is_gone_means_a_list_from_the_beginning(tmp_path: Path, gone: Act) -> None:
    acts = [says(a_list(a_pod("a"), version=4)), gone, says(a_list(a_pod("b", 9), version=9)), QUIET]

    mirror, requests = seen(tmp_path, *acts, until=lambda mirror: "b" in mirror.pods)

    assert mirror.told == [("replaced", ["a"]), ("replaced", ["b"])]
    assert queries(requests[:3], "watch", "resourceVersion") == [(None, None), ("true", "4"), (None, None)]


def test_a_node_watch_takes_an_error_for_no_node(tmp_path: Path) -> None:
    told: list[object] = []

    class Nodes:
        def replaced(self, objects: list[Node]) -> None:
            told.append(len(objects))

        def changed(self, batch: list[tuple[str, Node]]) -> None:
            told.append(batch)

    acts = [says(a_list(version=4)), then(watches(an_event("ERROR", GONE)), "hang"), says(a_list(a_pod("n"))), QUIET]
    with serving(tmp_path, *acts) as (_, connection):
        reflector = Reflector(connection, "/api/v1/nodes", Node, Nodes(), backoff=Backoff(Pace(first=0.01)))
        with running(reflector):
            eventually(lambda: len(told) == 2)

    assert told == [0, 1]


def test_a_list_that_expires_on_its_third_page_begins_anew_and_shows_nothing_before(tmp_path: Path) -> None:
    first = [says(a_list(a_pod(name), version=4, more=name)) for name in "ab"]
    second = [says(a_list(a_pod(name), version=9, more=name)) for name in "cd"]

    mirror, _ = seen(
        tmp_path, *first, says(GONE, 410), *second, says(a_list(a_pod("e"), version=9)), QUIET, until=lambda m: bool(m.told)
    )

    assert mirror.told == [("replaced", ["c", "d", "e"])]


@pytest.mark.parametrize(
    "fault",
    [
        refuses(500, "InternalError"),
        refuses(503),
        refuses(403, "Forbidden"),
        refuses(401, "Unauthorized"),
        refuses(429, Retry_After="0"),
        says(b"<html>"),
        says({"metadata": {}, "items": 3}),
        then(b"", "reset"),
        then(whole(a_list(a_pod("a")))[:-20], "reset"),
        then(whole(a_list(a_pod("a")))[:-20], "hang"),
    ],
    ids=["500", "503", "403", "401", "429", "no JSON", "no list", "reset", "half", "silence"],
)
def test_a_list_that_fails_is_tried_again(tmp_path: Path, fault: Act) -> None:
    mirror, _ = seen(tmp_path, fault, says(a_list(a_pod("a"))), QUIET, until=lambda m: bool(m.told), patience=0.5)

    assert mirror.told == [("replaced", ["a"])]


@pytest.mark.parametrize(
    "fault",
    [
        refuses(500, "InternalError"),
        refuses(429, Retry_After="0"),
        then(b"", "reset"),
        then(watches(b"no JSON\n"), "hang"),
        then(watches(b'{"type": 3}\n'), "hang"),
        then(watches(an_event("ERROR", a_status(500, "InternalError", "etcd"))), "hang"),
        then(watches(an_event("ERROR", 7)), "hang"),
        then(head(Transfer_Encoding="chunked") + b"zz\r\n", "hang"),
    ],
    ids=["500", "429", "reset", "no JSON", "no event", "ERROR 500", "no Status", "no chunks"],
)
def test_a_watch_that_fails_is_resumed_without_a_list(tmp_path: Path, fault: Act) -> None:
    on = then(watches(an_event("ADDED", a_pod("b", 6))), "hang")

    mirror, requests = seen(tmp_path, says(a_list(version=4)), fault, on, until=lambda mirror: "b" in mirror.pods)

    assert mirror.told == [("replaced", []), [("ADDED", "b")]]
    assert queries(requests[1:3], "resourceVersion") == [("4",), ("4",)]


def test_a_watch_that_falls_silent_is_resumed(tmp_path: Path) -> None:
    silent = then(watches(an_event("ADDED", a_pod("a", 5))), "hang")
    on = then(watches(an_event("ADDED", a_pod("b", 6))), "hang")

    _, requests = seen(tmp_path, says(a_list(version=4)), silent, on, until=lambda mirror: "b" in mirror.pods, patience=0.5)

    assert queries(requests[1:3], "resourceVersion") == [("4",), ("5",)]


def test_an_object_that_cannot_be_read_is_told_and_hides_no_other(tmp_path: Path) -> None:
    bad = {"metadata": {"name": 3, "resourceVersion": "8"}}
    watch = watches(an_event("ADDED", a_pod("b", 6)), an_event("ADDED", bad), an_event("ADDED", a_pod("c", 9)))

    mirror, _ = seen(
        tmp_path, says(a_list(bad, a_pod("a"))), then(watch, "hang"), until=lambda mirror: {"a", "b", "c"} <= set(mirror.pods)
    )

    raw = b'{"metadata": {"name": 3, "resourceVersion": "8"}}'
    told = ("unreadable", raw, "ValidationError")
    assert [told, ("replaced", ["a"]), [("ADDED", "b")], told, [("ADDED", "c")]] == mirror.told


def test_what_stands_in_for_an_object_that_cannot_be_read_takes_its_place(tmp_path: Path) -> None:
    bad = {"metadata": {"name": 3, "resourceVersion": "8"}}
    mirror, stand_in = Mirror(), Pod(Meta(name="instead"))
    with serving(tmp_path, says(a_list(bad, a_pod("a"))), then(watches(an_event("DELETED", bad)), "hang")) as (_, connection):
        reflector = Reflector(connection, "/api/v1/pods", Pod, mirror, unreadable=lambda *_: stand_in)
        with running(reflector):
            eventually(lambda: len(mirror.told) == 2)

    assert mirror.told == [("replaced", ["a", "instead"]), [("DELETED", "instead")]]


@pytest.mark.parametrize(
    ("thing", "which"),
    [
        ({"metadata": {"name": "p", "uid": 3}, "data": "secret"}, "/p (3)"),
        ({"metadata": 5}, "15 bytes without a name"),
        (7, "1 bytes"),
    ],
    ids=["named", "nameless", "no object"],
)
def test_which_object_is_unreadable_stands_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, thing: object, which: str
) -> None:
    mirror = Mirror()
    with serving(tmp_path, says(a_list(thing)), QUIET) as (_, connection):
        reflector = Reflector(connection, "/api/v1/pods", Pod, mirror)
        with running(reflector):
            eventually(lambda: bool(mirror.told))

    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert reflector.unreadable == 1
    assert f"cannot be read: {which}" in record.getMessage()
    assert "secret" not in caplog.text


def test_what_a_health_check_asks(tmp_path: Path) -> None:
    mirror, go = Mirror(), threading.Event()

    def watch(_: Request, wire: Wire) -> None:
        go.wait(10)
        wire.send(watches(an_event("ERROR", GONE)))

    with serving(tmp_path, refuses(503, message="later"), says(a_list()), watch, says(a_list()), QUIET) as (_, connection):
        reflector = a_reflector(connection, mirror, wait=0.1)
        before = (reflector.synced, reflector.last_contact < 0, reflector.restarts, reflector.failure)
        with running(reflector):
            eventually(lambda: reflector.failure.startswith("API server: 503"))
            eventually(lambda: reflector.synced)
            between = (reflector.restarts, reflector.failure)
            go.set()
            eventually(lambda: reflector.restarts == 1)
            after = time.monotonic() - reflector.last_contact

    assert before == (False, True, 0, "")
    assert between == (0, "")
    assert after < 5


def test_selectors_go_with_every_request(tmp_path: Path) -> None:
    mirror = Mirror()
    with serving(tmp_path, says(a_list()), QUIET) as (server, connection):
        reflector = Reflector(connection, "/api/v1/pods", Pod, mirror, label_selector="a=b", field_selector="spec.nodeName!=")
        with running(reflector):
            eventually(lambda: len(server.requests) == 2)

    assert queries(server.requests, "labelSelector", "fieldSelector") == [("a=b", "spec.nodeName!=")] * 2


@pytest.mark.parametrize(
    "acts",
    [
        [says(a_list()), QUIET],
        [says(a_list()), then(b"", "hang")],
        [refuses(500), refuses(429, Retry_After="60")],
        [refuses(500), then(b"", "hang")],
        [refuses(500), then(whole(a_list())[:-5], "hang")],
    ],
    ids=["in a watch", "before a watch", "while it waits", "before a list", "in a list"],
)
def test_it_stops_within_a_second(tmp_path: Path, acts: list[Act]) -> None:
    stop, mirror = threading.Event(), Mirror()
    with serving(tmp_path, *acts) as (server, connection):
        thread = threading.Thread(target=a_reflector(connection, mirror, patience=60).run, args=(stop,))
        thread.start()
        eventually(lambda: len(server.requests) == 2)
        begun = time.monotonic()
        stop.set()
        thread.join(10)
        took = time.monotonic() - begun

    assert took < 1
