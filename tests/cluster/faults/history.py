"""What happened, from two witnesses: the API server's audit log, and a watch of our own that keeps everything it is told.

The audit log tells who wrote what. Its lines stand in the order in which answers were finished, which for two requests at a
time is not the order in which they were carried out; so a grant counts from its answer, and an end from its request. What is
found wrong then is wrong. The watch is in the order of the store (resource versions), and misses nothing.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Self

import urllib3
from attrs import define, field

from hami_core import names, wire
from hami_core.errors import WireError
from hami_core.model import NodeDevices
from hami_core.testing.cluster.commands import ADMIN, ADMINS
from tests.cluster.faults import audit
from tests.cluster.faults.audit import Bound, Ended, Granted
from tests.cluster.faults.proxy import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hami_core.testing.cluster.audit import Entry
    from hami_core.testing.cluster.control_plane import ControlPlane
    from tests.cluster.faults.audit import Room, Step, Where

CREATED, DONE, REFUSED = 201, range(200, 300), range(400, 500)


# --- The audit log ---------------------------------------------------------------------------------------------------


def bindings(entries: Iterable[Entry]) -> Iterator[Bound]:
    """Those that were carried out, and those that may have been: a server whose client has gone says 5xx, or nothing."""
    for one in entries:
        if one.resource == "pods/binding" and one.verb == "create" and one.status not in REFUSED:
            meta = one.body.get("metadata", {})
            yield Bound(
                one.user,
                meta.get("uid", ""),
                f"{one.namespace}/{one.name}",
                one.body.get("target", {}).get("name", ""),
                meta.get("annotations") or {},
                certain=one.status == CREATED,
            )


def steps(entries: Iterable[Entry]) -> list[Step]:
    """Grants at their answers and ends at their requests, by the server's clock. A pod's name leads to its uid."""
    timed: list[tuple[str, Step]] = []
    uids: dict[tuple[str, str], str] = {}
    for one in entries:
        named = (one.namespace, one.name)
        if one.resource == "pods/binding" and one.status == CREATED and (granted := _granted(one)):
            uids[named] = granted.uid
            timed.append((one.answered, granted))
        elif _ends(one) and named in uids:
            timed.append((one.received, Ended(uids[named])))
    return [step for _, step in sorted(timed, key=lambda pair: pair[0])]


def _ends(entry: Entry) -> bool:
    """Deleted, or completed: that is what our tests write into a status, and nobody else does it as this user."""
    deleted = entry.resource == "pods" and entry.verb == "delete"
    completed = entry.resource == "pods/status" and entry.verb == "patch" and entry.user == ADMIN
    return (deleted or completed) and entry.status in DONE


def _granted(entry: Entry) -> Granted | None:
    meta = {"namespace": entry.namespace, "name": entry.name, **entry.body.get("metadata", {})}
    return audit.grant({"metadata": meta, "spec": {"nodeName": entry.body.get("target", {}).get("name", "")}})


# --- The watch -------------------------------------------------------------------------------------------------------


@define(eq=False)
class Recorder:
    """A watch of pods and one of nodes, from ``__enter__`` to ``__exit__``; the API server may go and come back.

    An API server that is started anew remembers nothing of what was before: then what is gone counts as gone first.
    """

    url: str
    pool: urllib3.PoolManager
    changes: list[tuple[str, Mapping[str, Any]]] = field(factory=list, init=False)
    nodes: list[tuple[str, Mapping[str, Any]]] = field(factory=list, init=False)
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)

    @classmethod
    def of(cls, plane: ControlPlane) -> Self:
        """With all rights."""
        certificate, key = plane.certificates.client_files(ADMIN, (ADMINS,))
        context = Upstream(plane.url, plane.certificates.ca, certificate, key).context()
        return cls(plane.url, urllib3.PoolManager(maxsize=2, retries=False, timeout=30, ssl_context=context))

    def __enter__(self) -> Self:
        for path, into in (("/api/v1/pods", self.changes), ("/api/v1/nodes", self.nodes)):
            version = self._list(path, into)
            self._threads.append(threading.Thread(target=self._follow, args=(path, version, into), name=f"record {path}"))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.pool.clear()

    def _follow(self, path: str, version: str, into: list[tuple[str, Mapping[str, Any]]]) -> None:
        while not self._stop.is_set():
            try:
                version = self._watch(path, version, into) or self._list(path, into)
            except (urllib3.exceptions.HTTPError, OSError):
                self._stop.wait(0.05)

    def _list(self, path: str, into: list[tuple[str, Mapping[str, Any]]]) -> str:
        """Who is gone since the last change, and then who is there; where to watch from."""
        listed = json.loads(self.pool.request("GET", self.url + path).data)
        here = {item["metadata"]["uid"] for item in listed["items"]}
        known = {item["metadata"]["uid"]: (event, item) for event, item in into}
        gone = [item for uid, (event, item) in known.items() if uid not in here and event != "DELETED"]
        into += [("DELETED", item) for item in gone] + [("MODIFIED", lean(item)) for item in listed["items"]]
        return str(listed["metadata"]["resourceVersion"])

    def _watch(self, path: str, version: str, into: list[tuple[str, Mapping[str, Any]]]) -> str:
        """For a second, or until it breaks; where to go on from. Empty: the server does not remember so far back."""
        query = f"?watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={version}"
        answer = self.pool.request("GET", self.url + path + query, preload_content=False)
        try:
            for line in lines(answer.stream(1 << 16)):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return ""
                if event["type"] != "BOOKMARK":
                    into.append((event["type"], lean(event["object"])))
                version = event["object"]["metadata"]["resourceVersion"]
        finally:
            answer.close()
        return version

    def steps(self) -> list[Step]:
        """Grants and ends, in the order of the store."""
        found: list[Step] = []
        state: dict[str, str] = {}
        for event, pod in list(self.changes):
            uid = pod["metadata"]["uid"]
            if event == "DELETED" or audit.is_over(pod):
                if state.get(uid) == "granted":
                    found.append(Ended(uid))
                state[uid] = "over"
            elif uid not in state and (granted := audit.grant(pod)):
                state[uid] = "granted"
                found.append(granted)
        return found

    def there(self) -> dict[Where, Room]:
        """What every device that was ever published has had at most."""
        found: dict[Where, Room] = {}
        for _, node in list(self.nodes):
            for where, one in offered(node).items():
                found[where] = found.get(where, one).most(one)
        return found


def lean(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the checker reads of an object: of ten thousand pods all else is memory."""
    meta = found["metadata"]
    kept = {"annotations": meta.get("annotations") or {}, **{key: meta.get(key, "") for key in ("uid", "name", "namespace")}}
    node = found.get("spec", {}).get("nodeName", "")
    return {"metadata": kept, "spec": {"nodeName": node}, "status": {"phase": found.get("status", {}).get("phase", "")}}


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines out of pieces; half of one at the end is dropped."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


def offered(node: Mapping[str, Any]) -> dict[Where, Room]:
    """What a Node object publishes; nothing where that cannot be read."""
    prefix = names.inventory_key("")
    texts = {key: text for key, text in (node["metadata"].get("annotations") or {}).items() if key.startswith(prefix)}
    try:
        devices = [wire.decode(NodeDevices, text, key) for key, text in texts.items()]
    except WireError:
        return {}
    return audit.room(devices, node["metadata"]["name"])


def unreadable(pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Grants that nobody can read."""
    found = []
    for pod in pods:
        try:
            audit.grant(pod)
        except WireError as error:
            found.append(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}: {error}")
    return found
