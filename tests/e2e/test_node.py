"""Real nodes: containerd, runc and a kubelet, each on a machine of its own. Do pods run on them, and what outlives what."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hami_core.testing.cluster import ControlPlane, cgroups, folders
from hami_core.testing.cluster.machines import requirements
from hami_core.testing.cluster.nodes import publish, remove
from tests.cluster.admitting import binding, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hami_core.testing.cluster.machines import Node
    from hami_core.testing.cluster.nodes import Simulated

pytestmark = pytest.mark.needs(*requirements.lacks())

PODS = "/api/v1/namespaces/default/pods"
READY = ("wait", "--for=condition=Ready", "--timeout=120s")


@pytest.fixture(scope="module")
def plane(progress: Callable[[str], None]) -> Iterator[ControlPlane]:
    with ControlPlane(note=progress) as plane:
        plane.make_namespace("default")
        yield plane


@pytest.fixture(scope="module")
def node(plane: ControlPlane) -> Iterator[Node]:
    with plane.node("n1") as node:
        yield node


def pod(name: str, node: str = "n1", script: str = "echo started; exec sleep infinity", **container: Any) -> dict[str, Any]:
    """A shell that runs a script. ``node`` empty: bound by the test."""
    main = {"name": "main", "image": "localhost/busybox:hami", "imagePullPolicy": "Never", "command": ["sh", "-c", script]}
    where = {"nodeName": node} if node else {"schedulerName": "nobody"}
    spec = {**where, "terminationGracePeriodSeconds": 0, "containers": [{**main, **container}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def started(plane: ControlPlane, manifest: dict[str, Any]) -> str:
    """The name of a pod that runs."""
    plane.apply(manifest)
    name = str(manifest["metadata"]["name"])
    plane.kubectl(*READY, f"pod/{name}")
    return name


def status(plane: ControlPlane, name: str) -> tuple[str, int]:
    """The id of its container, and how often it was started again."""
    (container,) = plane.get("pod", name)["status"]["containerStatuses"]
    return container["containerID"], container["restartCount"]


# --------------------------------------------------------------------------------------------------------- pods


def test_a_pod_runs_is_spoken_to_and_is_heard(plane: ControlPlane, node: Node) -> None:
    name = started(plane, pod("talks"))

    assert plane.kubectl("exec", name, "--", "cat", "/etc/hostname") == "talks\n"
    assert plane.kubectl("logs", name) == "started\n"
    assert status(plane, name)[0].startswith("containerd://")


def test_a_pod_that_ends_has_ended_with_its_status(plane: ControlPlane, node: Node) -> None:
    manifest = pod("ends", script="exit 3")
    manifest["spec"]["restartPolicy"] = "Never"
    plane.apply(manifest)

    wait_for(lambda: plane.get("pod", "ends")["status"]["phase"] == "Failed", "failed")
    assert plane.get("pod", "ends")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


def test_what_came_with_the_binding_is_in_the_container_by_variable_and_by_file(plane: ControlPlane, node: Node) -> None:
    field = {"fieldRef": {"fieldPath": "metadata.annotations['example.com/told']"}}
    manifest = pod(
        "bound",
        node="",
        env=[{"name": "TOLD", "valueFrom": field}],
        volumeMounts=[{"name": "told", "mountPath": "/etc/told"}],
    )
    manifest["spec"]["volumes"] = [{"name": "told", "downwardAPI": {"items": [{"path": "text", **field}]}}]
    plane.apply(manifest)
    plane.api().create(f"{PODS}/bound/binding", binding("bound", "n1", {"example.com/told": "so it was"}))
    plane.kubectl(*READY, "pod/bound")

    said = plane.kubectl("exec", "bound", "--", "sh", "-c", 'echo "$TOLD"; cat /etc/told/text')

    assert said == "so it was\nso it was"


# --------------------------------------------------------------------------------------- what outlives what


@pytest.mark.parametrize("part", ["kubelet", "containerd"])
def test_a_container_lives_on_while_a_part_is_started_again(plane: ControlPlane, node: Node, part: str) -> None:
    name = started(plane, pod(f"outlives-{part}"))
    before = status(plane, name)

    getattr(node, part).restart()
    node.wait_until_ready()

    started(plane, pod(f"after-{part}"))
    assert plane.kubectl("exec", name, "--", "echo", "here") == "here\n"
    assert status(plane, name) == before


def test_a_reboot_ends_everything_and_brings_the_pods_back_on_the_same_disk(plane: ControlPlane, node: Node) -> None:
    name = started(plane, pod("comes-back"))
    own = node.run("own", ["sleep", "infinity"])
    node.do("sh", "-c", "echo kept > /etc/kept; echo lost > /run/lost")
    boot, (container, restarts) = _boot(plane), status(plane, name)

    node.reboot()

    wait_for(lambda: status(plane, name)[1] > restarts, "started again", 60)
    plane.kubectl(*READY, f"pod/{name}")
    assert status(plane, name)[0] != container
    assert plane.kubectl("exec", name, "--", "echo", "here") == "here\n"
    assert (node.do("cat", "/etc/kept"), node.path("/run/lost").exists()) == ("kept\n", False)
    assert not own.running
    assert _boot(plane) != boot


def _boot(plane: ControlPlane) -> str:
    return str(plane.get("node", "n1")["status"]["nodeInfo"]["bootID"])


# ------------------------------------------------------------------------------------------------- its own machine


def test_what_a_node_writes_is_its_own(node: Node) -> None:
    files = [f"/{top}/hami-was-here" for top in ("etc", "usr", "var", "run", "dev")]
    node.do("touch", *files)

    assert all(node.path(file).exists() for file in files)
    assert not any(Path(file).exists() for file in files)


def test_a_node_cannot_change_how_the_kernel_is_set(node: Node) -> None:
    settings = [Path("/proc/sys", name) for name in ("kernel/panic", "vm/swappiness")]
    before = [setting.read_text() for setting in settings]

    tried = [node.machine.ask("sh", "-c", f"echo 7 > {setting}") for setting in settings]

    assert [setting.read_text() for setting in settings] == before
    assert node.do("cat", "/proc/sys/kernel/panic") == "7\n"  # one of those that the kubelet sets: the node has its own
    assert "Read-only file system" in tried[1].stderr


def test_two_nodes_live_side_by_side(plane: ControlPlane, node: Node) -> None:
    sockets = "/var/lib/kubelet/device-plugins/kubelet.sock"
    with plane.node("n2") as second:
        started(plane, pod("one", "n1"))
        started(plane, pod("two", "n2"))

        assert plane.kubectl("exec", "one", "--", "cat", "/etc/hostname") == "one\n"
        assert plane.kubectl("exec", "two", "--", "cat", "/etc/hostname") == "two\n"
        assert node.path(sockets).stat().st_ino != second.path(sockets).stat().st_ino
        assert second.do("hostname") == "n2\n"
        assert len({plane.get("pod", name)["status"]["podIP"] for name in ("one", "two")}) == 2
    assert "n2" not in plane.kubectl("get", "nodes", "-o", "name")


def test_simulated_nodes_go_on_beside_it(plane: ControlPlane, node: Node, simulated: Simulated) -> None:
    publish(plane.api(), simulated, [simulated.node("beside")])
    started(plane, pod("played", "beside"))
    started(plane, pod("real", "n1"))

    assert "containerID" not in plane.get("pod", "played")["status"]["containerStatuses"][0]
    assert status(plane, "real")[0].startswith("containerd://")
    remove(plane.api(), "beside")


# --------------------------------------------------------------------------------------------- it leaves nothing

KILLED = """
import sys, time
from pathlib import Path
from hami_core.testing.cluster import ControlPlane
with ControlPlane(parent=Path(sys.argv[1])) as plane:
    plane.make_namespace("default")
    with plane.node("gone") as node:
        plane.kubectl("apply", "-f", "-", stdin=sys.argv[2])
        plane.kubectl("wait", "--for=condition=Ready", "pod/left", "--timeout=120s")
        print(plane.folder, flush=True)
        time.sleep(600)
"""


def test_of_a_node_that_is_gone_no_program_can_be_started(plane: ControlPlane) -> None:
    with plane.node("n9"):
        assert any(name.startswith("n9-") for name in plane.programs)

    assert not any(name.startswith("n9-") for name in plane.programs)


def test_a_test_that_is_killed_leaves_no_process_and_the_next_start_removes_the_rest(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), json.dumps(pod("left", "gone"))], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        folder = Path(killed.stdout.readline().strip())
        alive = processes_of(folder)
        killed.send_signal(signal.SIGKILL)

    wait_for(lambda: not processes_of(folder), "all ended")
    assert len(alive) >= 10  # the control plane's five, process 1, containerd, the kubelet, a shim, two in the pod
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    assert folders.remove_leftovers(tmp_path) == [folder]
    assert not folder.exists()
    assert [place for place in cgroups.hierarchies() if (place / folder.name).exists()] == []


def processes_of(folder: Path) -> list[str]:
    """The pids of a control plane's programs, and of what runs in its nodes' pods: they carry its name, or their groups do."""
    found = {str(pid) for pid in folders.programs_of(folder)}
    found |= {entry.parent.name for entry in Path("/proc").glob("[0-9]*/cgroup") if _names(entry, folder.name)}
    return sorted(found)


def _names(file: Path, word: str) -> bool:
    with suppress(OSError):  # it has ended
        return word in file.read_text()
    return False
