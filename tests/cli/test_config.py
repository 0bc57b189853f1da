"""`hami config`, and that a value means the same wherever it comes from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.command import Node

FILE = """\
devicePlugin:
  deviceSplitCount: 4
  deviceMemoryScaling: 1.5
  disablecorelimit: "true"
  filterDevices: {index: [1, 2]}
  nodeConfiguration:
    config: '{"nodeconfig": [{"name": "t4-*", "libcudaloglevel": 2}]}'
devices: {nvidia: {contextMemory: {Tesla T4: 150, "*": 0}}}
resourceName: example.com/vgpu
nodes:
- match: t4-node
  devicePlugin: {deviceCoreScaling: 2}
"""
ASSIGNMENTS = [
    "devicePlugin.deviceSplitCount=4",
    "devicePlugin.deviceMemoryScaling=1.5",
    "devicePlugin.disablecorelimit=true",
    "devicePlugin.filterDevices.index=[1, 2]",
    'devicePlugin.nodeConfiguration.config={"nodeconfig": [{"name": "t4-*", "libcudaloglevel": 2}]}',
    "devices.nvidia.contextMemory.Tesla T4=150",
    "devices.nvidia.contextMemory.*=0",
    "resourceName=example.com/vgpu",
    "nodes=[{match: t4-node, devicePlugin: {deviceCoreScaling: 2}}]",
]
IN_FORCE = {
    "devicePlugin.deviceSplitCount": 4,
    "devicePlugin.deviceMemoryScaling": 1.5,
    "devicePlugin.deviceCoreScaling": 2.0,
    "devicePlugin.disablecorelimit": True,
    "devicePlugin.filterDevices.index": [1, 2],
    "devicePlugin.nodeConfiguration.config": {"nodeconfig": [{"name": "t4-*", "libcudaloglevel": 2}]},
    "devices.nvidia.contextMemory": {"Tesla T4": 150, "*": 0},
    "devices.nvidia.libCudaLogLevel": 2,
    "nodes": [{"match": "t4-node", "devicePlugin": {"deviceCoreScaling": 2}}],
    "resourceName": "example.com/vgpu",
}


def changed(document: Any) -> dict[str, Any]:
    """Path -> value of the settings that are not at their default, the machine's own apart."""
    return {
        one["path"]: one["value"]
        for one in document["settings"]
        if one["source"] != "default" and not one["source"].startswith("machine")
    }


@pytest.mark.parametrize("source", ["--config", "HAMI_SET", "--set", "--set, all in one"])
def test_a_value_means_the_same_in_a_file_in_the_environment_and_on_the_command_line(t4: Node, source: str) -> None:
    options = {
        "--config": ["--config", t4.write("values.yaml", FILE)],
        "HAMI_SET": [],
        "--set": [word for item in ASSIGNMENTS for word in ("--set", item)],
        "--set, all in one": ["--set", ",".join(ASSIGNMENTS)],
    }[source]
    env = {"HAMI_SET": ",".join(ASSIGNMENTS)} if source == "HAMI_SET" else {}

    told = t4.hami(*options, "config", "-o", "json", env=env)

    assert told.status == 0, told.stderr
    assert changed(told.document) == IN_FORCE


def test_every_value_is_shown_with_its_source(t4: Node) -> None:
    values = t4.write("values.yaml", FILE)

    told = t4.hami("--config", values, "--set", "devices.nvidia.contextMemory.NVIDIA*=9", "config").stdout

    assert "devicePlugin.deviceSplitCount = 4  (values.yaml; default 10)\n" in told
    assert 'devicePlugin.deviceCoreScaling = 2  (values.yaml, nodes[0] "t4-node"; default 1)\n' in told
    assert 'devices.nvidia.libCudaLogLevel = 2  (values.yaml, nodeconfig[0] "t4-*"; default 1)\n' in told
    assert 'devices.nvidia.contextMemory = {"Tesla T4": 150, "*": 0, "NVIDIA*": 9}  (values.yaml, --set; default {})\n' in told
    assert "devicePlugin.filterDevices.uuid = []  (default)\n" in told


def test_this_computer_is_a_node_by_its_host_name(host: Node) -> None:
    entries = f"nodes=[{{match: {os.uname().nodename}, mock.devices: 2}}, {{match: elsewhere, mock.devices: 3}}]"

    told = host.hami("--set", entries, "devices", "-o", "json")

    assert [one["kind"] for one in told.document["devices"]] == ["mock", "mock"]


def test_two_resources_of_one_name_are_refused_with_both_settings(t4: Node) -> None:
    told = t4.hami("--set", "resourceMem=example.com/x", "--set", "resourceCores=example.com/x", "devices")

    assert (told.status, told.stdout) == (2, "")
    assert told.stderr == (
        'hami: settings (--set): resourceCores: "example.com/x" is the resource name of resourceMem too; '
        "give each one of its own\n"
    )


def test_a_resource_name_of_another_plugin_is_refused_with_both_plugins(t4: Node) -> None:
    told = t4.hami("--set", "resourceName=mock.dev/device", "devices")

    assert told.status == 1
    assert 'resource name "mock.dev/device" is claimed by "mock" and "nvidia"; rename one in the settings' in told.stderr


def test_where_settings_keep_every_device_out_it_is_said(t4: Node) -> None:
    told = t4.hami("--set", "devicePlugin.filterDevices.index=[0]", "devices")

    assert told.status == 2
    assert told.stderr == ("hami: the devices of t4-node are all kept out of sharing by settings; `hami config` shows which\n")
