"""The parts of the cluster harness that need no cluster: ports, folders, the audit log, configurations, simulated nodes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from hami_core import wire
from hami_core.errors import HamiError
from hami_core.model import NodeDevices
from hami_core.testing.cluster import ControlPlane, audit, commands, folders
from hami_core.testing.cluster.nodes import Simulated, fake_inventory
from hami_core.testing.cluster.ports import LOOPBACK, Ports
from hami_core.testing.cluster.programs import Program, ProgramFailed

if TYPE_CHECKING:
    from collections.abc import Iterator


# --------------------------------------------------------------------------------------------- ports


@pytest.fixture
def ports() -> Iterator[Ports]:
    reserved = Ports()
    yield reserved
    reserved.release()


def test_a_port_is_the_same_whenever_it_is_asked_for(ports: Ports) -> None:
    assert ports["one"] == ports["one"] != ports["two"]


def test_a_server_listens_on_its_port_again_and_again(ports: Ports) -> None:
    for _ in range(3):
        with socket.create_server((LOOPBACK, ports["one"])) as server:  # with SO_REUSEADDR, as every server that we start
            socket.create_connection(server.getsockname()).close()


def test_nobody_else_is_given_a_port_that_is_held(ports: Ports) -> None:
    held = {ports[str(number)] for number in range(200)}
    others = [socket.create_server((LOOPBACK, 0)) for _ in range(200)]

    assert held.isdisjoint(other.getsockname()[1] for other in others)
    for other in others:
        other.close()


# --------------------------------------------------------------------------------------------- programs and folders


def test_a_program_that_ends_too_soon_is_told_with_its_last_words(tmp_path: Path) -> None:
    program = Program("p", ("sh", "-c", "echo no config file; exit 3"), tmp_path / "p.log")

    program.start()

    with pytest.raises(ProgramFailed, match=r"p ended before it was ready:\nno config file"):
        program.wait_until(lambda: False, 10)
    assert not program.running


def test_a_program_can_be_killed_and_started_again(tmp_path: Path) -> None:
    program = Program("p", ("sleep", "60"), tmp_path / "p.log")
    program.start()
    first = program.pid

    program.kill()
    program.start()

    assert program.pid != first
    program.stop()
    with pytest.raises(ProgramFailed, match="p does not run"):
        assert program.pid


def test_a_program_is_not_signalled_once_it_has_ended(tmp_path: Path) -> None:
    program = Program("p", ("true",), tmp_path / "p.log")
    program.start()
    with pytest.raises(ProgramFailed):
        program.wait_until(lambda: False, 10)

    program.stop()
    program.kill()


def test_a_folder_in_use_is_no_leftover(tmp_path: Path) -> None:
    folder = folders.Folder(tmp_path)

    assert folders.remove_leftovers(tmp_path) == []
    folder.remove()
    assert list(tmp_path.iterdir()) == []


OWNER = """
import sys
import threading
from pathlib import Path
from hami_core.testing.cluster.folders import Folder
print(Folder(Path(sys.argv[1])).path)
"""


def test_what_runs_for_a_folder_that_nobody_holds_is_ended(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, "-c", OWNER, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    left = Path(said.strip())
    with subprocess.Popen(["sleep", "60"], env={"PATH": "/usr/bin:/bin", folders.VARIABLE: str(left)}) as orphan:
        while list(folders.programs_of(left)) != [orphan.pid]:  # a moment after it was started its environment is not there yet
            assert orphan.poll() is None

        assert folders.remove_leftovers(tmp_path) == [left]

        assert orphan.wait(10) == -9


def test_a_control_plane_that_is_not_started_says_so() -> None:
    with pytest.raises(HamiError, match="not started"):
        ControlPlane().kubectl("get", "pods")


# --------------------------------------------------------------------------------------------- the audit log


def line(**more: object) -> bytes:
    request = {
        "user": {"username": "u"},
        "verb": "create",
        "requestURI": "/api/v1/pods",
        "auditID": "0",
        "stage": "ResponseComplete",
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
        "stageTimestamp": "2026-01-01T00:00:00.000001Z",
    }
    return json.dumps(request | more).encode() + b"\n"


def test_a_sub_resource_is_named_with_its_resource(tmp_path: Path) -> None:
    target = {"resource": "pods", "subresource": "binding", "namespace": "n", "name": "p"}
    (tmp_path / "log").write_bytes(line(objectRef=target, responseStatus={"code": 409}))

    (entry,) = audit.entries(tmp_path / "log")

    assert (entry.resource, entry.namespace, entry.name, entry.status, entry.writes) == ("pods/binding", "n", "p", 409, True)


def test_a_line_that_is_not_whole_yet_is_left_for_the_next_time(tmp_path: Path) -> None:
    whole = line(verb="watch")
    (tmp_path / "log").write_bytes(whole + whole[:20])

    assert [entry.writes for entry in audit.entries(tmp_path / "log")] == [False]


def test_a_request_that_a_killed_server_never_answered_is_no_entry_and_not_forgotten(tmp_path: Path) -> None:
    came = {"stage": "RequestReceived", "objectRef": {"name": "p"}}
    answered = line(auditID="1", **came) + line(auditID="1", verb="watch")
    cut_off = line(auditID="2", **came)
    (tmp_path / "log").write_bytes(answered + cut_off + b'{"half of a li' + line(auditID="3"))

    assert [entry.verb for entry in audit.entries(tmp_path / "log")] == ["watch"]
    assert [entry.name for entry in audit.unanswered(tmp_path / "log")] == ["p"]


def test_before_the_first_request_there_are_no_entries(tmp_path: Path) -> None:
    assert list(audit.entries(tmp_path / "log")) == []


# --------------------------------------------------------------------------------------------- configurations


def test_a_scheduler_has_our_way_to_the_api_server_and_what_else_was_given() -> None:
    given = {"profiles": [{"schedulerName": "mine"}], "clientConnection": {"qps": 7, "kubeconfig": "theirs"}}

    made = commands.scheduler_configuration(given, Path("ours"))

    assert made["profiles"] == [{"schedulerName": "mine"}]
    assert made["clientConnection"] == {"qps": 7, "burst": 2000, "kubeconfig": "ours"}
    assert made["leaderElection"] == {"leaderElect": False}


def test_leader_election_stays_where_it_is_asked_for() -> None:
    given = {"leaderElection": {"leaderElect": True, "leaseDuration": "3s"}}

    assert commands.scheduler_configuration(given, Path("ours"))["leaderElection"] == given["leaderElection"]


# --------------------------------------------------------------------------------------------- simulated nodes


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    return Simulated()


def test_devices_have_the_same_ids_every_time_and_nobody_elses() -> None:
    found = [fake_inventory("nvidia", "Tesla T4", 15360, 8, node) for node in ("a", "b", "a")]

    ids = [{device.id for device in one.devices} for one in found]

    assert ids[0] == ids[2]
    assert len(ids[0] | ids[1]) == 16


def test_devices_of_two_kinds_on_one_node_have_different_ids() -> None:
    one, other = (fake_inventory(kind, "M", 1000, 1, "n") for kind in ("nvidia", "mock"))

    assert one.devices[0].id != other.devices[0].id


def test_a_node_publishes_what_its_agent_would(simulated: Simulated) -> None:
    node = simulated.node("n", devices=3)
    (key, text) = next(iter(simulated.annotations(node).items()))

    found = wire.decode(NodeDevices, text, key)

    assert key == "devices.hami.io/nvidia"
    assert found.inventory == node.inventories[0]
    assert [one.device for _, capacities in found.capacities for one in capacities] == list(node.devices)


def test_by_the_template_a_node_publishes_the_same_as_without(simulated: Simulated) -> None:
    node = simulated.node("n", devices=4).sick("no such device")
    sick = node.sick(node.devices[1])

    assert simulated.annotations(sick)["devices.hami.io/nvidia"] == simulated._offered(sick.inventories[0])[0]


def test_a_sick_device_is_counted_by_no_kubelet(simulated: Simulated) -> None:
    node = simulated.node("n", devices=2)

    counts = [
        simulated.allocatable(one)["nvidia.com/gpu"] for one in (node, node.sick(node.devices[0]), node.without(*node.devices))
    ]

    assert counts == ["20", "10", "0"]


def test_a_node_may_have_devices_of_several_kinds(simulated: Simulated) -> None:
    kinds = [kind.name for kind in simulated.catalogue.kinds]
    node = evolve(simulated.node("n"), inventories=tuple(fake_inventory(kind, "M", 1000, 1, "n") for kind in kinds))

    assert set(simulated.annotations(node)) == {f"devices.hami.io/{kind}" for kind in kinds}
    assert len(kinds) >= 2


def test_folders_are_made_while_somebody_looks_for_leftovers(tmp_path: Path) -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            folders.remove_leftovers(tmp_path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        made = [folders.Folder(tmp_path) for _ in range(300)]
    finally:
        over.set()
        looking.join()

    assert all((folder.path / folders.MARKER).exists() for folder in made)
    for folder in made:
        folder.remove()
