"""A node: a machine with containerd and a kubelet on it, known to the control plane.

with ControlPlane() as plane, plane.node("n1") as node:
    node.import_image(archive)
    node.kubelet.restart()
    node.reboot()
"""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import yaml
from urllib3.exceptions import HTTPError

from hami_core.testing.cluster import binaries, cgroups
from hami_core.testing.cluster.answering import answers
from hami_core.testing.cluster.api import ApiRefused
from hami_core.testing.cluster.machines import configuration, images, packages, requirements
from hami_core.testing.cluster.machines.machine import NONE, Machine
from hami_core.testing.cluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from hami_core.testing.cluster.control_plane import ControlPlane
    from hami_core.testing.cluster.programs import Program

CONTAINERD, KUBELET = "containerd", "kubelet"
SECONDS = 120.0
NEVER = "1970-01-01T00:00:00Z"
NOTHING: Mapping[str, Any] = {}


class Node:
    """``start`` and ``stop``, or a ``with`` block: it is Ready then."""

    def __init__(
        self,
        plane: ControlPlane,
        name: str,
        *,
        settings: Mapping[str, Any] = NOTHING,
        devices: Mapping[str, str] = NONE,
        layers: Sequence[Path] = (),
        note: binaries.Note = print,
    ) -> None:
        """``settings``: of the kubelet, over ours. ``devices``: names below /dev -> the device here that each copies.

        ``layers``: folders laid over the machine's root, as if what is in them had been installed.
        """
        self.name, self._plane, self._settings, self._note = name, plane, dict(settings), note
        self._devices, self._layers = devices, list(layers)

    # ------------------------------------------------------------------------------------------------- its life

    def start(self) -> Self:
        """UserError: what this machine lacks. ProgramFailed: a part did not come up, with its last words."""
        requirements.check()
        self._kubelet_program = binaries.find(self._plane.version, [KUBELET], self._note)[KUBELET]
        found = packages.fetch(packages.NODE, self._note)
        self.machine = Machine(self._plane, self.name, [*self._layers, *found], self._devices)
        self.machine.start()
        try:
            cgroups.make(self._group)
            self._configure()
            self._start_programs()
            for image in images.busybox(found[-1] / "usr/bin/busybox", self.machine.folder / "images"):
                self.import_image(image.write(self.machine.folder / "images/archive.tar"))
        except BaseException:
            self._end()
            raise
        return self

    def stop(self) -> None:
        """End every process on it, remove its disk, have the API server forget it. Its logs stay with the control plane."""
        self._end()
        with suppress(ApiRefused, HTTPError):  # a test may have ended the API server before
            self._plane.api().delete(f"/api/v1/nodes/{self.name}")

    def _end(self) -> None:
        self.machine.end()
        for program in (self.machine.init, *self.machine.programs.values()):  # nobody can start them any more
            self._plane.programs.pop(program.name, None)
        cgroups.remove(self._group)
        shutil.rmtree(self.machine.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def reboot(self, services: Callable[[], object] | None = None) -> None:
        """Every process killed at once, containers too; then containerd and the kubelet again, on the same disk.

        ``services`` is called before that: it starts what is to be there first. Other programs start again who started them.
        """
        self.machine.end()
        for program in (self.machine.init, *self.machine.programs.values()):  # nobody can start them any more
            self._plane.programs.pop(program.name, None)
        cgroups.remove(self._group)
        self.machine.reboot()
        cgroups.make(self._group)
        if services:
            services()
        self._start_programs()

    def wait_until_ready(self, seconds: float = SECONDS) -> None:
        """Until the kubelet answers and has told the API server that the node is ready."""
        self.kubelet.wait_until(self._is_ready, seconds)

    def wait_until_told(self, seconds: float = SECONDS) -> None:
        """Until the API server has heard from the kubelet how the node is by now, the devices that can be given among it."""
        now = datetime.now(UTC)
        self.kubelet.wait_until(lambda: self._heard_last() > now, seconds, "heard of")

    # -------------------------------------------------------------------------------------------------- its parts

    @property
    def containerd(self) -> Program:
        """``.restart()``, ``.kill()``, ``.log``; containers live on without it."""
        return self.machine.programs[CONTAINERD]

    @property
    def kubelet(self) -> Program:
        """``.restart()``, ``.kill()``, ``.log``; pods live on without it."""
        return self.machine.programs[KUBELET]

    def run(self, name: str, command: Sequence[str], *, env: Mapping[str, str] = NONE) -> Program:
        """A program on this node, the node's agent for one. It ends with the node, and with a reboot; ``.start()`` it then."""
        return self.machine.run(name, command, env=env)

    def do(self, *words: str, stdin: str = "") -> str:
        """What a command on this node prints. HamiError: it failed."""
        return self.machine.do(*words, stdin=stdin)

    def path(self, path: str) -> Path:
        """A file of this node, as it can be opened from here."""
        return self.machine.path(path)

    def import_image(self, archive: Path) -> None:
        """An OCI archive, for the kubelet to find under the name that is in it."""
        self.do("ctr", "--namespace=k8s.io", "images", "import", "--snapshotter=overlayfs", str(archive))

    # ----------------------------------------------------------------------------------------------------- its rest

    @property
    def _group(self) -> str:
        return f"/{self._plane.folder.name}/{self.name}"

    @property
    def _port(self) -> int:
        return self._plane.ports[f"{self.name}-{KUBELET}"]

    @property
    def _health(self) -> int:
        return self._plane.ports[f"{self.name}-{KUBELET}-healthz"]

    def _configure(self) -> None:
        settings = configuration.kubelet_settings(
            self._port, self._health, self._plane.certificates.ca, self._group, self._settings
        )
        files = {
            "/etc/containerd/config.toml": configuration.CONTAINERD,
            "/etc/cni/net.d/10-pods.conflist": configuration.cni(self._port),
            "/etc/kubernetes/kubelet.yaml": yaml.safe_dump(settings),
        }
        for name, text in files.items():
            path = self.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _start_programs(self) -> None:
        containerd = self.run(CONTAINERD, [CONTAINERD, "--config=/etc/containerd/config.toml"])
        containerd.wait_until(lambda: _listens(self.path(configuration.SOCKET)), SECONDS)
        kubeconfig = self._plane.kubeconfig(f"system:node:{self.name}", "system:nodes")
        self.run(KUBELET, configuration.kubelet(self._kubelet_program, "/etc/kubernetes/kubelet.yaml", kubeconfig, self.name))
        self.wait_until_ready()

    def _is_ready(self) -> bool:
        return answers(f"http://{LOOPBACK}:{self._health}/healthz") and self._condition().get("status") == "True"

    def _heard_last(self) -> datetime:
        text = self._condition().get("lastHeartbeatTime", NEVER)
        return datetime.fromisoformat(text)

    def _condition(self) -> Mapping[str, str]:
        """Ready, as the kubelet has told it; empty before it has."""
        found = self._plane.api().get("/api/v1/nodes", fieldSelector=f"metadata.name={self.name}")["items"]
        conditions = found[0]["status"].get("conditions", []) if found else []
        return next((one for one in conditions if one["type"] == "Ready"), {})


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True
