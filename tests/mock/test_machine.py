"""A machine as a folder: installed once, shared by everybody, and what the command line says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from hami_core.errors import StateError
from hami_mock import machine, plugin
from hami_mock.commands import mock

if TYPE_CHECKING:
    from hami_mock.machine import Machine
    from tests.mock.conftest import Program

MIB = 1 << 20
MINE = """
schema = "hami-mock/v1"
machine = "t4-node"
driver = {version = "1", nvml = "1", cuda = 12020}
defaults = {profile = "t4"}
[[gpus]]
index = 0
bus = "0000:3B:00.0"
"""


def test_a_machine_that_is_there_keeps_its_state(node: Machine, program: Program) -> None:
    program.start().alloc(MIB)

    again = machine.install("t4-node", node.folder)

    assert again == node
    assert machine.truth(node.folder).devices[0].requested == MIB


def test_many_processes_may_install_the_same_machine_at_once(tmp_path: Path) -> None:
    code = "import sys, pathlib, hami_mock.machine as m; print(m.install('t4x4', pathlib.Path(sys.argv[1])).uuids)"

    def install(_: int) -> str:
        return subprocess.run([sys.executable, "-c", code, tmp_path / "m"], capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(install, range(6)))

    assert len(found) == 1
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["lib", "lock", "state", "sys"]


def test_another_description_in_the_same_folder_is_refused(node: Machine, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(MINE)

    with pytest.raises(
        StateError, match="holds the machine t4-node, made from another description; remove the folder or choose"
    ):
        machine.install(str(mine), node.folder)


def test_a_state_of_another_version_is_refused(node: Machine) -> None:
    (node.folder / "state").write_bytes(b"\0" * 100)

    with pytest.raises(StateError, match="is no state of a simulated machine of this version"):
        machine.install("t4-node", node.folder)
    with pytest.raises(StateError, match="is no state of a simulated machine of this version"):
        machine.truth(node.folder)


def test_a_folder_without_a_machine_has_no_truth(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="No such file or directory"):
        machine.truth(tmp_path)


def test_the_core_finds_a_machine_with_the_settings_that_lead_to_it(tmp_path: Path) -> None:
    found = plugin.hami_machine("dgx-a100", tmp_path)

    assert found is not None
    assert found.name == "dgx-a100"
    assert dict(found.settings) == {"devicePlugin.nvidiaDriverRoot": found.folder}
    assert sorted(path.name for path in Path(found.library_path[0]).iterdir()) == ["libcuda.so.1", "libnvidia-ml.so.1"]
    assert plugin.hami_machine("nobody-knows-it", tmp_path) is None


def test_a_machine_of_ones_own_is_found_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE.replace("t4-node", "mine"))

    found = plugin.hami_machine(str(tmp_path / "mine.toml"), tmp_path)

    assert found is not None
    assert found.name == "mine"


def test_the_command_lists_the_machines() -> None:
    listed = json.loads(CliRunner().invoke(mock, ["machines", "-o", "json"]).stdout)

    assert [one["name"] for one in listed["machines"]] == list(machine.names())
    assert {"name": "t4x4", "gpus": ["Tesla T4"] * 4} in listed["machines"]
    assert "dgx-h100" in CliRunner().invoke(mock, ["machines"]).stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, hami_mock.plugin, hami_mock.commands\n"
    code += "print(sorted({'numpy', 'cffi', 'rich', 'pynvml'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
