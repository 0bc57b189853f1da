"""The expression by which the API server decides what to send: its text. What it matches is seen in ``tests/cluster``."""

from __future__ import annotations

from hami_webhook import rules
from tests.webhook.door import world


def test_the_expression_names_every_resource_variable_and_key_that_is_ours() -> None:
    (condition,) = rules.match_conditions(world()[0])

    resources = (
        '["mock.dev/device", "mock.dev/memory", "mock.dev/memory-percentage", "mock.dev/cores", "nvidia.com/gpu", '
        '"nvidia.com/gpumem", "nvidia.com/gpumem-percentage", "nvidia.com/gpucores", "nvidia.com/priority"]'
    )
    assert condition == {
        "name": "ours",
        "expression": (
            "((object.?spec.?containers.orValue(null) == null ? [] : object.spec.containers) "
            "+ object.?spec.?initContainers.orValue([]) + object.?spec.?ephemeralContainers.orValue([])).exists(one, "
            f"one.?resources.?limits.orValue({{}}).exists(name, name in {resources}) "
            f"|| one.?resources.?requests.orValue({{}}).exists(name, name in {resources}) "
            '|| one.?env.orValue([]).exists(variable, variable.name in ["MOCK_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"])) '
            f"|| object.?spec.?resources.?limits.orValue({{}}).exists(name, name in {resources}) "
            f"|| object.?spec.?resources.?requests.orValue({{}}).exists(name, name in {resources}) "
            '|| object.metadata.?annotations.orValue({}).exists(key, key in ["hami.io/term", "hami.io/waiting"] '
            '|| key.startsWith("grant.hami.io/") || key.startsWith("devices.hami.io/") '
            '|| key.startsWith("mock.hami.io/") || key.startsWith("nvidia.hami.io/")) '
            '|| "hami.io/prepared" in object.metadata.?labels.orValue({})'
        ),
    }


def test_a_resource_that_was_renamed_is_ours_under_its_new_name_alone() -> None:
    (condition,) = rules.match_conditions(world({"resourceName": "example.com/vgpu"})[0])

    assert '"example.com/vgpu"' in condition["expression"]
    assert '"nvidia.com/gpu"' not in condition["expression"]
