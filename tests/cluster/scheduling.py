"""Scheduler pairs on a real control plane: a stock kube-scheduler, and ``hami scheduler serve`` beside it as in one pod."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from hami_core import names, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hami_core.model import Share
    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.programs import Program

USER = "system:serviceaccount:hami-system:hami-scheduler"
GROUPS = ("system:serviceaccounts", "system:serviceaccounts:hami-system")
HAMI = str(Path(sys.executable).with_name("hami"))
SECONDS = 30.0

GPU, MEMORY, CORES = "nvidia.com/gpu", "nvidia.com/gpumem", "nvidia.com/gpucores"
MOCK, MOCK_MEMORY = "mock.dev/device", "mock.dev/memory"
SHARE = {GPU: 1, MEMORY: 3000, CORES: 20}  # five fill a device, by cores


def wait_for(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """What the condition gives, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not {what} after {seconds} s"
        time.sleep(0.02)
    return found


def hami(*words: str, sets: str = "") -> str:
    """What a command prints."""
    environment = {**os.environ, "HAMI_SET": sets}
    return subprocess.run([HAMI, *words], check=True, capture_output=True, text=True, env=environment).stdout


def prepare(plane: ControlPlane) -> None:
    """Our namespace, and in it what ``hami scheduler manifests`` prints."""
    plane.kubectl("create", "namespace", "hami-system", check=False)
    plane.kubectl("apply", "-f", "-", stdin=hami("scheduler", "manifests"))


@define(eq=False)
class Pair:
    """One kube-scheduler and its extender. ``host``: what both call themselves; every pair has one of its own."""

    plane: ControlPlane
    host: str
    sets: str = ""  # further settings
    programs: list[Program] = field(factory=list)

    @property
    def settings(self) -> str:
        """As HAMI_SET takes them."""
        ports = self.plane.ports
        own = [
            f"scheduler.extender.bindAddress=127.0.0.1:{ports[f'{self.host}-extender']}",
            f"scheduler.metricsBindAddress=127.0.0.1:{ports[f'{self.host}-info']}",
        ]
        return ",".join([*own, *([self.sets] if self.sets else [])])

    @property
    def extender(self) -> str:
        """The name of the extender's program."""
        return f"{self.host}-hami"

    @property
    def scheduler(self) -> str:
        """The name of kube-scheduler's program."""
        return f"{self.host}-kube-scheduler"

    def start(self) -> Pair:
        """Both, in any order, as the containers of a pod start."""
        self.start_extender()
        configuration = hami("scheduler", "config", sets=self.settings)
        self.plane.start_scheduler(configuration, name=self.scheduler, host=self.host, user=USER, groups=GROUPS)
        return self

    def start_extender(self) -> Program:
        """The extender alone."""
        kubeconfig = self.plane.kubeconfig(USER, *GROUPS)
        command = [HAMI, "scheduler", "serve", "--kubeconfig", str(kubeconfig)]
        return self.plane.run(self.extender, command, host=self.host, env={"HAMI_SET": self.settings})

    def restart_extender(self) -> None:
        """kill -9, and a new one."""
        self.plane.restart(self.extender)

    def kill(self) -> None:
        """kill -9 of both, as when their node dies."""
        self.plane.kill(self.scheduler)
        self.plane.kill(self.extender)

    def stop(self) -> None:
        """In order."""
        for name in (self.scheduler, self.extender):
            if name in self.plane.programs:
                self.plane[name].stop()
                del self.plane.programs[name]

    def leads(self) -> bool:
        """Whether it decides now."""
        return self.state().get("phase") == "leading"

    def state(self) -> dict[str, Any]:
        """What /readyz says; {} while nobody answers."""
        return dict(json.loads(self.get("/readyz") or b"{}"))

    def get(self, path: str) -> bytes:
        """From the info port; b"" while nobody answers."""
        url = f"http://127.0.0.1:{self.plane.ports[f'{self.host}-info']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            return error.read()
        except OSError:
            return b""

    def log(self) -> str:
        """Of the extender."""
        return self.plane[self.extender].log.read_text() if self.extender in self.plane.programs else ""


# --- Pods. -----------------------------------------------------------------------------------------------------------


def a_pod(name: str, limits: Mapping[str, object], **more: Any) -> dict[str, Any]:
    """A pod as admission leaves it: our label, our scheduler. ``more``: annotations, init (limits of an init container)."""
    containers = [
        {"name": "main", "image": "none", "resources": {"limits": {key: str(value) for key, value in limits.items()}}}
    ]
    spec: dict[str, Any] = {"schedulerName": "hami-scheduler", "containers": containers}
    if "init" in more:
        own = {key: str(value) for key, value in more["init"].items()}
        spec["initContainers"] = [{"name": "first", "image": "none", "resources": {"limits": own}}]
    metadata = {"name": name, "labels": {names.PREPARED: "true"}, "annotations": dict(more.get("annotations", {}))}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def placed(plane: ControlPlane, namespace: str, name: str, seconds: float = SECONDS) -> dict[str, Any]:
    """The pod, as soon as it has a node."""
    api, path = plane.api(), f"/api/v1/namespaces/{namespace}/pods/{name}"

    def bound() -> dict[str, Any] | None:
        pod: dict[str, Any] = api.get(path)
        return pod if pod["spec"].get("nodeName") else None

    return dict(wait_for(bound, f"placed: {namespace}/{name}", seconds))


def shares(pod: Mapping[str, Any]) -> list[tuple[str, str, int, int]]:
    """What a pod's own annotations grant it: (container, device, MiB, percent)."""
    return [(one.container, one.device, one.memory, one.cores) for one in granted(pod)]


def granted(pod: Mapping[str, Any]) -> Iterator[Share]:
    """Every share in a pod's annotations, which have to be its own."""
    prefix = names.grant_key("")
    for key, text in sorted(pod["metadata"].get("annotations", {}).items()):
        if key.startswith(prefix):
            container = key.removeprefix(prefix)
            assert f"grant {names.grant_id(pod['metadata']['uid'], container)}" in text.split("\n")
            yield from wire.shares(text, container, key)
