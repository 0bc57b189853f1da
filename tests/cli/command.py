"""Real ``hami`` processes on a simulated machine, as tests call them. What is tested is not here.

The environment is bare, as for somebody who has not activated the virtual environment: PATH names the system's folders alone.
``Node.start`` runs the installed command. ``Node.hami`` forks a process that has loaded the same modules already, because most
of a short command's time is Python's start; it is a process of its own all the same, with its own streams, folder and signals.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from attrs import define, field, frozen

import hami_native
from hami_nvidia import contexts
from tests.cli import forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    OnMachine = Callable[..., "Node"]

MIB = 1 << 20
PATIENCE = 60  # seconds for what takes one; a test that hangs names the line that it waited for
HAMI = str(Path(sys.executable).with_name("hami"))
PROBE = str(hami_native.probe())


@frozen
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """What was printed, if that is exactly one JSON document and nothing else."""
        return json.loads(self.stdout)


@define(eq=False)
class Running:
    """A command that runs, and what it has said so far."""

    process: subprocess.Popen[str]
    lines: queue.SimpleQueue[tuple[str, str]] = field(factory=queue.SimpleQueue)
    said: dict[str, list[str]] = field(factory=lambda: {"stdout": [], "stderr": []})
    readers: list[threading.Thread] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        for name, stream in (("stdout", self.process.stdout), ("stderr", self.process.stderr)):
            assert stream is not None
            self.readers.append(threading.Thread(target=self._read, args=(name, stream), daemon=True))
            self.readers[-1].start()

    def _read(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            self.said[name].append(line)
            self.lines.put((name, line))
        stream.close()

    def until(self, text: str) -> str:
        """The next line, of either stream, that holds this text."""
        while True:
            try:
                _, line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                pytest.fail(f'"{text}" was never said; what was: {self.said}')
            if text in line:
                return line.rstrip("\n")

    def signal(self, number: int) -> None:
        """To hami itself, not to its workload."""
        self.process.send_signal(number)

    def close_input(self) -> None:
        """No more standard input: what a workload waits for that reads it to its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> Ended:
        """Wait for its end, and for the end of everybody who holds its streams."""
        status = self.process.wait(PATIENCE)
        for reader in self.readers:
            reader.join(PATIENCE)
        return Ended(status, "".join(self.said["stdout"]), "".join(self.said["stderr"]))

    def stop(self) -> None:
        """Leave nothing behind."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)


@define(eq=False)
class Node:
    """One machine with a state folder of its own. ``machine`` None: this host, as it is."""

    machine: str | None
    folder: Path
    env: dict[str, str]
    running: list[Running] = field(factory=list)

    def hami(self, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
        """One command, to its end."""
        with tempfile.TemporaryDirectory() as folder:
            streams = Path(folder)
            (streams / "stdin").write_text(stdin, encoding="utf-8")
            process = forked.process(self._arguments(arguments), {**self.env, **(env or {})}, self.folder, streams)
            process.start()
            process.join(PATIENCE)
            if process.exitcode is None:
                process.terminate()
                process.join()
                pytest.fail(f"hami {' '.join(arguments)} did not end in {PATIENCE} s")
            return Ended(process.exitcode, (streams / "stdout").read_text(), (streams / "stderr").read_text())

    def hami_anew(self, *arguments: str, env: Mapping[str, str]) -> Ended:
        """One command from Python's start on, for variables that Python itself reads."""
        running = self.start(*arguments, env=env)
        running.close_input()
        return running.end()

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Running:
        """One command, to be talked with."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [HAMI, *self._arguments(arguments)],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**self.env, **(env or {})},
            cwd=self.folder,
            text=True,
        )
        self.running.append(Running(process))
        return self.running[-1]

    def play(self, *pods: Mapping[str, Any], options: Sequence[str] = ()) -> Ended:
        """These manifests by standard input."""
        return self.hami("play", *options, "-", stdin="\n---\n".join(json.dumps(pod) for pod in pods))

    def ask(self, *arguments: str) -> Any:
        """The document that a command answers with."""
        done = self.hami(*arguments, "-o", "json")
        assert done.status == 0, done.stderr
        return done.document

    def truth(self) -> list[dict[str, Any]]:
        """The devices as the simulated driver's own books have them, in bytes."""
        found: list[dict[str, Any]] = self.ask("mock", "truth")["devices"]
        return found

    def write(self, name: str, text: str) -> str:
        """A file in the folder that commands run in; its name."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def _arguments(self, arguments: Sequence[str]) -> list[str]:
        return [*(("--machine", self.machine) if self.machine else ()), *arguments]


def bare_environment(state: Path) -> dict[str, str]:
    """What a new user's shell has, and a state folder of one's own. Bytecode is kept, as on any machine."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin", "HAMI_STATE_DIR": str(state)}


@contextmanager
def nodes(folder: Path) -> Iterator[OnMachine]:
    """Makes nodes, and leaves no process of theirs behind."""
    made: list[Node] = []
    state, work = folder / "state", folder / "work"
    state.mkdir(mode=0o700)
    work.mkdir()

    def on(machine: str | None) -> Node:
        made.append(Node(machine, work, bare_environment(state)))
        return made[-1]

    try:
        yield on
    finally:
        for running in (running for node in made for running in node.running):
            running.stop()


@pytest.fixture
def on(tmp_path: Path) -> Iterator[OnMachine]:
    """Makes a node: ``on("t4x4")``."""
    with nodes(tmp_path) as on:
        yield on


@pytest.fixture
def t4(on: OnMachine) -> Node:
    """One simulated machine with one Tesla T4 of 15360 MiB."""
    return on("t4-node")


@pytest.fixture
def host(on: OnMachine, needs: Callable[..., None]) -> Node:
    """This host, which has no accelerator."""
    needs("a host without a GPU", here=not Path("/dev/nvidiactl").exists())
    return on(None)


def a_container(name: str = "main", command: Sequence[str] = ("true",), **limits: object) -> dict[str, Any]:
    """A container that asks for shares: ``a_container(gpumem=3000)``."""
    resources = {"limits": {f"nvidia.com/{knob.replace('_', '-')}": value for knob, value in limits.items()}}
    return {"name": name, "command": list(command), "resources": resources}


def a_pod(*containers: Mapping[str, Any], name: str = "pod", **spec: object) -> dict[str, Any]:
    """A Pod that runs once."""
    body = {"containers": list(containers) or [a_container(gpu=1)], "restartPolicy": "Never", **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}


def room(mib: int, model: str = "Tesla T4") -> int:
    """Bytes that one program can hold in a share of so many MiB: without those that its context takes."""
    return (mib - contexts.memory(model)) * MIB


def seen(output: str) -> list[dict[str, Any]]:
    """What each ``hami-probe --json`` said, in the order in which they ended; their lines may have prefixes."""
    return [json.loads(line[line.index("{") :]) for line in output.splitlines() if '{"v": 1, "pid"' in line]


def wait_until_dead(pid: int) -> None:
    """Return when the process has ended, all that it held being let go."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE)[0], f"process {pid} lives on"
    finally:
        os.close(descriptor)


def kill(pid: int) -> None:
    """SIGKILL, to a process that a test started and knows the number of."""
    os.kill(pid, signal.SIGKILL)
