"""How GPUs are connected, from what the driver says of them, refuses, or says differently at the two ends."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core import wire
from hami_core.model import DeviceInventory, Link
from hami_nvidia import links
from hami_nvidia.inventory import taken
from tests.nvidia.driver import INVALID_ARGUMENT, LOST, NOT_SUPPORTED, SWITCH, FakeGpu, FakeNvml, address, gpus

if TYPE_CHECKING:
    from hami_nvidia.nvml import Nvml

HYBRID = (  # four GPUs as on a P3 machine: two lanes to two neighbours, one to the third
    (address(1), address(1), address(2), address(2), address(3)),
    (address(0), address(0), address(3), address(3), address(2)),
    (address(3), address(3), address(0), address(0), address(1)),
    (address(2), address(2), address(1), address(1), address(0)),
)


def between(nvml: Nvml, **numa: int | None) -> tuple[Link, ...]:
    return links.between(nvml, [nvml.gpu(index) for index in range(nvml.count())], numa)


def one(fake: FakeNvml, **numa: int | None) -> Link:
    (found,) = between(fake.nvml, **numa)
    return found


@pytest.mark.parametrize(
    ("ancestor", "word", "score"),
    [(0, "PIX", 60), (10, "PIX", 50), (20, "PXB", 40), (30, "PHB", 30), (40, "NODE", 20), (50, "SYS", 10)],
)
def test_the_nearer_on_pcie_the_better(ancestor: int, word: str, score: int) -> None:
    fake = FakeNvml(gpus(2), ancestors={(0, 1): ancestor})

    assert one(fake) == Link("GPU-0", "GPU-1", word, lanes=0, score=score, peer=True)


def test_lanes_that_end_at_the_other_gpu_count_a_hundred_each() -> None:
    found = between(FakeNvml(gpus(4, *HYBRID)).nvml)

    assert [(link.a, link.b, link.type, link.lanes, link.score) for link in found] == [
        ("GPU-0", "GPU-1", "NV2", 2, 210),
        ("GPU-0", "GPU-2", "NV2", 2, 210),
        ("GPU-0", "GPU-3", "NV1", 1, 110),
        ("GPU-1", "GPU-2", "NV1", 1, 110),
        ("GPU-1", "GPU-3", "NV2", 2, 210),
        ("GPU-2", "GPU-3", "NV2", 2, 210),
    ]


def test_a_switch_connects_all_to_all() -> None:
    found = between(FakeNvml(gpus(8, *[(SWITCH,) * 18] * 8)).nvml)

    assert len(found) == 28
    assert {(link.type, link.lanes, link.score) for link in found} == {("NV18", 18, 1810)}


def test_two_fabrics_in_one_node_are_apart() -> None:
    names = {0: (b"a" * 16, 1), 1: (b"a" * 16, 1), 2: (b"a" * 16, 2)}

    found = between(FakeNvml(gpus(3, *[(SWITCH,) * 18] * 3), fabrics=names).nvml)

    assert [link.type for link in found] == ["NV18", "SYS", "SYS"]


def test_a_lane_that_is_down_does_not_count() -> None:
    pair = ((address(1), None, address(1)), (address(0), None, address(0)))

    assert one(FakeNvml(gpus(2, *pair))).type == "NV2"


def test_all_lanes_down_leave_pcie() -> None:
    assert one(FakeNvml(gpus(2, (None, None), (None, None)))).type == "SYS"


def test_where_the_ends_differ_the_smaller_holds() -> None:
    pair = ((address(1),) * 4, (address(0), address(0), None, None))

    assert one(FakeNvml(gpus(2, *pair))).type == "NV2"


def test_where_one_end_says_nothing_the_other_is_believed() -> None:
    fake = FakeNvml(gpus(2, (address(1),) * 4, ()))

    assert one(fake).type == "NV4"


def test_an_address_is_the_same_in_any_spelling() -> None:
    fake = FakeNvml((FakeGpu(0, "00000000:0A:00.0", ("0000:0b:00.0",)), FakeGpu(1, "00000000:0B:00.0", ("0000:0A:00.0",))))

    assert one(fake).type == "NV1"


def test_a_long_domain_is_another_bus() -> None:
    fake = FakeNvml(
        (FakeGpu(0, "00000000:01:00.0", ("00010000:01:00.0",)), FakeGpu(1, "00010000:01:00.0", ("00000000:01:00.0",)))
    )

    assert one(fake).type == "NV1"
    assert one(FakeNvml((FakeGpu(0, "00000000:01:00.0", ("00000000:02:00.0",)), FakeGpu(1, "00010000:02:00.0")))).type == "SYS"


def test_a_lane_to_a_gpu_that_is_not_here_counts_for_nobody() -> None:
    fake = FakeNvml(gpus(2, (address(7),), (address(7),)))

    assert one(fake).type == "SYS"


def test_nvlink_that_peers_may_not_use_is_shown_and_does_not_count() -> None:
    fake = FakeNvml(gpus(2, (SWITCH,) * 18, (SWITCH,) * 18), peers={(0, 1, 0): 5, (0, 1, 2): 5})

    assert one(fake) == Link("GPU-0", "GPU-1", "NV18", lanes=18, score=10, peer=False)


def test_peers_are_peers_in_both_directions_or_not_at_all() -> None:
    assert one(FakeNvml(gpus(2), peers={(1, 0, 0): 3})).peer is False


@pytest.mark.parametrize(("numa", "word"), [((0, 0), "NODE"), ((0, 1), "SYS"), ((0, None), "N/A")])
def test_without_a_word_on_pcie_the_numa_nodes_tell(numa: tuple[int | None, int | None], word: str) -> None:
    fake = FakeNvml(gpus(2), refuses={"nvmlDeviceGetTopologyCommonAncestor": NOT_SUPPORTED})

    assert one(fake, **{"GPU-0": numa[0], "GPU-1": numa[1]}).type == word


def test_where_nothing_is_known_there_is_no_link() -> None:
    refuses = {"nvmlDeviceGetTopologyCommonAncestor": NOT_SUPPORTED, "nvmlDeviceGetP2PStatus": NOT_SUPPORTED}

    assert between(FakeNvml(gpus(3), refuses=refuses).nvml) == ()


FUNCTIONS = (
    "nvmlDeviceGetTopologyCommonAncestor",
    "nvmlDeviceGetP2PStatus",
    "nvmlDeviceGetNvLinkState",
    "nvmlDeviceGetNvLinkRemoteDeviceType",
    "nvmlDeviceGetNvLinkRemotePciInfo",
    "nvmlDeviceGetGpuFabricInfoV",
)


@given(
    st.dictionaries(
        st.sampled_from(FUNCTIONS) | st.tuples(st.sampled_from(FUNCTIONS), st.integers(0, 3)),
        st.sampled_from((NOT_SUPPORTED, INVALID_ARGUMENT, LOST, 999)),
    ),
    st.lists(st.lists(st.sampled_from((None, SWITCH, *map(address, range(5)))), max_size=5), min_size=4, max_size=4),
)
def test_whatever_is_refused_the_devices_are_listed_and_links_sound(refuses: dict[Any, int], wires: list[list[Any]]) -> None:
    fake = FakeNvml(gpus(4, *map(tuple, wires)), refuses=refuses)

    found = taken(fake.nvml, "nvidia", "/nowhere", 5)

    assert [device.id for device in found.devices] == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]
    assert {(link.a, link.b) for link in found.links} <= set(combinations([device.id for device in found.devices], 2))
    assert all(link.score >= 0 and (link.type.startswith("NV") == (link.lanes > 0)) for link in found.links)
    assert wire.decode(DeviceInventory, wire.encode(found), "test") == found


def test_links_that_hang_are_told_and_cost_no_device() -> None:
    fake = FakeNvml(gpus(2), hangs={"nvmlDeviceGetTopologyCommonAncestor"})

    found = taken(fake.nvml, "nvidia", "/nowhere", 0.1)

    assert [device.sick for device in found.devices] == ["", ""]
    assert found.links == ()
    assert found.faults == ("how the GPUs are connected is unknown: no answer within 0.1 s",)
