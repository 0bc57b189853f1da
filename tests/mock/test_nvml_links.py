"""How the GPUs of a machine reach each other, by NVIDIA's own binding: NVLinks, their far ends, topology, fabric, NUMA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from hami_nvidia.inventory import numa_node
from tests.mock.test_nvml import ask

if TYPE_CHECKING:
    from pathlib import Path

ALL = "gpus = [nvmlDeviceGetHandleByIndex(i) for i in range(nvmlDeviceGetCount())]\n"
NOT_SUPPORTED = 3


def about(name: str, tmp_path: Path, code: str) -> object:
    """What code answers on a fresh machine; it knows ``gpus``."""
    return ask(machine.install(name, tmp_path / name), ALL + code)


@pytest.mark.parametrize(
    ("name", "links", "version", "speed"), [("dgx-a100", 12, 4, 25000), ("dgx-h100", 18, 6, 26562), ("b200", 18, 7, 53125)]
)
def test_the_links_of_a_machine_with_switches_lead_to_them(
    tmp_path: Path, name: str, links: int, version: int, speed: int
) -> None:
    found = about(
        name,
        tmp_path,
        "links = [i for i in range(NVML_NVLINK_MAX_LINKS) if i < nvmlDeviceGetFieldValues(gpu, [91])[0].value.uiVal]\n"
        "answer([sum(nvmlDeviceGetNvLinkState(gpu, i) for i in links), nvmlDeviceGetNvLinkVersion(gpu, 0),"
        "nvmlDeviceGetFieldValues(gpu, [90])[0].value.uiVal,"
        "{nvmlDeviceGetNvLinkRemoteDeviceType(gpu, i) for i in links} == {2}])",
    )

    assert found == [links, version, speed, True]


def test_the_links_of_a_bridge_lead_to_the_other_gpu(tmp_path: Path) -> None:
    found = about(
        "a30-node",
        tmp_path,
        "answer([[nvmlDeviceGetNvLinkRemotePciInfo(one, i).busId for i in range(4)] for one in gpus]"
        "+ [nvmlDeviceGetNvLinkRemoteDeviceType(gpus[0], 3),"
        "nvmlDeviceGetP2PStatus(gpus[0], gpus[1], NVML_P2P_CAPS_INDEX_NVLINK)])",
    )

    assert found == [["00000000:65:00.0"] * 4, ["00000000:17:00.0"] * 4, 0, 0]


def test_a_link_beyond_the_chips_is_not_supported(tmp_path: Path) -> None:
    code = "found = []\nfor link in (4, 35):\n    try:\n        nvmlDeviceGetNvLinkState(gpu, link)\n"
    code += "    except NVMLError as error:\n        found.append(error.value)\n"

    assert about("a30-node", tmp_path, code + "answer(found)") == [NOT_SUPPORTED] * 2
    assert about("t4x4", tmp_path, code + "answer(found)") == [NOT_SUPPORTED] * 2


def test_each_field_is_answered_or_refused_by_itself(tmp_path: Path) -> None:
    found = about("t4x4", tmp_path, "answer([one.nvmlReturn for one in nvmlDeviceGetFieldValues(gpu, [1, 91, 82, 230, 94])])")

    assert found == [0, NOT_SUPPORTED, NOT_SUPPORTED, 0, 0]


def test_the_nearest_gpus_are_those_at_that_level_or_nearer(tmp_path: Path) -> None:
    code = "near = lambda level: [nvmlDeviceGetIndex(one) for one in nvmlDeviceGetTopologyNearestGpus(gpus[2], level)]\n"
    code += "answer([near(level) for level in (20, 40, 50)])"

    assert about("dgx-a100", tmp_path, code) == [[3], [3], [0, 1, 3, 4, 5, 6, 7]]


def test_processors_and_memory_near_a_gpu_are_those_of_its_numa_node(tmp_path: Path) -> None:
    code = "answer([list(nvmlDeviceGetCpuAffinity(gpus[2], 4)), list(nvmlDeviceGetMemoryAffinity(gpus[2], 1, 0)),"
    code += "[nvmlDeviceGetIndex(one) for one in nvmlSystemGetTopologyGpuSet(17)]])"

    assert about("t4x4", tmp_path, code) == [[0xFFFF0000, 0, 0, 0], [2], [2, 3]]


def test_a_rack_is_one_fabric_and_a_board_is_one_without_a_clique(tmp_path: Path) -> None:
    code = "info = c_nvmlGpuFabricInfo_v2_t()\ninfo.version = nvmlGpuFabricInfo_v2\n"
    code += "nvmlDeviceGetGpuFabricInfoV(gpu, byref(info))\n"
    code += "answer([info.state, info.cliqueId, any(info.clusterUuid)])"

    assert about("gb200", tmp_path, code) == [3, 32766, True]
    assert about("dgx-h100", tmp_path, code) == [3, 0, False]
    assert about("dgx-a100", tmp_path, code) == [0, 0, False]


def test_the_kernels_view_of_a_gpu_says_its_numa_node(tmp_path: Path) -> None:
    on = machine.install("dgx-a100", tmp_path / "dgx-a100")
    weird = machine.install("weird", tmp_path / "weird")

    assert [numa_node(f"00000000:{bus}:00.0", str(on.folder)) for bus in ("07", "47", "BD")] == [3, 1, 5]
    assert [numa_node(bus, str(weird.folder)) for bus in ("00000000:81:00.0", "00000000:C1:00.0")] == [None, 1]
    assert (on.folder / "sys/bus/pci/devices/0000:07:00.0/device").read_text() == "0x20b0\n"
