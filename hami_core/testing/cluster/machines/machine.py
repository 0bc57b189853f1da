"""One machine: its layers over this one's file system, the programs that run on it, and its reboot."""

from __future__ import annotations

import json
import signal
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from hami_core.errors import HamiError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Mapping, Sequence

    from hami_core.testing.cluster.control_plane import ControlPlane
    from hami_core.testing.cluster.programs import Program

INIT = Path(__file__).with_name("init.py")
LAYERED = ("etc", "usr", "var")  # the rest of this machine's root is seen as it is
PLAIN = ("/var/lib/containerd", "/var/lib/kubelet")  # folders without layers: containerd's own overlays cannot lie on one
BOOT_ID = "/proc/sys/kernel/random/boot_id"
KERNEL = {  # as the kubelet and the CNI plug-in would set it: they read files of the machine, the kernel stays as it is
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "net/ipv4/ip_forward": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
SECONDS = 30.0
NONE: Mapping[str, str] = {}


class Machine:
    """Namespaces with a file system of their own. What is in its /etc, /usr and /var survives a reboot, and goes with it."""

    def __init__(
        self, plane: ControlPlane, name: str, packages: Iterable[Path] = (), devices: Mapping[str, str] = NONE
    ) -> None:
        """``packages``: folders laid over the root. ``devices``: names below /dev -> the node here that each is a copy of."""
        self.plane, self.name = plane, name
        self.folder = plane.folder / f"machine-{name}"
        self.programs: dict[str, Program] = {}  # those that were started on it, by their names there
        self._packages, self._devices = list(packages), dict(devices)

    def start(self) -> None:
        """Boot it for the first time. ProgramFailed: the kernel or the file system lacks something; the text says what."""
        layers = [f"{top}{suffix}" for top in LAYERED for suffix in ("", ".work")]
        for path in (*PLAIN, *layers, "root"):
            self._in_folder(path).mkdir(parents=True)
        (self.folder / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        for name, value in KERNEL.items():
            file = self.folder / "kernel" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
        self._prepare()
        command = [sys.executable, "-I", "-S", str(INIT), str(self.folder / "plan.json")]
        self.init = self.plane.run(f"{self.name}-init", command, first=True)
        self._wait()

    def reboot(self) -> None:
        """Every process is killed, /run and /dev are fresh, the disk is as it was. Who started programs starts them again."""
        self.end()
        self._prepare()
        self.init.start()
        self._wait()

    def end(self) -> None:
        """As if the power went: every process is killed at once."""
        if self.init.running:
            self.init.send(signal.SIGKILL)
        for program in self.programs.values():  # process 1 ends when all that we have started is waited for
            program.kill()
        self.init.kill()

    def run(self, name: str, command: Sequence[str], *, env: Mapping[str, str] = NONE) -> Program:
        """A program on this machine, as ControlPlane.run has it. A reboot ends it, and does not bring it back."""
        program = self.plane.run(f"{self.name}-{name}", command, env=env, inside=self.init)
        self.programs[name] = program
        return program

    def ask(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command on this machine, to its end."""
        return self.init.beside(words, stdin)

    def do(self, *words: str, stdin: str = "") -> str:
        """What a command on this machine prints. HamiError: it failed, with what it said."""
        done = self.ask(*words, stdin=stdin)
        if done.returncode:
            raise HamiError(f"{' '.join(words)} on {self.name}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def path(self, path: str) -> Path:
        """A file of this machine, as it can be opened from here while the machine runs."""
        return Path(f"/proc/{self.init.pid}/root") / path.lstrip("/")

    def _prepare(self) -> None:
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        (self.folder / "plan.json").write_text(json.dumps(self._plan()))
        (self.folder / "ready").unlink(missing_ok=True)

    def _wait(self) -> None:
        self.init.wait_until((self.folder / "ready").exists, SECONDS)

    def _plan(self) -> dict[str, object]:
        """As ``init.py`` reads it."""
        binds = [(str(self._in_folder(path)), path) for path in PLAIN]
        binds += [(str(self.folder / "boot_id"), BOOT_ID)]
        binds += [(str(self.folder / "kernel" / name), f"/proc/sys/{name}") for name in KERNEL]
        return {
            "hostname": self.name,
            "root": str(self.folder / "root"),
            "ready": str(self.folder / "ready"),
            "overlays": {top: self._layers(top) for top in LAYERED},
            "binds": binds,
            "devices": self._devices,
        }

    def _layers(self, top: str) -> dict[str, str]:
        lower = [folder / top for folder in (*self._packages, Path("/")) if (folder / top).is_dir()]
        return {
            "lowerdir": ":".join(map(str, lower)),
            "upperdir": str(self.folder / top),
            "workdir": str(self.folder / f"{top}.work"),
        }

    def _in_folder(self, path: str) -> Path:
        """Where the disk of this machine lies here."""
        return self.folder / path.lstrip("/").replace("/", "-") if path in PLAIN else self.folder / path
