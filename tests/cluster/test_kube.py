"""Our edge to the API server, in front of a real one: what it answers, and what becomes of a watch when it goes away."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field

from hami_core.kube import listing, writes
from hami_core.kube.connection import connect
from hami_core.kube.errors import Conflict, Forbidden, Gone, Invalid, NotFound, Unavailable
from hami_core.kube.objects import Node, Pod
from hami_core.kube.reflector import Reflector
from hami_core.testing.cluster import ControlPlane, Options
from hami_core.testing.cluster.control_plane import APISERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hami_core.kube.connection import Connection

SECONDS = 30.0
BARE = Options(controllers=False, kwok=False)


@pytest.fixture
def connection(control_plane: ControlPlane) -> Iterator[Connection]:
    connection = connect(control_plane.kubeconfig())
    yield connection
    connection.close()


def pods(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/pods" + (f"/{name}" if name else "")


def make_pod(connection: Connection, namespace: str, name: str, **annotations: str) -> Pod:
    metadata = {"name": name, "annotations": {f"hami.test/{key}": value for key, value in annotations.items()}}
    spec = {"schedulerName": "nobody", "containers": [{"name": "main", "image": "none"}]}
    writes.create(connection, pods(namespace), {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return writes.read(connection, pods(namespace, name), Pod)


def bind(connection: Connection, pod: Pod, **changed: Any) -> None:
    meta = pod.metadata
    given = {"uid": meta.uid, "node": "nowhere", "annotations": {"hami.test/told": "so"}, **changed}
    writes.bind(connection, namespace=meta.namespace, name=meta.name, **given)


def eventually(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < until, f"not {what} after {SECONDS} s"
        time.sleep(0.02)


@define
class Mirror:
    """Pods by name: where they are, and what they are told."""

    pods: dict[str, tuple[str, str | None]] = field(factory=dict)
    lists: int = 0

    def replaced(self, objects: list[Pod]) -> None:
        """All there is."""
        self.lists += 1
        self.pods = dict(self._item(pod) for pod in objects)

    def changed(self, batch: list[tuple[str, Pod]]) -> None:
        """One after the other."""
        for kind, pod in batch:
            if kind == "DELETED":
                self.pods.pop(pod.metadata.name, None)
            else:
                self.pods |= dict([self._item(pod)])

    def _item(self, pod: Pod) -> tuple[str, tuple[str, str | None]]:
        return pod.metadata.name, (pod.spec.node_name, (pod.metadata.annotations or {}).get("hami.test/told"))


@contextmanager
def mirrored(connection: Connection, namespace: str) -> Iterator[tuple[Mirror, Reflector[Pod]]]:
    mirror, stop = Mirror(), threading.Event()
    reflector = Reflector(connection, pods(namespace), Pod, mirror, patience=5)
    thread = threading.Thread(target=reflector.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: reflector.synced, "synced")
        yield mirror, reflector
    finally:
        stop.set()
        thread.join(SECONDS)
        assert not thread.is_alive()


# ---------------------------------------------------------------------------------------------------- in good health


def test_a_pod_is_seen_to_come_to_be_bound_and_to_go(connection: Connection, namespace: str) -> None:
    first = make_pod(connection, namespace, "first")
    states = []

    with mirrored(connection, namespace) as (mirror, reflector):
        states.append(dict(mirror.pods))
        bind(connection, make_pod(connection, namespace, "second"))
        eventually(lambda: mirror.pods.get("second") == ("nowhere", "so"), "bound")
        writes.delete(connection, pods(namespace, "first"), uid=first.metadata.uid)
        eventually(lambda: "first" not in mirror.pods, "gone")

    assert states == [{"first": ("", None)}]
    assert (mirror.lists, reflector.unreadable) == (1, 0)


def test_a_binding_for_another_pod_of_the_name_changes_nothing(connection: Connection, namespace: str) -> None:
    pod = make_pod(connection, namespace, "p")

    with pytest.raises(Conflict, match="Precondition failed: UID"):
        bind(connection, pod, uid="another")

    assert writes.read(connection, pods(namespace, "p"), Pod) == pod


def test_a_second_binding_is_a_conflict_and_tells_the_pod_nothing(connection: Connection, namespace: str) -> None:
    pod = make_pod(connection, namespace, "p")
    bind(connection, pod)

    with pytest.raises(Conflict, match="already assigned to node"):
        bind(connection, pod, annotations={"hami.test/told": "otherwise"})

    annotations = writes.read(connection, pods(namespace, "p"), Pod).metadata.annotations
    assert annotations == {"hami.test/told": "so"}


def test_a_pod_that_is_gone_cannot_be_bound(connection: Connection, namespace: str) -> None:
    pod = make_pod(connection, namespace, "p")
    writes.delete(connection, pods(namespace, "p"))
    eventually(lambda: not listing.read_all(connection, pods(namespace), Pod).objects, "gone")

    with pytest.raises(NotFound):
        bind(connection, pod)


def test_annotations_are_set_and_removed_and_others_stay(connection: Connection, namespace: str) -> None:
    pod = make_pod(connection, namespace, "p", a="1", b="2")
    change = {"hami.test/a": None, "hami.test/c": "3"}

    with pytest.raises(Conflict):
        writes.annotate(connection, pods(namespace, "p"), change, uid="another")
    writes.annotate(connection, pods(namespace, "p"), change, uid=pod.metadata.uid)

    annotations = writes.read(connection, pods(namespace, "p"), Pod).metadata.annotations
    assert annotations == {"hami.test/b": "2", "hami.test/c": "3"}


def test_an_annotation_for_one_version_is_refused_by_the_next(connection: Connection, namespace: str) -> None:
    version = make_pod(connection, namespace, "p").metadata.resource_version

    writes.annotate(connection, pods(namespace, "p"), {"hami.test/a": "1"}, version=version)
    with pytest.raises(Conflict, match="has been modified"):
        writes.annotate(connection, pods(namespace, "p"), {"hami.test/a": "2"}, version=version)

    assert writes.read(connection, pods(namespace, "p"), Pod).metadata.annotations == {"hami.test/a": "1"}


def test_an_event_that_is_seen_again_is_one_event(control_plane: ControlPlane, connection: Connection, namespace: str) -> None:
    pod = make_pod(connection, namespace, "p")
    about = {"kind": "Pod", "apiVersion": "v1", "namespace": namespace, "name": "p", "uid": pod.metadata.uid}
    said = {
        "namespace": namespace,
        "name": "p.1",
        "regarding": about,
        "reason": "NoRoom",
        "action": "Scheduling",
        "kind": "Warning",
    }
    by = {"controller": "hami.test/one", "instance": "one-1", "when": "2026-01-01T00:00:00Z"}

    writes.record_event(connection, **said, **by, note="0/1 nodes")  # type: ignore[arg-type]
    for count, note in ((2, "0/2 nodes"), (3, "ä" * 1000)):
        writes.record_event(connection, **said, **by, note=note, count=count, last="2026-01-01T00:01:00Z")  # type: ignore[arg-type]

    (event,) = control_plane.get("events", "-n", namespace)["items"]
    assert (event["count"], event["message"]) == (3, "ä" * 510 + "...")
    assert event["involvedObject"]["uid"] == pod.metadata.uid
    assert re.search(r"NoRoom .*x3 over", control_plane.kubectl("describe", "pod", "p", "-n", namespace))


def test_an_object_is_applied_changed_and_deleted(connection: Connection, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets/s"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "1"}}

    for value in "12":
        writes.apply(connection, path, {**secret, "stringData": {"a": value}}, "one")
    with pytest.raises(Conflict, match=r"conflict with .one."):
        writes.apply(connection, path, {**secret, "stringData": {"a": "3"}}, "another", force=False)
    with pytest.raises(Conflict):
        writes.create(connection, path.removesuffix("/s"), secret)
    with pytest.raises(Conflict):
        writes.replace(connection, path, {**secret, "metadata": {"name": "s", "resourceVersion": "1"}})
    with pytest.raises(Conflict):
        writes.delete(connection, path, uid="another")
    writes.delete(connection, path)

    with pytest.raises(NotFound):
        writes.read(connection, path, Node)


def test_without_a_right_it_is_said_which(control_plane: ControlPlane, namespace: str) -> None:
    connection = connect(control_plane.kubeconfig("bob"))

    with pytest.raises(Forbidden, match='User "bob" cannot list resource "pods"'):
        listing.read_all(connection, pods(namespace), Pod)
    connection.close()


def test_what_cannot_be_is_invalid(connection: Connection, namespace: str) -> None:
    with pytest.raises(Invalid):
        writes.create(connection, pods(namespace), {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "A_B"}})


def test_a_list_of_many_pages_is_whole(connection: Connection, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    names = [f"p{number}" for number in range(8)]
    for name in names:
        make_pod(connection, namespace, name)

    listed = listing.read_all(connection, pods(namespace), Pod)

    assert sorted(pod.metadata.name for pod in listed.objects) == names


def test_a_version_of_the_future_means_to_list_again(connection: Connection, namespace: str) -> None:
    with pytest.raises(Gone, match="Too large resource version"):
        connection.request("GET", pods(namespace), query={"resourceVersion": "999999999"})


# ---------------------------------------------------------------------------------------------------------- bad days


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """One that may be broken, as long as each test puts it right."""
    with ControlPlane(options=BARE) as plane:
        plane.make_namespace("own")
        yield plane


@pytest.fixture
def breakable(plane: ControlPlane) -> Iterator[Connection]:
    """The way to it, and no pod there."""
    connection = connect(plane.kubeconfig())
    for pod in listing.read_all(connection, pods("own"), Pod).objects:
        connection.request("DELETE", pods("own", pod.metadata.name), b'{"gracePeriodSeconds": 0}')
    yield connection
    connection.close()


def test_a_watch_outlives_the_api_server(plane: ControlPlane, breakable: Connection) -> None:
    make_pod(breakable, "own", "before")

    with mirrored(breakable, "own") as (mirror, reflector):
        plane.kill(APISERVER)
        eventually(lambda: bool(reflector.failure), "noticed")
        plane.restart_apiserver()
        make_pod(breakable, "own", "after")
        eventually(lambda: set(mirror.pods) == {"before", "after"}, "seen")


def test_what_was_compacted_away_while_nobody_watched_is_listed(plane: ControlPlane, breakable: Connection) -> None:
    make_pod(breakable, "own", "before")

    with mirrored(breakable, "own") as (mirror, reflector):
        plane.kill(APISERVER)
        eventually(lambda: bool(reflector.failure), "noticed")
        forget(plane.ports["etcd"])
        plane.restart_apiserver()
        make_pod(breakable, "own", "after")
        eventually(lambda: set(mirror.pods) == {"before", "after"}, "seen")

    assert (reflector.restarts, mirror.lists) == (1, 2)


def forget(port: int) -> None:
    """Let something happen to etcd, through its gateway, and compact it away with all that was before."""
    revisions = [etcd(port, "/v3/kv/put", {"key": "ZWxzZXdoZXJl", "value": ""})["header"]["revision"] for _ in range(3)]
    etcd(port, "/v3/kv/compaction", {"revision": revisions[-1], "physical": True})


def etcd(port: int, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_a_binding_that_was_not_answered_is_settled_by_a_second_one(plane: ControlPlane, breakable: Connection) -> None:
    pod = make_pod(breakable, "own", "p")

    plane.pause(APISERVER)
    with pytest.raises(Unavailable) as caught:
        bind(breakable, pod, timeout=0.5)
    plane.resume(APISERVER)
    with suppress(Conflict):  # the first was carried out after all
        bind(breakable, pod)

    bound = writes.read(breakable, pods("own", "p"), Pod)
    assert (caught.value.unknown, bound.spec.node_name, bound.metadata.annotations) == (
        True,
        "nowhere",
        {"hami.test/told": "so"},
    )


def test_a_watch_goes_on_after_an_api_server_that_stood_still(plane: ControlPlane, breakable: Connection) -> None:
    with mirrored(breakable, "own") as (mirror, reflector):
        plane.pause(APISERVER)
        eventually(lambda: bool(reflector.failure), "noticed")
        plane.resume(APISERVER)
        make_pod(breakable, "own", "after")
        eventually(lambda: set(mirror.pods) == {"after"}, "seen")
