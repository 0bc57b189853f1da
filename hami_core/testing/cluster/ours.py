"""hami itself on a control plane: what it prints is applied, its webhook and scheduler are started, all by its own commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hami_core import names
from hami_core.errors import HamiError
from hami_core.sharing import CoreSettings
from hami_core.testing.cluster.answering import answers
from hami_core.testing.cluster.api import ApiRefused
from hami_core.testing.cluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.testing.cluster.control_plane import ControlPlane
    from hami_core.testing.cluster.nodes import Simulated
    from hami_core.testing.cluster.programs import Program

HAMI = Path(sys.executable).with_name("hami")
WEBHOOK, EXTENDER, BESIDE = "hami-webhook", "hami-scheduler", "hami-kube-scheduler"  # its programs, by name
INFO = "hami-scheduler-info"  # the port of the scheduler's metrics and explanations
SECONDS = 60.0


class Hami:
    """The webhook, and the scheduler beside a kube-scheduler of its own, each with the rights of its service account."""

    def __init__(self, plane: ControlPlane, simulated: Simulated, sets: Sequence[str] = ()) -> None:
        """``sets``: further settings, as of ``hami --set``. Those of the simulated nodes are to be the same."""
        self._plane, self._catalogue = plane, simulated.catalogue
        self._namespace = simulated.settings[CoreSettings].namespace
        own = {
            "scheduler.admissionWebhook.bindAddress": f"{LOOPBACK}:{plane.ports[WEBHOOK]}",
            "scheduler.admissionWebhook.url": f"https://{LOOPBACK}:{plane.ports[WEBHOOK]}/admit",
            "scheduler.extender.bindAddress": f"{LOOPBACK}:{plane.ports[EXTENDER]}",
            "scheduler.metricsBindAddress": f"{LOOPBACK}:{plane.ports[INFO]}",
        }
        self.sets = (*sets, *(f"{path}={value}" for path, value in own.items()))

    def start(self) -> None:
        """All of it, until it is ready. HamiError: a command failed. ProgramFailed: a program ended, with its last words."""
        self._plane.make_namespace(self._namespace)
        for part in ("webhook", "scheduler"):
            self._plane.kubectl("apply", "-f", "-", stdin=self.ask(part, "manifests"))
        webhook = self._serve("webhook", WEBHOOK, names.ADMISSION)
        extender = self._serve("scheduler", EXTENDER, names.SCHEDULER)
        configuration = self.ask("scheduler", "config")
        self._plane.start_scheduler(configuration, name=BESIDE, user=self._user(names.SCHEDULER), groups=self._groups)
        webhook.wait_until(lambda: answers(f"https://{LOOPBACK}:{self._plane.ports[WEBHOOK]}/readyz"), SECONDS)
        extender.wait_until(lambda: answers(f"{self.url}/readyz"), SECONDS)
        webhook.wait_until(self._is_called, SECONDS, "called by the API server")

    def _is_called(self) -> bool:
        """Whether a pod that is made now is prepared: the API server hears of a webhook a moment after it was registered."""
        resources = {kind.resources.count: "1" for kind in self._catalogue.kinds[:1]}
        container = {"name": "main", "image": "none", "resources": {"limits": resources}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {"containers": [container]}}
        try:
            made = self._plane.api().create("/api/v1/namespaces/default/pods?dryRun=All", pod)
        except ApiRefused:  # the namespace has no service account yet
            return False
        return names.PREPARED in made["metadata"].get("labels", {}) or not resources

    @property
    def url(self) -> str:
        """Where the scheduler tells what it does, and explains."""
        return f"http://{LOOPBACK}:{self._plane.ports[INFO]}"

    def ask(self, *words: str) -> str:
        """What a command of hami prints, under these settings. HamiError: it failed."""
        done = subprocess.run([*self._command, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise HamiError(f"hami {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def _serve(self, part: str, name: str, account: str) -> Program:
        kubeconfig = self._plane.kubeconfig(self._user(account), *self._groups)
        return self._plane.run(name, [*self._command, part, "serve", f"--kubeconfig={kubeconfig}"])

    @property
    def _command(self) -> list[str]:
        return [str(HAMI), *(word for one in self.sets for word in ("--set", one))]

    def _user(self, account: str) -> str:
        return names.user(self._namespace, account)

    @property
    def _groups(self) -> tuple[str, str]:
        return "system:serviceaccounts", f"system:serviceaccounts:{self._namespace}"
