"""A vendor that exists only here, a host that has its cards, and pods for it; and a hami of its own process to be killed.

python -m tests.local.acme <state folder> <MiB of the one card> <manifest>...
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hami_core import hookimpl, plugins
from hami_core.local import host, manifest, output, play
from hami_core.model import Account, Capacity, Device, DeviceInventory, Kind, Machine, Mounts, ProcessUse, Resources, Usage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hami_core.local.events import Event, Played
    from hami_core.local.host import Host
    from hami_core.local.manifest import PodSpec
    from hami_core.plugins import Answers, Plugins

KIND = Kind(
    name="acme",
    resources=Resources(count="acme.dev/card", memory="acme.dev/mem", cores="acme.dev/cores"),
    visible_env="ACME_VISIBLE",
)
REPOSITORY = Path(__file__).parents[2]


class Acme:
    """The vendor's plugin: ``memory`` MiB by card."""

    def __init__(
        self,
        memory: Sequence[int],
        mounts: Mounts | None = None,
        uses: Sequence[ProcessUse] = (),
        account: Account | None = None,
    ) -> None:
        self.memory, self.mounts, self.uses, self.account = memory, mounts, tuple(uses), account

    @hookimpl
    def hami_kinds(self) -> list[Kind]:
        return [KIND]

    @hookimpl
    def hami_discover(self) -> list[DeviceInventory]:
        cards = [Device(f"card-{n}", n, "Acme One", memory) for n, memory in enumerate(self.memory)]
        return [DeviceInventory("acme", tuple(cards))] if cards else []

    @hookimpl
    def hami_split(self, kind: Kind, inventory: DeviceInventory) -> list[Capacity]:
        return [Capacity(card.id, card.model, 10, card.memory, card.memory) for card in inventory.devices]

    @hookimpl
    def hami_mounts(self) -> Mounts | None:
        return self.mounts

    @hookimpl
    def hami_usage(self) -> Usage:
        return Usage(processes=self.uses)

    @hookimpl
    def hami_accounts(self, limits: Mapping[str, str]) -> dict[str, Account]:
        return dict.fromkeys(limits, self.account) if self.account else {}

    @hookimpl
    def hami_machines(self) -> list[str]:
        return ["toy"]

    @hookimpl
    def hami_machine(self, name: str, state: Path) -> Machine | None:
        machine = Machine(name, str(state / name), env=(("ON_MACHINE", name),), library_path=("/machine/lib",))
        return machine if name == "toy" else None


class Here:
    """Asks drivers in this process: a vendor that exists only here can be asked nowhere else."""

    def __init__(self, loaded: Plugins, seconds: float) -> None:
        self.plugins, self.seconds = loaded, seconds

    def ask_each(self, hook: str, without: Collection[str] = (), **arguments: object) -> Answers:
        return self.plugins.ask_each(hook, without, **arguments)

    def close(self) -> None:
        pass


def a_host(root: Path, memory: Sequence[int] = (8000,), machine: str | None = None, plugin: Acme | None = None) -> Host:
    """This host with one card for each of ``memory``."""
    found = plugins.Found("acme", "acme", "1", lambda: plugin or Acme(memory))
    return host.open_host(plugins.load([found], block=""), (), machine, root, Here)


def a_container(command: Sequence[str] | str = "true", name: str = "main", **more: Any) -> dict[str, Any]:
    """A container's manifest; a text is a shell's program; ``limits`` are its resource limits."""
    words = ["sh", "-c", command.replace("$", "$$")] if isinstance(command, str) else list(command)
    limits = more.pop("limits", {})
    return {"name": name, "command": words, "resources": {"limits": limits}, **more}


def a_manifest(*containers: dict[str, Any], name: str = "pod", **spec: Any) -> dict[str, Any]:
    """A pod's manifest that runs once."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": list(containers) or [a_container()], **spec},
    }


def a_pod(here: Host, *containers: dict[str, Any], **spec: Any) -> PodSpec:
    """A checked pod that runs once."""
    return manifest.pod(a_manifest(*containers, **spec), "test", here.catalogue)


def played(here: Host, *pods: PodSpec, **options: Any) -> tuple[Played, list[Event]]:
    """The pods' end, and every event on the way."""
    events: list[Event] = []
    return play.play(here, pods, events.append, **options), events


def card(mem: int, count: int = 1) -> dict[str, int]:
    """Limits for so much memory of a card."""
    return {"acme.dev/card": count, "acme.dev/mem": mem}


def hami(root: Path, memory: int, *manifests: Path, **options: Any) -> subprocess.Popen[str]:
    """A hami of its own process; each event is a line of its standard error."""
    command = [sys.executable, "-m", "tests.local.acme", str(root), str(memory), *map(str, manifests)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True, **options)


def tell(event: Event) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{json.dumps([type(event).__name__, str(event)])}\n")
    sys.stderr.flush()


def until(process: subprocess.Popen[str], event: str) -> str:
    """Read the process's events up to one of this name, and return its text. Ends with the process, if it never comes."""
    assert process.stderr
    for line in process.stderr:
        if line.startswith("["):
            name, text = json.loads(line)
            if name == event:
                return str(text)
    raise AssertionError(f"hami ended without {event}")


def main(root: str, memory: str, *manifests: str) -> int:
    here = a_host(Path(root), [int(memory)])
    return play.play(here, manifest.read(manifests, here.catalogue), tell, output.THROUGH).status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
