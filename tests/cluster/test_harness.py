"""The control plane that tests stand on: is it a real one, does it end with its tests, can there be two."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hami_core.testing.cluster import ControlPlane, Options, folders
from hami_core.testing.cluster.api import ApiRefused
from hami_core.testing.cluster.control_plane import APISERVER, KubectlFailed
from hami_core.testing.cluster.nodes import NODES, publish, remove, update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hami_core.testing.cluster.nodes import Simulated
    from tests.cluster.conftest import StartsControlPlanes

BARE = Options(controllers=False, kwok=False)
SECONDS = 60.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not {what} after {SECONDS} s"
        time.sleep(0.05)


def pod(name: str, **annotations: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {f"hami.test/{key}": value for key, value in annotations.items()}},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }


# --------------------------------------------------------------------------------------------- who may do what


def test_a_user_without_a_role_may_not_list_pods(control_plane: ControlPlane) -> None:
    with pytest.raises(KubectlFailed, match='User "bob" cannot list resource "pods"'):
        control_plane.kubectl("get", "pods", user="bob")


def test_a_user_has_the_rights_of_each_of_his_groups(control_plane: ControlPlane) -> None:
    groups = ("nobody-knows", "system:masters")

    assert control_plane.kubectl("get", "pods", "-n", "kube-system", user="carol", groups=groups) == ""


def test_a_service_account_by_certificate_has_the_rights_of_its_bindings(control_plane: ControlPlane, namespace: str) -> None:
    name = f"system:serviceaccount:{namespace}:watcher"
    control_plane.kubectl("create", "rolebinding", "watch", "--clusterrole=view", f"--user={name}", f"-n={namespace}")

    control_plane.kubectl("get", "pods", f"-n={namespace}", user=name)
    with pytest.raises(KubectlFailed, match="cannot delete"):
        control_plane.kubectl("delete", "pod", "p", f"-n={namespace}", user=name)


# --------------------------------------------------------------------------------------------- the audit log


def test_the_audit_log_tells_who_bound_which_pod_with_which_annotations(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api("binder", "system:masters")
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=str(pod("p")))
    binding = {
        "metadata": {"name": "p", "annotations": {"told": "so"}},
        "target": {"kind": "Node", "name": "nowhere"},
    }
    api.create(f"/api/v1/namespaces/{namespace}/pods/p/binding", binding)

    (bound,) = [one for one in control_plane.audited() if one.resource == "pods/binding" and one.namespace == namespace]

    assert (bound.user, bound.verb, bound.name, bound.status) == ("binder", "create", "p", 201)
    assert bound.body["metadata"]["annotations"] == {"told": "so"}
    assert bound.writes


# --------------------------------------------------------------------------------------------- simulated nodes


@pytest.fixture
def nodes(control_plane: ControlPlane, simulated: Simulated) -> Iterator[list[str]]:
    """Two nodes of the kind nvidia, with a scheduler beside them."""
    made = [simulated.node(f"harness-{n}", devices=2) for n in range(2)]
    publish(control_plane.api(), simulated, made)
    scheduler = control_plane.start_scheduler(name="harness-scheduler")
    yield [node.name for node in made]
    scheduler.stop()
    remove(control_plane.api(), *(node.name for node in made))


def phase(control_plane: ControlPlane, namespace: str, name: str) -> str:
    found = control_plane.get("pod", name, "-n", namespace)["status"]
    return str(found["phase"])


def test_a_pod_on_a_simulated_node_runs_and_goes(control_plane: ControlPlane, namespace: str, nodes: list[str]) -> None:
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=str(pod("p")))
    wait_for(lambda: phase(control_plane, namespace, "p") == "Running", "running")

    assert control_plane.get("pod", "p", "-n", namespace)["spec"]["nodeName"] in nodes
    control_plane.kubectl("delete", "pod", "p", "-n", namespace, "--timeout=60s")


@pytest.mark.parametrize("end", ["Succeeded", "Failed"])
def test_a_pod_ends_as_its_annotation_says(control_plane: ControlPlane, namespace: str, nodes: list[str], end: str) -> None:
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=str(pod("p", phase=end)))

    wait_for(lambda: phase(control_plane, namespace, "p") == end, end)


def test_a_pod_that_is_held_stays_pending_on_its_node(control_plane: ControlPlane, namespace: str, nodes: list[str]) -> None:
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=str(pod("held", hold="true")))
    wait_for(lambda: control_plane.get("pod", "held", "-n", namespace)["spec"].get("nodeName"), "bound")
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=str(pod("later")))
    wait_for(lambda: phase(control_plane, namespace, "later") == "Running", "running")

    assert phase(control_plane, namespace, "held") == "Pending"


def test_a_deployment_gets_its_pods(control_plane: ControlPlane, namespace: str, nodes: list[str]) -> None:
    control_plane.kubectl("create", "deployment", "d", "--image=none", "--replicas=3", "-n", namespace)

    control_plane.kubectl("rollout", "status", "deployment/d", "-n", namespace, "--timeout=60s")


def test_a_node_publishes_what_changes_on_it(control_plane: ControlPlane, simulated: Simulated) -> None:
    api = control_plane.api()
    node = simulated.node("changing", devices=2)
    publish(api, simulated, [node])
    before = api.get(f"{NODES}/changing")["status"]["allocatable"]["nvidia.com/gpu"]

    update(api, simulated, node.sick(node.devices[0]).cordoned(node.devices[1]))

    after = api.get(f"{NODES}/changing")
    assert (before, after["status"]["allocatable"]["nvidia.com/gpu"]) == ("20", "10")
    assert after["metadata"]["annotations"]["hami.io/device-cordon"] == node.devices[1]
    remove(api, "changing")
    with pytest.raises(ApiRefused, match="404"):
        api.get(f"{NODES}/changing")


# --------------------------------------------------------------------------------------------- starting and ending


def test_with_the_life_of_nodes_they_are_tainted_until_their_heart_beats(
    a_control_plane: StartsControlPlanes, simulated: Simulated
) -> None:
    plane = a_control_plane(options=Options(node_lifecycle=True))
    publish(plane.api(), simulated, [simulated.node("alive")])

    wait_for(lambda: not plane.get("node", "alive")["spec"].get("taints"), "without taints")

    assert plane.get("lease", "alive", "-n", "kube-node-lease")["spec"]["holderIdentity"]


def test_two_stand_side_by_side(a_control_plane: StartsControlPlanes) -> None:
    first, second = a_control_plane(options=BARE), a_control_plane(options=BARE)

    first.make_namespace("only-here")

    assert "only-here" in first.kubectl("get", "namespaces")
    assert "only-here" not in second.kubectl("get", "namespaces")


def test_an_api_server_that_is_killed_comes_back_on_its_port_with_all_it_had(a_control_plane: StartsControlPlanes) -> None:
    plane = a_control_plane(options=BARE)
    plane.make_namespace("kept")
    url = plane.url

    plane.kill(APISERVER)
    plane.restart_apiserver()

    assert plane.url == url
    assert "kept" in plane.kubectl("get", "namespaces")


def test_a_paused_part_does_not_answer_until_it_is_resumed(a_control_plane: StartsControlPlanes) -> None:
    plane = a_control_plane(options=BARE)

    plane.pause(APISERVER)
    try:
        assert "Unable to connect" in plane.kubectl("get", "ns", "--request-timeout=1s", check=False)
    finally:
        plane.resume(APISERVER)

    assert "default" in plane.kubectl("get", "ns")


def test_a_scheduler_holds_the_lease_under_the_host_name_it_was_given(a_control_plane: StartsControlPlanes) -> None:
    plane = a_control_plane(options=BARE)
    elect = {"leaderElection": {"leaderElect": True, "resourceName": "held", "resourceNamespace": "kube-system"}}
    plane.start_scheduler(elect, name="first", host="alpha", user="admin")
    lease = "get lease held -n kube-system --ignore-not-found -o jsonpath={.spec.holderIdentity}".split()

    wait_for(lambda: plane.kubectl(*lease), "elected")

    assert plane.kubectl(*lease).startswith("alpha_")


OWNER = """
import sys
from pathlib import Path
from hami_core.testing.cluster import ControlPlane, Options
plane = ControlPlane(options=Options(controllers=False, kwok=False), parent=Path(sys.argv[1])).start()
print(plane.folder, *(program.pid for program in plane.programs.values()), flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_after_kill_9_nothing_runs_and_the_next_start_takes_the_rest_away(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        folder, *pids = owner.stdout.readline().split()
        assert len(pids) == 2
        assert all(alive(int(pid)) for pid in pids)
        owner.kill()

    wait_for(lambda: not any(alive(int(pid)) for pid in pids), "ended")
    assert Path(folder).exists()
    assert folders.remove_leftovers(tmp_path) == [Path(folder)]
    assert list(tmp_path.iterdir()) == []
