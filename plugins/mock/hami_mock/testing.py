"""A simulated machine in the hands of a test: programs are run on it, bare or under a share, and its books are read.

Everything happens in processes of their own, as for a user: a driver library is loaded once by a process, and stays. The state
folder is the machine's alone, so tests run beside one another. What pytest has to do with it is in ``pytest_plugin``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from hami_core import names
from hami_core.errors import UserError
from hami_mock import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hami_mock.machine import Truth

PATIENCE = 60.0  # seconds for a command of a test, unless it says otherwise


Started = subprocess.Popen[str]


class CommandFailed(AssertionError):
    """A command of hami itself failed, where the test did not ask how it would end; its message is what hami said."""


@frozen
class Ran:
    """How a command ended. ``status``: its own exit status; 125: hami could not start it, ``stderr`` says why."""

    status: int
    stdout: str
    stderr: str


@frozen
class Played:
    """How pods ended. ``document``: as docs/json.md has it. ``stderr``: what hami said, and what their containers wrote."""

    status: int
    document: Mapping[str, Any]
    stderr: str


@define(eq=False)
class SimulatedMachine:
    """A machine, and what a test may do with it. Waits at most ``timeout`` seconds, then subprocess.TimeoutExpired."""

    name: str
    folder: Path
    env: dict[str, str]  # the whole environment of a process on the machine, bare: it sees the driver without a share
    _started: list[subprocess.Popen[str]] = field(factory=list, init=False)

    # --- Programs -----------------------------------------------------------------------------------------------------

    def run(
        self,
        command: Sequence[str],
        *,
        limits: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = PATIENCE,
        **knobs: object,
    ) -> Ran:
        """Run a command under a share to its end. Knobs are the options of `hami run`: gpus, gpumem, gpucores, kind, ...

        ``limits``: those of a manifest, by their whole names.
        """
        return self._end([*self._hami(), *_run(command, limits, knobs)], env, stdin, timeout)

    def start(self, command: Sequence[str], *, limits: Mapping[str, object] | None = None, **knobs: object) -> Started:
        """Start a command under a share, to be talked with. It is stopped after the test, if it runs still."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*self._hami(), *_run(command, limits, knobs)], env=self.env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        self._started.append(process)
        return process

    def bare(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: str = "", timeout: float = PATIENCE
    ) -> Ran:
        """Run a command on the machine without a share, to its end: it sees every GPU whole."""
        return self._end(command, env, stdin, timeout)

    def play(self, pods: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Path | str, *, timeout: float = PATIENCE) -> Played:
        """Run Pods to their end: a manifest as a mapping, several of them, as text, or in a file.

        CommandFailed: hami refuses them.
        """
        _check_shares("nvidia")
        done = self._end([*self._hami(), "play", "-o", "json", "-"], None, _text(pods), timeout)
        return Played(done.status, _document(done), done.stderr)

    # --- The machine --------------------------------------------------------------------------------------------------

    def hami(self, *arguments: str, timeout: float = PATIENCE) -> Ran:
        """Any command of hami on this machine."""
        return self._end([*self._hami(), *arguments], None, "", timeout)

    def ask(self, *arguments: str) -> Any:
        """What a command of hami answers with -o json (docs/json.md). CommandFailed: it fails."""
        done = self.hami(*arguments, "-o", "json")
        if done.status:
            raise CommandFailed(done.stderr.strip())
        return _document(done)

    def truth(self) -> Truth:
        """What is allocated on the machine now, by its driver's own books, in bytes."""
        return machine.truth(self.folder)

    def fault(self, kind: str, **options: object) -> Any:
        """Arm a fault, as `hami mock fault add` does: fault("xid", gpu=0, code=79). CommandFailed: it cannot be meant."""
        return self.ask("mock", "fault", "add", kind, *_options(options))

    def restore(self, gpu: int | str) -> Any:
        """Make a GPU well again, as `hami mock restore` does."""
        return self.ask("mock", "restore", str(gpu))

    # ------------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all that runs on it."""
        from hami_core.local import pods, state

        here = state.folder(self.folder.parents[1], self.name)
        if any(one.is_live for one in pods.known(here)):
            self.hami("stop", "--all", "--grace", "0")
        for process in self._started:
            process.kill()
            process.communicate()

    def _hami(self) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", "hami_core.cli")

    def _end(self, command: Sequence[str], env: Mapping[str, str] | None, stdin: str, timeout: float) -> Ran:
        done = subprocess.run(
            list(command),
            env={**self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@contextmanager
def simulated(name: str, settings: Mapping[str, object] | None = None) -> Iterator[SimulatedMachine]:
    """A machine of that name, or described by the TOML file of that path; it and what runs on it are gone in the end.

    ``settings``: as in `--set`. UserError: no such machine, or one that is described wrongly.
    """
    from hami_mock.plugin import hami_machine

    with tempfile.TemporaryDirectory(prefix="hami-") as root:
        made = hami_machine(name, Path(root))
        if made is None:
            raise UserError(f'machine "{name}": hami-mock has none of this name; it has {", ".join(machine.names())}')
        here = SimulatedMachine(made.name, Path(made.folder), _environment(root, name, made.library_path, settings or {}))
        try:
            yield here
        finally:
            here.close()


def _environment(root: str, name: str, libraries: Sequence[str], settings: Mapping[str, object]) -> dict[str, str]:
    """The test's own, less what would lead hami elsewhere. The programs of hami's distributions are found behind all others."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HAMI_")}
    path = os.pathsep.join(filter(None, (kept.get("PATH", os.defpath), str(Path(sys.executable).parent))))
    there = os.pathsep.join(filter(None, (*libraries, kept.get("LD_LIBRARY_PATH", ""))))
    machine = str(Path(name).resolve()) if name.endswith(".toml") else name
    ours = {"PATH": path, "LD_LIBRARY_PATH": there, names.ENV_STATE: root, names.ENV_MACHINE: machine}
    if settings:
        ours[names.ENV_SET] = ",".join(f"{key}={_plain(value)}" for key, value in settings.items())
    return kept | ours


def _run(command: Sequence[str], limits: Mapping[str, object] | None, knobs: Mapping[str, object]) -> list[str]:
    if isinstance(command, str):
        raise TypeError(f'command {command!r}: give its words, as in ["python", "train.py"]')
    _check_shares(str(knobs.get("kind", "nvidia")))
    words = [word for name, value in (limits or {}).items() for word in ("--limit", f"{name}={value}")]
    return ["run", *_options(knobs), *words, "--", *command]


def _check_shares(kind: str) -> None:
    """Without the kind's plugin hami would only say that nobody owns the resource. UserError says what to install."""
    if kind == "nvidia" and not metadata.entry_points(group=names.ENTRY_POINTS, name=kind):
        raise UserError(
            "a share of a GPU needs hami-nvidia, and the interposer that comes with it: pip install 'hami-mock[nvidia]'; "
            "hami-mock alone runs programs on the simulated machine without one (hami_machine.bare, hami_machine.env)"
        )


def _options(options: Mapping[str, object]) -> list[str]:
    """gpumem_percentage=20 -> --gpumem-percentage 20; None is not given."""
    given = {name.rstrip("_"): value for name, value in options.items() if value is not None}
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def _text(pods: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Path | str) -> str:
    if isinstance(pods, Path):
        return pods.read_text(encoding="utf-8")
    if isinstance(pods, str):
        return pods
    several = [pods] if not isinstance(pods, list | tuple) else pods
    return "\n---\n".join(json.dumps(pod) for pod in several)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _document(done: Ran) -> Any:
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise CommandFailed(done.stderr.strip()) from None
