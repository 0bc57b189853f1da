"""A cluster with hami in it and real nodes with simulated GPUs: how it is set up, and what its tests ask of it.

The drivers are those of a simulated machine, whose folder lies on the node. Containers find them as the agent says; nothing
else stands in for NVIDIA's runtime. The image is Debian 11 with nvidia-smi and hami-probe, under the name that the article's
Pod has: Ubuntu is at no mirror of Debian's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field

import hami_native
from hami_core import names
from hami_core.testing.cluster.answering import answers
from hami_core.testing.cluster.control_plane import KubectlFailed
from hami_core.testing.cluster.machines import userlands
from hami_core.testing.cluster.machines.images import Image, layer
from hami_core.testing.cluster.nodes import Simulated
from hami_core.testing.cluster.ours import HAMI, Hami
from hami_core.testing.cluster.ports import LOOPBACK
from tests import judges
from tests.cluster.admitting import OURS, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.machines import Node
    from hami_core.testing.cluster.programs import Program

IMAGE = "docker.io/library/ubuntu:18.04"
STATE = "/var/lib/hami-machine"  # of the simulated machine, on its node
SECONDS = 60.0
GPU, MEMORY, CORES = "nvidia.com/gpu", "nvidia.com/gpumem", "nvidia.com/gpucores"
SLEEP = "exec sleep infinity"
NOTHING: Mapping[str, Any] = {}


@define(eq=False)
class GpuNode:
    """A node with its agent."""

    node: Node
    agent: Program
    info: str  # where the agent tells how it is
    env: Mapping[str, str]  # its simulated machine's

    def wait_until_ready(self) -> None:
        """The agent is known to the kubelet, and its devices to the scheduler."""
        self.agent.wait_until(lambda: answers(f"{self.info}/readyz"), SECONDS)

    def start_agent(self) -> None:
        """Until it answers; the kubelet may not be there yet."""
        self.agent.start()
        self.agent.wait_until(lambda: answers(f"{self.info}/metrics"), SECONDS)

    def registrations(self) -> int:
        """How often the kubelet has taken the agent's plugin."""
        return self.agent.log.read_text().count("is registered with the kubelet")

    def mock(self, *words: str) -> str:
        """``hami mock`` on the node's simulated machine."""
        return self.node.do("env", *(f"{key}={value}" for key, value in self.env.items()), str(HAMI), "mock", *words)

    def held(self) -> dict[str, int]:
        """What programs hold of each device, in bytes, by the driver's own books."""
        return {one["uuid"]: one["requested"] for one in json.loads(self.mock("truth", "-o", "json"))["devices"]}


@define(eq=False)
class Stage:
    """The control plane, hami, and the nodes by name."""

    plane: ControlPlane
    hami: Hami
    archive: Path  # of the image
    nodes: dict[str, GpuNode] = field(factory=dict)

    def add(self, name: str, machine: str) -> GpuNode:
        """A node with the GPUs of a simulated machine, ready to take pods."""
        node = self.plane.node(name).start()
        node.import_image(self.archive)
        node.do("mkdir", "--mode=700", STATE)
        account = names.user(OURS, names.NODE_AGENT)
        kubeconfig = self.plane.kubeconfig(account, "system:serviceaccounts", f"system:serviceaccounts:{OURS}")
        address = f"{LOOPBACK}:{self.plane.ports[f'{name}-agent']}"
        sets = ("--set", f"devicePlugin.metricsBindAddress={address}")
        env = {names.ENV_STATE: STATE, names.ENV_MACHINE: machine}
        agent = node.run("agent", [str(HAMI), *sets, "node", "serve", f"--node={name}", f"--kubeconfig={kubeconfig}"], env=env)
        self.nodes[name] = GpuNode(node, agent, f"http://{address}", env)
        self.nodes[name].wait_until_ready()
        node.do("chmod", "666", f"{STATE}/{machine}/driver/state")  # as the nodes of a real driver are: for every user
        wait_for(lambda: int(self.allocatable(name)) > 0, f"devices of {name}", SECONDS)
        return self.nodes[name]

    def mend(self) -> None:
        """Start what a test that failed has left killed: the next one is about something else."""
        for program in self.plane.programs.values():
            program.start()
        for gpus in self.nodes.values():
            gpus.node.wait_until_ready()
            gpus.wait_until_ready()

    def allocatable(self, name: str) -> str:
        """How many GPUs the kubelet offers."""
        return str(self.plane.get("node", name)["status"]["allocatable"].get(GPU, "0"))

    def remove(self, name: str) -> None:
        """The node, its pods and its agent."""
        self.nodes.pop(name).node.stop()


def set_up(plane: ControlPlane) -> Stage:
    """hami by its own commands, and the image."""
    hami = Hami(plane, Simulated())
    hami.start()
    plane.kubectl("apply", "-f", "-", stdin=hami.ask("node", "manifests"))
    return Stage(plane, hami, _archive(plane.folder))


def _archive(folder: Path) -> Path:
    programs = {"usr/bin/nvidia-smi": judges.program(judges.SMI, "nvidia-smi"), "usr/bin/hami-probe": hami_native.probe()}
    layers = (userlands.debian("bullseye", print), layer(folder / "tools.tar", programs))
    return Image(IMAGE, layers, ("bash",)).write(folder / "ubuntu.tar")


@define(eq=False)
class Work:
    """A namespace with pods in it."""

    stage: Stage
    namespace: str

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        return self.stage.plane.kubectl("-n", self.namespace, *words, stdin=stdin, check=check)

    def get(self, name: str) -> Any:
        """A pod as it is."""
        return json.loads(self.kubectl("get", "pod", name, "-o", "json"))

    def make(self, manifest: Mapping[str, Any]) -> str:
        """The pod's name."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        return str(manifest["metadata"]["name"])

    def start(self, manifest: Mapping[str, Any]) -> str:
        """The name of a pod that runs now."""
        name = self.make(manifest)
        self.until_ready(name)
        return name

    def until_ready(self, name: str) -> None:
        """Runs, and all its containers do. If not, what is known of the pod is told."""
        try:
            self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={SECONDS:.0f}s")
        except KubectlFailed as error:
            told = [node.agent.tail(10) for node in self.stage.nodes.values()]
            pytest.fail("\n".join([str(error), self.kubectl("describe", "pod", name), *told]))

    def bash(self, name: str, script: str, container: str = "") -> str:
        """What a shell in a pod prints, both streams."""
        where = ["-c", container] if container else []
        return self.kubectl("exec", name, *where, "--", "bash", "-c", f"exec 2>&1; {script}")

    def device(self, name: str, container: str = "main") -> str:
        """What a container was granted, by its pod."""
        return str(self.get(name)["metadata"]["annotations"][names.visible_key("nvidia", container)])

    def clear(self) -> None:
        """All pods away, with what they held."""
        self.kubectl("delete", "pods,jobs", "--all", "--grace-period=1", "--timeout=60s")


def limits(memory: int = 1000, cores: int = 0, gpus: int = 1) -> dict[str, str]:
    """Of a container."""
    asked = {GPU: gpus, MEMORY: memory, CORES: cores}
    return {key: str(value) for key, value in asked.items() if value}


def container(name: str = "main", script: str = SLEEP, asks: Mapping[str, str] = NOTHING, **more: Any) -> dict[str, Any]:
    """A shell that runs a script."""
    resources = {"resources": {"limits": dict(asks)}} if asks else {}
    return {"name": name, "image": IMAGE, "command": ["bash", "-c", script], **resources, **more}


def pod(name: str, *containers: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod that is killed at once when it is deleted."""
    body = {"terminationGracePeriodSeconds": 0, "containers": list(containers), **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}
