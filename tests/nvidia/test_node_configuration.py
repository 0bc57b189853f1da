"""HAMi's settings by node: read as entries of nodes, and every mistake named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hami_core import settings
from hami_core.errors import SettingsError
from hami_nvidia.settings import NvidiaSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "devicePlugin.nodeConfiguration.config"
UUID = "GPU-d7a97d47-b700-90ee-084b-834fa9f711b8"
HAMIS = f"""{{"nodeconfig": [
  {{"name": "m5", "operatingmode": "hami-core", "devicememoryscaling": 1.8, "devicesplitcount": 20, "migstrategy": "none",
    "filterdevices": {{"uuid": ["{UUID}"], "index": [0, 2]}}}},
  {{"name": "gpu-*", "devicecorescaling": 2, "libcudaloglevel": 3}}
]}}"""


def on(node: str, value: object) -> NvidiaSettings:
    """NVIDIA's settings on a node."""
    return settings.resolve({"nvidia": NvidiaSettings}, [("values.yaml", {PATH: value})], node)[NvidiaSettings]


def test_an_entry_counts_on_the_node_of_its_name() -> None:
    own = on("m5", HAMIS)

    assert (own.split_count, own.memory_scaling, own.core_scaling) == (20, 1.8, 1.0)
    assert (own.filtered_uuids, own.filtered_indices) == ((UUID,), (0, 2))


def test_a_name_may_be_a_pattern() -> None:
    own = on("gpu-12", HAMIS)

    assert (own.split_count, own.core_scaling, own.log_level) == (10, 2.0, 3)


def test_on_other_nodes_nothing_changes() -> None:
    assert on("m6", HAMIS).split_count == 10


def test_of_two_entries_the_last_wins_key_by_key() -> None:
    entries = [{"name": "a", "devicesplitcount": 2, "devicecorescaling": 3}, {"name": "a", "devicesplitcount": 4}]

    own = on("a", {"nodeconfig": entries})

    assert (own.split_count, own.core_scaling) == (4, 3.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"nodeconfig": [{"name": "a", "devicesplitcount": 0}]},
            '(values.yaml, nodeconfig[0] "a"): devicePlugin.deviceSplitCount: 0 is not a whole number from 1 to 1000',
        ),
        (
            {"nodeconfig": [{"name": "a", "devicesplitcont": 4}]},
            (
                '(values.yaml, nodeconfig[0] "a"): devicesplitcont: unknown key (known are name, devicesplitcount, '
                "devicememoryscaling, devicecorescaling, preconfigureddevicememory, libcudaloglevel, migstrategy, "
                "filterdevices, operatingmode)"
            ),
        ),
        (
            {"nodeconfig": [{"name": "a", "operatingmode": "mig"}]},
            (
                "(values.yaml, nodeconfig[0] \"a\"): operatingmode: 'mig' is not hami-core: "
                "GPUs cut by MIG need the plugin hami-mig, which this build does not have"
            ),
        ),
        (
            {"nodeconfig": [{"name": "a", "migstrategy": "mixed"}]},
            (
                "(values.yaml, nodeconfig[0] \"a\"): devicePlugin.migStrategy: 'mixed' is not none; "
                "mixed needs the plugin hami-mig, which this build does not have"
            ),
        ),
        (
            {"nodeconfig": [{"name": "a", "filterdevices": {"uuids": []}}]},
            """(values.yaml, nodeconfig[0] "a"): filterdevices: {'uuids': []} is not {"uuid": [...], "index": [...]}""",
        ),
        (
            {"nodeconfig": [{"name": "a", "filterdevices": {"uuid": ["GPU-1"]}}]},
            (
                "(values.yaml, nodeconfig[0] \"a\"): devicePlugin.filterDevices.uuid[0]: 'GPU-1' is not "
                "a UUID as nvidia-smi -L prints it (GPU-5f2a0c1e-...)"
            ),
        ),
        (
            {"nodeconfig": [{"devicesplitcount": 4}]},
            "(values.yaml): nodeconfig[0]: {'devicesplitcount': 4} is no mapping with \"name\": NODE and settings",
        ),
        ({"nodeconfig": "x"}, """(values.yaml): devicePlugin.nodeConfiguration.config: 'x' is not {"nodeconfig": [entries]}"""),
        ({"nodes": []}, """(values.yaml): devicePlugin.nodeConfiguration.config: 'nodes' is not {"nodeconfig": [entries]}"""),
        ("{", "(values.yaml): devicePlugin.nodeConfiguration.config: '{' is not a mapping"),
    ],
    ids=str,
)
def test_a_mistake_names_entry_key_and_value(value: Mapping[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        on("b", value)

    assert str(caught.value) == f"settings {message}"
