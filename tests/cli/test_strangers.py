"""Plugins of strangers, installed as a folder on the path: broken ones are reported and stop nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.cli.command import Node

pytestmark = pytest.mark.slow

GOOD = """\
from hami_core import hookimpl
from hami_core.model import Device, DeviceInventory, Kind, Resources

@hookimpl
def hami_kinds():
    return [Kind("acme", Resources(count="acme.example/card"), visible_env="ACME_VISIBLE_CARDS")]

@hookimpl
def hami_discover():
    return [DeviceInventory("acme", (Device(id="acme0", index=0, model="Acme One", memory=16384),))]
"""


def installed(folder: Path, name: str, code: str) -> Mapping[str, str]:
    """A distribution of one plugin as an installer leaves it, and the variable that lets Python find it."""
    info = folder / f"hami_{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hami-{name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[hami]\n{name} = hami_{name}\n")
    (folder / f"hami_{name}.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


def test_a_strangers_device_is_run_on_beside_those_of_others(host: Node, tmp_path: Path) -> None:
    env = {**installed(tmp_path / "site", "acme", GOOD), "HAMI_SET": "mock.devices=1"}

    done = host.hami_anew("run", "--kind", "acme", "--", "sh", "-c", "echo $ACME_VISIBLE_CARDS $MOCK_VISIBLE_DEVICES", env=env)

    assert (done.status, done.stdout) == (0, "acme0 void\n")


def test_a_simulated_machine_has_no_device_of_the_host(t4: Node, tmp_path: Path) -> None:
    env = installed(tmp_path / "site", "acme", GOOD)

    shown = t4.hami_anew("devices", "-o", "json", env=env)
    refused = t4.hami_anew("run", "--kind", "acme", "--", "true", env=env)

    assert [one["kind"] for one in shown.document["devices"]] == ["nvidia"]
    assert (refused.status, refused.stderr) == (125, "hami: the simulated machine t4-node has no acme device\n")


def test_two_owners_of_a_name_stop_every_command_that_needs_names(t4: Node, tmp_path: Path) -> None:
    env = installed(tmp_path / "site", "acme", GOOD.replace("acme.example/card", "nvidia.com/gpu"))

    done = t4.hami_anew("run", "--", "true", env=env)

    assert (done.status, done.stdout) == (125, "")
    (line,) = done.stderr.splitlines()
    assert 'resource name "nvidia.com/gpu" is claimed by "acme" and "nvidia"; rename one in the settings or block one' in line
    assert t4.hami_anew("run", "--", "true", env={**env, "HAMI_BLOCK": "acme"}).status == 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param("raise RuntimeError('no licence')", "RuntimeError: no licence", id="raises on import"),
        pytest.param("import sys; sys.exit('bye')", "SystemExit: bye", id="exits on import"),
        pytest.param(GOOD.replace("hami_discover", "hami_discver"), "hami_discver", id="a misspelt hook"),
    ],
)
def test_a_broken_plugin_is_reported_and_the_others_work(t4: Node, tmp_path: Path, code: str, reason: str) -> None:
    env = installed(tmp_path / "site", "acme", code)

    told = t4.hami_anew("plugins", "-o", "json", env=env)
    worked = t4.hami_anew("run", "--gpumem", "1000", "--", "true", env=env)

    assert told.status == worked.status == 0
    assert [one["name"] for one in told.document["plugins"]] == ["mock", "node", "nvidia", "scheduler", "webhook"]
    assert [one["name"] for one in told.document["failures"]] == ["acme"]
    assert reason in told.document["failures"][0]["reason"]
    assert "Traceback" not in worked.stderr
    (warning,) = [line for line in worked.stderr.splitlines() if line.startswith("hami:")]
    assert warning.startswith("hami: left out: ")
    assert "acme" in warning
    assert reason in warning


def test_a_plugin_that_fails_when_asked_hides_no_other(host: Node, tmp_path: Path) -> None:
    broken = GOOD.replace("    return [DeviceInventory", "    raise OSError('card fell out')\n    return [DeviceInventory")
    env = {**installed(tmp_path / "site", "acme", broken), "HAMI_SET": "mock.devices=1"}

    done = host.hami_anew("devices", "-o", "json", env=env)

    assert [one["kind"] for one in done.document["devices"]] == ["mock"]
    assert done.stderr == 'hami: plugin "acme": OSError: card fell out\n'

    debugged = host.hami_anew("--debug", "devices", env=env)
    assert "in hami_discover" in debugged.stderr


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (
            "return DeviceInventory('acme', ())",
            "hami_discover: answers DeviceInventory where a list of DeviceInventory belongs",
        ),
        ("return [DeviceInventory('amce', ())]", 'hami_discover: lists devices of the kind "amce", which nobody owns'),
        ("return [DeviceInventory('mock', ())]", 'hami_discover: lists devices of the kind "mock", which "mock" owns'),
    ],
    ids=["no list", "an unknown kind", "another's kind"],
)
def test_an_answer_that_is_none_is_its_plugins_fault(host: Node, tmp_path: Path, wrong: str, fault: str) -> None:
    code = GOOD.replace("    return [DeviceInventory", f"    {wrong}\n    return [DeviceInventory")
    env = {**installed(tmp_path / "site", "acme", code), "HAMI_SET": "mock.devices=1"}

    done = host.hami_anew("devices", "-o", "json", env=env)

    assert [one["kind"] for one in done.document["devices"]] == ["mock"]
    assert done.stderr == f'hami: plugin "acme": hook {fault}\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hook", "fault"),
    [
        ("hami_split(kind): return 16384", "hami_split: answers 16384 (int) where a list of Capacity belongs"),
        ("hami_mounts(kind): return {}", "hami_mounts: answers dict where Mounts belongs"),
        ("hami_grant(kind): return 'acme0'", "hami_grant: answers 'acme0' (str) where Grant belongs"),
        ("hami_mounts(kind): raise OSError('gone')", "hami_mounts: OSError: gone"),
    ],
)
def test_an_answer_of_another_shape_on_the_way_to_a_share_names_its_plugin(
    host: Node, tmp_path: Path, hook: str, fault: str
) -> None:
    code = f"{GOOD}\n@hookimpl\ndef {hook}\n"
    env = installed(tmp_path / "site", "acme", code)

    done = host.hami_anew("run", "--kind", "acme", "--", "true", env=env)

    assert (done.status, done.stderr) == (125, f'hami: plugin "acme": hook {fault}\n')


def test_a_driver_that_hangs_costs_its_deadline_and_the_others_answer(host: Node, tmp_path: Path) -> None:
    hangs = GOOD.replace("    return [DeviceInventory", "    import time; time.sleep(3600)\n    return [DeviceInventory")
    env = {**installed(tmp_path / "site", "acme", hangs), "HAMI_SET": "mock.devices=1,driver.deadlineSeconds=0.5"}

    done = host.hami_anew("devices", "-o", "json", env=env)

    assert [one["kind"] for one in done.document["devices"]] == ["mock"]
    assert done.stderr == "hami: acme: hami_discover gave no answer within 0.5 s, and was given up\n"


def test_a_driver_that_crashes_or_prints_spoils_no_answer(host: Node, tmp_path: Path) -> None:
    crashes = GOOD.replace(
        "    return [DeviceInventory", "    print('noise'); import ctypes; ctypes.string_at(0)\n    return [Dev", 1
    )
    crashes = crashes.replace("[Dev(", "[DeviceInventory(")
    env = {**installed(tmp_path / "site", "acme", crashes), "HAMI_SET": "mock.devices=1"}

    done = host.hami_anew("devices", "-o", "json", env=env)

    assert [one["kind"] for one in done.document["devices"]] == ["mock"]
    assert "hami: acme: hami_discover: the process that asked the driver was ended by SIGSEGV\n" in done.stderr
