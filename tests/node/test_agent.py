"""The agent's parts together: drivers, the node's object, the kubelet's offer, and a cluster that is as a test wants it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hami_core import names
from hami_core.errors import DriverError
from hami_core.kube.errors import Forbidden
from hami_core.model import Share
from hami_core.node.regions import Regions
from hami_core.node.tokens import Token
from tests.node import kubelet as theirs
from tests.node.agents import (
    CARD,
    KEY,
    PATH,
    World,
    a_pod,
    an_agent,
    eventually,
    offered,
    pod_path,
    unchanged,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hami_core.node.agent import Running

ALL = {"card-0::0": True, "card-0::1": True, "card-1::0": True, "card-1::1": True}
CARD_1_OUT = {**ALL, "card-1::0": False, "card-1::1": False}


@pytest.fixture
def world(folder: Path) -> World:
    """A node with two cards of two slots each."""
    return World(folder)


def at(world: World, act: Callable[[Running], Coroutine[Any, Any, None]], **more: object) -> None:
    """Act while an agent is at work."""

    async def acting() -> None:
        async with an_agent(world, **more) as running:
            await act(running)

    asyncio.run(acting())


async def settled(running: Running) -> None:
    await eventually(lambda: running.publisher.published)


# --- The node's object. ---


def test_a_node_is_given_its_devices_and_labels_by_one_write(world: World) -> None:
    async def act(running: Running) -> None:
        await settled(running)
        await unchanged(running, world.node_writes)

    at(world, act)

    assert world.node_writes() == 1
    assert world.schedulable() == {"card-0", "card-1"}
    assert world.metadata["labels"] == {
        "zone": "a",
        "acme.hami.io/count": "2",
        "acme.hami.io/memory": "8000",
        "acme.hami.io/model": "Acme-One",
    }


def test_an_agent_that_is_started_anew_writes_nothing(world: World) -> None:
    at(world, settled)

    async def again(running: Running) -> None:
        await settled(running)
        await unchanged(running, world.node_writes)

    at(world, again)

    assert world.node_writes() == 1


def test_what_somebody_takes_away_is_put_back(world: World) -> None:
    async def act(running: Running) -> None:
        await settled(running)
        world.put_node()
        await eventually(lambda: world.schedulable() == {"card-0", "card-1"})

    at(world, act)


def test_a_node_that_is_made_anew_is_given_everything(world: World) -> None:
    async def act(running: Running) -> None:
        await settled(running)
        world.cluster.remove(PATH)
        await eventually(lambda: not running.ready()["node"])
        world.put_node(uid="another")
        await settled(running)

    at(world, act)

    assert world.schedulable() == {"card-0", "card-1"}


def test_what_a_kind_left_that_is_gone_is_removed_and_all_else_stays(world: World) -> None:
    world.put_node(**{names.inventory_key("other"): "{}", names.DEVICE_CORDON: "card-1", "theirs": "x"})

    at(world, settled)

    assert set(world.metadata["annotations"]) == {KEY, names.DEVICE_CORDON, "theirs"}


def test_while_the_api_server_is_gone_the_kubelet_is_served(world: World) -> None:
    world.cluster.gone = True

    async def act(running: Running) -> None:
        await eventually(lambda: offered(running) == ALL)
        assert not running.ready()["ready"]
        world.cluster.gone = False
        await settled(running)

    at(world, act)


def test_a_write_that_is_refused_is_told_and_tried_again(world: World) -> None:
    world.cluster.refusal = Forbidden(403, "Forbidden", "no right to patch nodes")

    async def act(running: Running) -> None:
        await eventually(lambda: "no right to patch nodes" in str(running.ready()["failures"]))
        world.cluster.refusal = None
        await settled(running)
        assert running.ready()["failures"] == []

    at(world, act)


# --- Health. ---


def test_a_sick_device_leaves_both_at_once_and_returns(world: World) -> None:
    async def act(running: Running) -> None:
        await settled(running)
        world.vendor.sick = {"card-1": "lost"}
        await eventually(lambda: world.schedulable() == {"card-0"})
        assert offered(running) == CARD_1_OUT
        world.vendor.sick = {}
        await eventually(lambda: world.schedulable() == {"card-0", "card-1"})
        assert offered(running) == ALL

    at(world, act)

    assert world.node_writes() == 3


def test_a_device_that_was_sick_before_a_restart_has_to_settle_first(world: World) -> None:
    async def sicken(running: Running) -> None:
        world.vendor.sick = {"card-1": "lost"}
        await eventually(lambda: world.schedulable() == {"card-0"})

    at(world, sicken)
    world.vendor.sick, before = {}, world.node_writes()

    async def again(running: Running) -> None:
        await settled(running)
        assert world.node_writes() == before
        assert offered(running) == CARD_1_OUT
        await eventually(lambda: world.schedulable() == {"card-0", "card-1"})

    at(world, again, devicePlugin__healthSettleSeconds=1.0)


def test_a_driver_that_cannot_say_leaves_its_last_answer_standing_for_a_while(world: World) -> None:
    async def act(running: Running) -> None:
        await settled(running)
        world.vendor.health_fails = DriverError("acme", "health: no answer")
        await eventually(lambda: running.looking.failures)
        await unchanged(running, world.schedulable)
        await eventually(lambda: world.schedulable() == set())
        world.vendor.health_fails = None
        await eventually(lambda: world.schedulable() == {"card-0", "card-1"})

    at(world, act, devicePlugin__healthSilenceSeconds=1.0)


def test_so_it_is_while_a_question_hangs(world: World) -> None:
    async def act(running: Running) -> None:
        await settled(running)
        world.vendor.hang = released = threading.Event()
        try:
            await eventually(lambda: world.schedulable() == set())
        finally:
            world.vendor.hang = None
            released.set()
        await eventually(lambda: world.schedulable() == {"card-0", "card-1"})

    at(world, act, devicePlugin__healthSilenceSeconds=1.0)


def test_pods_that_hold_the_device_are_told(world: World) -> None:
    world.cluster.put(pod_path("mine"), a_pod("mine", Share("main", "acme", "card-1", 1000, 8000, 0)))
    world.cluster.put(pod_path("other"), a_pod("other", Share("main", "acme", "card-0", 1000, 8000, 0)))

    async def act(running: Running) -> None:
        await eventually(lambda: running.publisher.published and running.pods.complete)
        world.vendor.sick = {"card-1": "lost"}
        await eventually(lambda: len(world.events()) == 1)
        world.vendor.sick = {}
        await eventually(lambda: len(world.events()) == 2)

    at(world, act)

    assert [(one["reason"], one["type"], one["message"], one["involvedObject"]["name"]) for one in world.events()] == [
        ("DeviceUnhealthy", "Warning", "the acme device card-1 of this pod is sick: lost", "mine"),
        ("DeviceHealthy", "Normal", "the acme device card-1 of this pod is well again", "mine"),
    ]


# --- Discovery. ---


def test_a_device_that_comes_or_goes_is_noticed(world: World) -> None:
    async def act(running: Running) -> None:
        await settled(running)
        world.vendor.cards = {"card-0": 8000, "card-2": 4000}
        await eventually(lambda: world.schedulable() == {"card-0", "card-2"})
        assert set(offered(running)) == {"card-0::0", "card-0::1", "card-2::0", "card-2::1"}
        world.vendor.cards = {}
        await eventually(lambda: KEY not in world.metadata["annotations"])
        assert offered(running) == {}

    at(world, act)

    assert world.metadata["labels"] == {"zone": "a"}


def test_a_driver_that_fails_later_takes_nothing_away(world: World) -> None:
    async def act(running: Running) -> None:
        await settled(running)
        world.vendor.discovery_fails = DriverError("acme", "no answer")
        await eventually(lambda: running.looking.failures)
        await unchanged(running, world.schedulable)

    at(world, act)

    assert world.schedulable() == {"card-0", "card-1"}


def test_a_driver_that_has_never_answered_closes_what_was_published(world: World) -> None:
    at(world, settled)
    world.vendor.discovery_fails = DriverError("acme", "no answer")

    async def again(running: Running) -> None:
        await eventually(lambda: world.schedulable() == set())
        assert offered(running) == dict.fromkeys(ALL, False)
        world.vendor.discovery_fails = None
        await eventually(lambda: world.schedulable() == {"card-0", "card-1"})

    at(world, again)


def test_a_plugin_that_cannot_split_offers_nothing(world: World) -> None:
    world.vendor.split_fails = ValueError("no idea")

    at(world, settled)

    assert world.schedulable() == set()


# --- Containers. ---


def test_a_container_is_given_libraries_and_a_region_of_its_own(world: World, tmp_path: Path) -> None:
    (tmp_path / "libacme.so").write_bytes(b"library")
    world.vendor.preload = (str(tmp_path / "libacme.so"),)
    node = theirs.Kubelet(world.folder)

    async def act(running: Running) -> None:
        await node.start()
        await node.until(lambda: node.healthy(CARD))
        await node.admit("pod", "main", {CARD: 2})

    at(world, act)

    env, mounts, _ = node.prepared("pod", "main")
    assert env == {"ACME_VISIBLE": "void"}
    assert Path(mounts["/var/lib/hami/lib/libacme.so"]).read_bytes() == b"library"
    assert Path(mounts["/etc/ld.so.preload"]).read_text() == "/var/lib/hami/lib/libacme.so\n"
    assert Path(mounts[names.REGION_FOLDER]).parent == world.folder / "host/regions/acme"


def test_nothing_starts_while_what_holds_the_limit_is_not_there(world: World) -> None:
    world.vendor.preload = ("/nowhere/libacme.so",)
    node = theirs.Kubelet(world.folder)

    async def act(running: Running) -> None:
        await node.start()
        await node.until(lambda: node.healthy(CARD))
        with pytest.raises(theirs.Unexpected, match=r"acme: the node cannot hold a limit: .*libacme"):
            await node.admit("pod", "main", {CARD: 1})
        assert not running.ready()["installed"]

    at(world, act)


def test_the_kubelet_is_steered_to_the_device_that_a_waiting_pod_was_granted(world: World) -> None:
    world.cluster.put(
        pod_path("mine"), a_pod("mine", Share("main", "acme", "card-1", 1000, 8000, 0), phase="Pending", begun=None)
    )
    node = theirs.Kubelet(world.folder)

    async def act(running: Running) -> None:
        await node.start()
        await node.until(lambda: node.healthy(CARD))
        await eventually(lambda: running.pods.complete)
        await node.admit("uid-mine", "main", {CARD: 1})
        assert running.pods.waiting("acme") == []

    at(world, act)

    assert {token.split("::")[0] for token in node.records["uid-mine", "main", CARD].ids} == {"card-1"}


# --- The process. ---


async def asked(running: Running, path: str) -> tuple[int, bytes]:
    """What the other port answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.info.address.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


def test_the_other_port_says_how_it_is(world: World) -> None:
    world.put_node(**{names.DEVICE_CORDON: "card-0"})
    node = theirs.Kubelet(world.folder)

    async def act(running: Running) -> None:
        status, _ = await asked(running, "/readyz")
        assert status == 503
        await node.start()
        await eventually(lambda: running.ready()["ready"])
        assert await asked(running, "/healthz") == (200, b'{"dead":[]}')
        status, body = await asked(running, "/readyz")
        assert (status, json.loads(body)["resources"]) == (200, {CARD: "registered"})
        _, page = await asked(running, "/metrics")
        own = 'device_index="0",device_type="Acme One",device_uuid="card-0",kind="acme"'
        assert f"hami_node_device_healthy{{{own}}} 1.0".encode() in page
        assert f"hami_node_device_cordoned{{{own}}} 1.0".encode() in page
        assert f'hami_node_resource_registered{{resource="{CARD}"}} 1.0'.encode() in page
        assert b'hami_node_api_writes_total{outcome="ok",what="node"} 1.0' in page

    at(world, act)


def test_every_series_is_in_the_document(world: World) -> None:
    document = (Path(__file__).parents[2] / "docs/node.md").read_text()

    async def act(running: Running) -> None:
        series = re.findall(r"^# HELP (hami_node_\w+)", running.work.page().decode(), re.MULTILINE)
        assert len(series) > 5
        assert [one for one in series if f"`{one}" not in document] == []

    at(world, act)


def test_a_part_that_fails_ends_the_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Exception):
        pass

    async def act(running: Running) -> None:
        await settled(running)

        def broken(_: float) -> None:
            raise Broken

        monkeypatch.setattr(running._devices, "standing", broken)
        await eventually(running._end.is_set)
        assert running.dead()

    with pytest.raises(Broken):
        at(world, act)


def test_an_address_that_is_taken_is_told(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Exception, match="cannot listen"):
            at(world, settled, devicePlugin__metricsBindAddress=address)


def test_regions_of_pods_that_are_gone_are_removed_once_the_pods_are_known(world: World) -> None:
    world.cluster.put(pod_path("mine"), a_pod("mine"))
    world.cluster.put(pod_path("over"), a_pod("over", phase="Succeeded"))
    region = Regions(world.folder / "host/regions").prepare("acme", [Token("card-0", 0)])
    for name in ("mine", "over", "gone"):
        (region / f"uid-{name}_main").write_text("x")

    async def act(running: Running) -> None:
        world.cluster.gone = False
        await eventually(lambda: running.pods.complete)
        await running.housekeeping.once(young=-1)

    async def blind(running: Running) -> None:
        await running.housekeeping.once(young=-1)

    world.cluster.gone = True
    at(world, blind)
    assert len(list(region.iterdir())) == 3
    at(world, act)
    assert [one.name for one in region.iterdir()] == ["uid-mine_main"]
