"""`hami nvidia measure-context`: on simulated machines, whose profiles say what a context takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from hami_nvidia import contexts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.command import Node, OnMachine

ODD = """\
schema = "hami-mock/v1"
machine = "odd"
driver = {version = "580.65.06", nvml = "13.580.65.06", cuda = 13000}
defaults = {profile = "odd"}

[profiles.odd]
extends = "t4"
name = "Acme GPU"
context_mib = 77

[[gpus]]
index = 0
bus = "0000:3B:00.0"
numa = 0
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in machine.names() if name != "no-gpus"])
def test_what_is_measured_on_a_simulated_machine_is_the_figure_of_its_models(on: OnMachine, name: str) -> None:
    node = on(name)

    measured = node.ask("nvidia", "measure-context")["contexts"]

    healthy = [one["index"] for one in node.ask("devices")["devices"] if not one["sick"]]
    assert [one["index"] for one in measured] == healthy
    assert [one["memory"] for one in measured] == [contexts.memory(one["model"]) for one in measured]


def test_the_table_ends_with_the_setting_to_write(t4: Node) -> None:
    told = t4.hami("nvidia", "measure-context")

    assert told.status == 0, told.stderr
    assert told.stdout.splitlines()[-1] == "The setting:  --set 'devices.nvidia.contextMemory={\"Tesla T4\": 103}'"


def test_the_setting_that_it_shows_is_one_that_is_taken(t4: Node) -> None:
    shown = t4.hami("nvidia", "measure-context").stdout.partition("--set '")[2].rstrip("'\n")

    charged = t4.hami("--set", shown.replace("103", "150"), "nvidia", "measure-context", "-o", "json").document

    assert [(one["memory"], one["charged"]) for one in charged["contexts"]] == [(103, 150)]


def test_a_model_that_nobody_knows_is_measured_and_charged_the_default(on: OnMachine, tmp_path: Path) -> None:
    description = tmp_path / "odd.toml"
    description.write_text(ODD)

    (found,) = on(str(description)).ask("nvidia", "measure-context")["contexts"]

    assert (found["model"], found["memory"], found["charged"]) == ("Acme GPU", 77, contexts.UNKNOWN)


def test_from_within_a_share_it_is_refused(t4: Node) -> None:
    told = t4.hami("nvidia", "measure-context", env={"HAMI_LIMITS": "/somewhere"})

    assert (told.status, told.stdout) == (2, "")
    assert told.stderr == "hami: HAMI_LIMITS: this process is inside a share and sees its limits; measure from outside\n"


def test_a_context_that_cannot_be_made_is_one_sentence(host: Node) -> None:
    installed = machine.install("t4-node", host.folder / "machine")
    (installed.libraries / "libcuda.so.1").unlink()

    told = host.hami("--set", f"devicePlugin.nvidiaDriverRoot={installed.folder}", "nvidia", "measure-context")

    assert (told.status, told.stdout) == (1, "")
    assert told.stderr.startswith(f"hami: nvidia: {installed.uuids[0]}: no context: {installed.libraries}/libcuda.so.1: ")


def test_without_a_gpu_it_says_so(host: Node) -> None:
    told = host.hami("nvidia", "measure-context")

    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith("hami: this host has no nvidia device")
