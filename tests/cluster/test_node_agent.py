"""``hami node serve`` on a real control plane: a simulated machine, and a second client in the kubelet's place."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from hami_core import names, wire
from hami_core.model import NodeDevices, Share
from hami_core.testing.cluster import ControlPlane
from hami_core.testing.cluster.ours import HAMI
from hami_core.testing.cluster.ports import LOOPBACK
from tests.cluster.admitting import NODE_AGENT, OURS, pod, wait_for
from tests.node.agents import paths
from tests.node.kubelet import Kubelet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hami_core.testing.cluster.audit import Entry

NODE, AGENT = "gpu-1", "hami-node"
GPU = "nvidia.com/gpu"
KEY = names.inventory_key("nvidia")
SECONDS = {
    "devicePlugin.healthCheckSeconds": 0.2,
    "devicePlugin.healthSettleSeconds": 0.5,
    "devicePlugin.healthRecoverySeconds": 1,
    "devicePlugin.discoverySeconds": 1,
}


@frozen
class Here:
    """A control plane, a node's folder on it, and the agent's command."""

    plane: ControlPlane
    folder: Path
    command: tuple[str, ...]
    env: Mapping[str, str]

    # --- The agent. ---

    def start(self) -> None:
        """Until it has published."""
        program = self.plane.run(AGENT, self.command, env=self.env)
        program.wait_until(lambda: bool(self.state().get("published")), 60)

    def stop(self) -> None:
        self.plane[AGENT].stop()

    def told(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.plane.ports[AGENT]}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.read().decode())
        except OSError:
            return "{}"

    def state(self) -> dict[str, Any]:
        """Its readiness."""
        found: dict[str, Any] = json.loads(self.told("/readyz"))
        return found

    def looks(self) -> int:
        """How often it has asked for the devices' health."""
        (count,) = re.findall(r'question_duration_seconds_count\{question="health"\} (\d+)', self.told("/metrics"))
        return int(count)

    def looked(self, times: int = 5) -> None:
        """It has gone on looking."""
        before = self.looks()
        wait_for(lambda: self.looks() >= before + times, "looked")

    # --- What came of it. ---

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self.plane.api().get(f"/api/v1/nodes/{NODE}")["metadata"]
        return found

    def schedulable(self) -> list[int]:
        """The numbers of the devices that may carry something new, by the annotation."""
        read = wire.decode(NodeDevices, self.metadata["annotations"][KEY], KEY)
        index = {device.id: device.index for device in read.inventory.devices}
        return sorted(index[one.device] for _, several in read.capacities for one in several if one.healthy)

    def devices(self) -> list[str]:
        return [one.id for one in wire.decode(NodeDevices, self.metadata["annotations"][KEY], KEY).inventory.devices]

    def writes(self) -> list[Entry]:
        """Of the agent, in the audit log."""
        return [entry for entry in self.plane.audited() if entry.user == NODE_AGENT and entry.writes]

    # --- What others do. ---

    def mock(self, *words: str) -> None:
        self._run(["mock", *words])

    def hami(self, *words: str) -> str:
        """A command of an administrator's."""
        return self._run([*words, "--kubeconfig", str(self.plane.kubeconfig())])

    def _run(self, words: Sequence[str]) -> str:
        done = subprocess.run([str(HAMI), *words], env={**os.environ, **self.env}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def _here(plane: ControlPlane) -> Iterator[Here]:
    with TemporaryDirectory(prefix="hami-") as name:
        folder = Path(name)
        (folder / "state").mkdir(mode=0o700)
        kubeconfig = plane.kubeconfig(NODE_AGENT, "system:serviceaccounts", f"system:serviceaccounts:{OURS}")
        sets = {
            **SECONDS,
            **paths(folder),
            "devicePlugin.metricsBindAddress": f"{LOOPBACK}:{plane.ports[AGENT]}",
        }
        words = [word for path, value in sets.items() for word in ("--set", f"{path}={value}")]
        command = (str(HAMI), *words, "node", "serve", "--node", NODE, "--kubeconfig", str(kubeconfig))
        yield Here(plane, folder, command, {names.ENV_STATE: str(folder / "state"), names.ENV_MACHINE: "t4x4"})


@pytest.fixture
def here(control_plane: ControlPlane) -> Iterator[Here]:
    """A node without anything of ours, and the agent's rights."""
    control_plane.make_namespace(OURS)
    control_plane.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"zone": "a"}}})
    with _here(control_plane) as here:
        control_plane.kubectl("apply", "-f", "-", stdin=here._run(["node", "manifests"]))
        yield here
        if AGENT in control_plane.programs:
            here.stop()
    control_plane.kubectl("delete", "node", NODE)


def test_a_node_is_given_its_devices_once_and_a_restart_writes_nothing(here: Here) -> None:
    before = len(here.writes())
    here.start()

    assert here.schedulable() == [0, 1, 2, 3]
    labels = {key: value for key, value in here.metadata["labels"].items() if names.is_device_label(key)}
    assert labels == {"nvidia.hami.io/count": "4", "nvidia.hami.io/memory": "15360", "nvidia.hami.io/model": "Tesla-T4"}
    here.looked()
    here.stop()
    here.start()
    here.looked()

    done = here.writes()[before:]
    assert [(one.verb, one.resource, one.name, one.status) for one in done] == [("patch", "nodes", NODE, 200)]


def test_a_sick_device_leaves_the_annotation_and_the_offer_at_once_and_returns(here: Here) -> None:
    here.start()
    before = len(here.writes())

    async def with_a_kubelet(act: Callable[[Kubelet], Any]) -> None:
        kubelet = Kubelet(here.folder)
        await kubelet.start()
        await kubelet.until(lambda: len(kubelet.healthy(GPU)) == 40, 30)
        await act(kubelet)
        await kubelet.kill()

    async def act(kubelet: Kubelet) -> None:
        sick = here.devices()[1]
        await asyncio.to_thread(here.mock, "xid", "1", "79")
        await kubelet.until(lambda: len(kubelet.healthy(GPU)) == 30)
        assert not [one for one in kubelet.healthy(GPU) if one.startswith(sick)]
        assert kubelet.capacity(GPU) == 40
        await asyncio.to_thread(wait_for, lambda: here.schedulable() == [0, 2, 3], "told", 2)
        await kubelet.until(lambda: len(kubelet.healthy(GPU)) == 40, 30)
        await asyncio.to_thread(wait_for, lambda: here.schedulable() == [0, 1, 2, 3], "well again", 2)

    asyncio.run(with_a_kubelet(act))

    assert [(one.verb, one.resource) for one in here.writes()[before:]] == [("patch", "nodes")] * 2


def test_pods_that_hold_a_sick_device_are_told_by_an_event(here: Here, namespace: str) -> None:
    here.start()
    share = Share("main", "nvidia", here.devices()[2], 3000, 15360, 0)
    grant = wire.limits_text(names.grant_id("uid", "main"), [share], ())
    bound = pod("holder", annotations={names.grant_key("main"): grant}, nodeName=NODE)
    api, path = here.plane.api(), f"/api/v1/namespaces/{namespace}"
    here.stop()
    api.create(f"{path}/pods", bound)
    here.start()
    wait_for(lambda: here.state()["watches"]["pods"]["synced"], "listed")

    def told() -> list[str]:
        found = [one for one in api.get(f"{path}/events")["items"] if one["source"].get("component") == AGENT]
        return sorted(f"{one['type']} {one['reason']} {one['involvedObject']['name']}" for one in found)

    here.mock("xid", "2", "79")

    wait_for(lambda: told() == ["Normal DeviceHealthy holder", "Warning DeviceUnhealthy holder"], "told")


def test_a_device_is_taken_out_of_service_and_back_by_a_command(here: Here) -> None:
    here.start()
    before, (first, second, *_) = len(here.writes()), here.devices()

    told = here.hami("node", "cordon", first)
    again = here.hami("node", "cordon", first, second, "--node", NODE)

    assert told == f"{NODE}: {first} is now out of service\n"
    assert again == f"{NODE}: {first}, {second} is now out of service\n"
    assert here.metadata["annotations"][names.DEVICE_CORDON] == f"{first},{second}"
    wait_for(lambda: len(re.findall(r"^hami_node_device_cordoned.* 1.0$", here.told("/metrics"), re.MULTILINE)) == 2, "seen")
    here.hami("node", "uncordon", first, second)
    assert names.DEVICE_CORDON not in here.metadata["annotations"]
    here.looked()
    assert here.writes()[before:] == []


def test_it_is_ready_when_the_kubelet_and_the_node_know(here: Here) -> None:
    here.start()
    assert not here.state()["ready"]

    async def act() -> None:
        kubelet = Kubelet(here.folder)
        await kubelet.start()
        await asyncio.to_thread(wait_for, lambda: here.state()["ready"], "ready")
        await kubelet.kill()

    asyncio.run(act())
