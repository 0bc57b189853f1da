"""Whatever a server lives through, when the dust has settled a reflector's sink has the server's view.

The server is a model: objects, a log of events, and a compacted beginning of it. Before every look that the client takes at it,
some of its history happens; at the end of the history it behaves, and the client comes to rest.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Literal, cast

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core.kube.errors import Gone, Unavailable
from tests.kube.mirror import Mirror, a_reflector
from tests.kube.scripted import a_bookmark, a_list, a_pod, a_status, an_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hami_core.kube.connection import Connection

PAGE = 2  # objects: small, so that lists have pages to break between
NAMES = "abcdef"
Happening = tuple[str, Any]

CHANGES = st.one_of(
    st.tuples(st.sampled_from(["put", "put", "delete"]), st.sampled_from(NAMES)),
    st.tuples(st.just("bookmark"), st.none()),
    st.tuples(st.just("cut"), st.integers(1, 200)),  # from now on pieces have this many bytes
)
FAULTS = ["close", "close", "reset", "half", "error", "fail", "garbage", "gone", "compact"]
ENDS = st.sampled_from(["look"] * len(FAULTS) + FAULTS).map(
    lambda kind: (kind, None)
)  # look: nothing more before the client's next
ROUNDS = st.tuples(st.lists(CHANGES, max_size=2), ENDS).map(lambda parts: [*parts[0], parts[1]])
HISTORIES = st.lists(ROUNDS, max_size=20).map(lambda rounds: [happening for one in rounds for happening in one])


@define
class Model:
    """The server, as a connection of ours would show it."""

    history: list[Happening]
    stop: threading.Event = field(factory=threading.Event)
    objects: dict[str, int] = field(factory=dict)
    log: list[tuple[int, bytes]] = field(factory=list)
    pages: dict[str, tuple[list[tuple[str, int]], int]] = field(factory=dict)  # by token: what is left, of which version
    version: int = 1
    compacted: int = 0
    piece: int = 1 << 20
    looks: int = 0

    # --- what a Connection has ---

    def request(self, method: str, path: str, *, query: Mapping[str, str], timeout: float) -> bytes:
        """A page, with those objects that were there when its list began."""
        self._happen()
        token = query.get("continue")
        if token is None:
            snapshot, version = sorted(self.objects.items()), self.version
        else:
            snapshot, version = self.pages.pop(token)
            if version < self.compacted:
                raise Gone(410, "Expired", "the token is too old")
        page, rest = snapshot[:PAGE], snapshot[PAGE:]
        more = ""
        if rest:
            more = f"{version}-{len(rest)}-{len(self.pages)}"
            self.pages[more] = (rest, version)
        return json.dumps(a_list(*(a_pod(name, at) for name, at in page), version=version, more=more)).encode()

    def stream(self, path: str, query: Mapping[str, str], timeout: float) -> Iterator[bytes]:
        """Events behind a version, until the history ends it or the client is up to date at its end."""
        at = int(query["resourceVersion"])
        self._happen()
        while True:
            if at < self.compacted:  # a watch that lags behind loses its events as a late one does
                yield an_event("ERROR", a_status(410, "Expired"))
                return
            lines = b"".join(line for version, line in self.log if version > at)
            at = max([at, *(version for version, _ in self.log)])
            for start in range(0, len(lines), self.piece):
                yield lines[start : start + self.piece]
            if not self.history:
                self.stop.set()
            yield b""
            try:
                self._happen()
            except Half as half:
                yield half.args[0]
                raise Unavailable("reset in a line") from half
            except Closed as closed:
                yield closed.args[0]
                return

    # --- what happens ---

    def _happen(self) -> None:
        self.looks += 1
        assert self.looks < 1000, "the client does not come to rest"
        while self.history:
            kind, value = self.history.pop(0)
            if kind == "look":
                return
            getattr(self, f"_{kind}")(value)

    def _put(self, name: str) -> None:
        kind: Literal["ADDED", "MODIFIED"] = "MODIFIED" if name in self.objects else "ADDED"
        self._record(lambda version: an_event(kind, a_pod(name, version)))
        self.objects[name] = self.version

    def _delete(self, name: str) -> None:
        if self.objects.pop(name, None) is not None:
            self._record(lambda version: an_event("DELETED", a_pod(name, version)))

    def _bookmark(self, _: None) -> None:
        self._record(a_bookmark)

    def _record(self, line: Any) -> None:
        self.version += 1
        self.log.append((self.version, line(self.version)))

    def _compact(self, _: None) -> None:
        self.compacted = self.version
        self.log = []

    def _cut(self, size: int) -> None:
        self.piece = size

    def _close(self, _: None) -> None:
        raise Closed(b"")

    def _half(self, _: None) -> None:
        raise Half(an_event("ADDED", a_pod("never", 10**6))[:30])

    def _garbage(self, _: None) -> None:
        raise Closed(b"<html>\n")

    def _error(self, _: None) -> None:
        raise Closed(an_event("ERROR", a_status(500, "InternalError")))

    def _gone(self, _: None) -> None:
        raise Closed(an_event("ERROR", a_status(410, "Expired")))

    def _reset(self, _: None) -> None:
        raise Unavailable("reset")

    def _fail(self, _: None) -> None:
        raise Unavailable("503")


class Closed(Unavailable):
    """The stream says this and ends; any other request fails."""

    def __init__(self, last: bytes) -> None:
        super().__init__("closed")
        self.args = (last,)


class Half(Closed):
    """The stream says this and breaks."""


@settings(max_examples=200)
@given(HISTORIES)
def test_when_the_dust_has_settled_the_sink_has_the_servers_view(history: list[Happening]) -> None:
    server, mirror = Model(history), Mirror()
    reflector = a_reflector(cast("Connection", server), mirror, wait=1e-6)

    reflector.run(server.stop)

    assert mirror.pods == {name: str(version) for name, version in server.objects.items()}
