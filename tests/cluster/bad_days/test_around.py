"""Bad days that are not the API server's: devices that go, clocks that jump, callers that are hostile or nobody's."""

from __future__ import annotations

import http.client
import json
import re
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hami_scheduler
from hami_core import kube, serving
from hami_core.testing.cluster.nodes import remove
from tests.cluster.faults import audit, clocks
from tests.cluster.faults.scene import CLEAN, Behind, Scene, pair
from tests.cluster.scheduling import SHARE, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.nodes import Simulated

BY_DEVICE = 5  # of our shares


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By how many seconds the wall clock of ``one`` is wrong."""
    return tmp_path_factory.mktemp("clock") / "offset"


@pytest.fixture(scope="module")
def shared(plane: ControlPlane, wrong_clock: Path) -> Iterator[Behind]:
    with pair(plane, runner=(sys.executable, clocks.__file__, str(wrong_clock))) as one:
        yield one


@pytest.fixture
def node_count() -> int:
    """One: what goes is half of all devices."""
    return 1


# --- The inventory ---------------------------------------------------------------------------------------------------


def by_device(world: Scene) -> dict[str, list[str]]:
    """Device -> the pods that hold a share of it."""
    found: dict[str, list[str]] = {}
    for pod in world.pods():
        granted = audit.grant(pod)
        for share in granted.shares if granted else ():
            found.setdefault(share.device, []).append(pod["metadata"]["name"])
    return found


def test_what_is_granted_on_a_device_stays_counted_while_it_is_gone_and_when_it_is_back(world: Scene, one: Behind) -> None:
    (node,) = world.there
    world.burst(2 * BY_DEVICE, SHARE)
    world.all_bound()
    gone = node.devices[0]

    world.change(node.without(gone))
    wait_for(lambda: {device for _, device in one.books()} == {node.devices[1]}, "the device gone from the books")
    world.burst(3, SHARE, "more")
    world.change(node)
    wait_for(lambda: {device for _, device in one.books()} == set(node.devices), "the device back in the books")
    full = world.bound()
    world.delete(*by_device(world)[gone][:3])
    world.all_bound()

    assert (full, world.verdict(one)) == (2 * BY_DEVICE, CLEAN)


def test_what_ends_while_its_device_is_gone_is_free_when_it_is_back(world: Scene, one: Behind) -> None:
    (node,) = world.there
    world.burst(2 * BY_DEVICE, SHARE)
    world.all_bound()
    gone = node.devices[0]
    world.change(node.without(gone))
    wait_for(lambda: {device for _, device in one.books()} == {node.devices[1]}, "the device gone from the books")
    world.delete(*by_device(world)[gone])

    world.change(node)
    world.burst(BY_DEVICE, SHARE, "next")
    world.all_bound()

    assert (len(by_device(world)[gone]), world.verdict(one)) == (BY_DEVICE, CLEAN)


def test_a_node_that_is_deleted_and_made_again_is_as_full_as_before(world: Scene, one: Behind, simulated: Simulated) -> None:
    (node,) = world.there
    world.burst(2 * BY_DEVICE - 1, SHARE)
    world.all_bound()

    remove(world.api, node.name)
    wait_for(lambda: not one.books(), "the node gone from the books")
    world.there.clear()
    world.add_nodes(1, devices=2)
    world.burst(3, SHARE, "next")
    wait_for(lambda: world.bound() >= 2 * BY_DEVICE, "one more bound")
    found = world.verdict(one)

    assert (len(found.stuck), found.doubles, found.leaks) == (2, (), ())


def test_an_inventory_that_cannot_be_read_gives_nothing_and_takes_nothing_away(world: Scene, one: Behind) -> None:
    (node,) = world.there
    world.burst(BY_DEVICE, SHARE)
    world.all_bound()

    world.agent.merge(f"/api/v1/nodes/{node.name}", {"metadata": {"annotations": {"devices.hami.io/nvidia": "{}"}}})
    wait_for(lambda: not one.books(), "nothing in the books")
    unreadable = one.metric("hami_scheduler_unreadable_inventories")
    world.change(node)
    world.burst(BY_DEVICE, SHARE, "next")
    world.all_bound()

    assert (unreadable, world.verdict(one)) == (1.0, CLEAN)


# --- Clocks ----------------------------------------------------------------------------------------------------------

DAY = 86_400


def test_a_wall_clock_that_jumps_changes_nothing(world: Scene, one: Behind, wrong_clock: Path) -> None:
    leaderships = one.metric("hami_scheduler_leaderships_total")
    for jump, prefix in ((DAY, "tomorrow"), (-DAY, "yesterday"), (10 * 365 * DAY, "years"), (0, "now")):
        wrong_clock.write_text(str(jump))
        world.burst(2, SHARE, prefix)
        world.all_bound()

    days = {line["time"][:4] for line in map(json.loads, filter(_is_json, one.log().splitlines()))}
    assert (one.metric("hami_scheduler_leaderships_total"), world.verdict(one)) == (leaderships, CLEAN)
    assert len(days) > 1  # the clock was wrong


def _is_json(line: str) -> bool:
    return line.startswith("{")


def test_nothing_that_decides_asks_for_the_time_of_day() -> None:
    """Wall clocks are for people: of events, of notices' words, and of certificates."""
    asks = re.compile(r"time\.time|datetime\.now|utcnow|time_ns\(\)|\.today\(")
    folders = [Path(one.__path__[0]) for one in (hami_scheduler, kube, serving)]
    files = [file for folder in folders for file in folder.glob("*.py")]

    assert {file.name for file in files if asks.search(file.read_text())} <= {"api.py", "notices.py", "logs.py"}


# --- Callers ---------------------------------------------------------------------------------------------------------

HOSTILE = {
    "no JSON": b"{",
    "another shape": b'{"Pod": []}',
    "no body": b"",
    "nested without end": b'{"Pod":' + b"[" * 100_000,
    "no text": b"\xff" * 1000,
    "a number that is none": b'{"Pod": {"spec": {"containers": [{"name": 1e999999}]}}, "NodeNames": ["a"]}',
}
RSS = re.compile(r"VmRSS:\s+(\d+) kB")


def resident(one: Behind) -> int:
    """MiB of the extender."""
    found = RSS.search(Path(f"/proc/{one.plane[one.extender].pid}/status").read_text())
    assert found
    return int(found[1]) >> 10


@pytest.mark.parametrize("verb", ["filter", "prioritize", "bind"])
def test_malformed_requests_are_refused_at_once_and_harm_nobody(world: Scene, one: Behind, verb: str) -> None:
    begun, before = time.monotonic(), resident(one)

    answers = {what: one.status(verb, body) for what, body in HOSTILE.items()}
    took, grown = time.monotonic() - begun, resident(one) - before
    world.burst(2, SHARE)
    world.all_bound()

    assert (set(answers.values()) <= {200, 400}, took < 10, grown < 50, world.verdict(one)) == (True, True, True, CLEAN), (
        answers
    )


def test_a_body_that_is_too_large_is_refused_before_it_is_there(one: Behind) -> None:
    connection = http.client.HTTPConnection(one.address.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/filter")
    connection.putheader("Content-Length", str(10 << 30))
    connection.endheaders()

    assert connection.getresponse().status == 413
    connection.close()


def test_slow_and_silent_clients_hold_up_nobody_and_cost_no_memory_to_speak_of(world: Scene, one: Behind) -> None:
    host, port = one.address.removeprefix("http://").split(":")
    before = resident(one)
    silent = [socket.create_connection((host, int(port))) for _ in range(200)]
    for number, client in enumerate(silent):
        if number % 2:
            client.sendall(b"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")

    world.burst(5, SHARE)
    world.all_bound()
    grown = resident(one) - before
    for client in silent:
        client.close()

    assert (grown < 50, world.verdict(one)) == (True, CLEAN)
