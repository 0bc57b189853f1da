"""The numbers of the shipped models: what must agree with each other, and with what the nvidia plugin takes for granted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_mock.description import load, shipped
from hami_nvidia import contexts

if TYPE_CHECKING:
    from hami_mock.profiles import Profile

MODELS = {gpu.profile.name: gpu.profile for name in shipped() if name != "weird" for gpu in load(name).gpus}


@pytest.fixture(params=sorted(MODELS))
def model(request: pytest.FixtureRequest) -> Profile:
    return MODELS[request.param]


def test_every_model_of_the_list_is_there() -> None:
    assert sorted(MODELS) == [
        "NVIDIA A100-SXM4-40GB",
        "NVIDIA A100-SXM4-80GB",
        "NVIDIA A30",
        "NVIDIA B200",
        "NVIDIA GB200",
        "NVIDIA H100 80GB HBM3",
        "NVIDIA H200",
        "NVIDIA L40S",
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        "Tesla T4",
    ]


def test_a_context_takes_what_the_nvidia_plugin_charges_for_it(model: Profile) -> None:
    """So a share that the plugin cuts is one that the simulated device can give."""
    assert contexts.memory(model.name) == model.context


def test_a_models_architecture_goes_with_its_compute_capability(model: Profile) -> None:
    """Source: the CUDA programming guide's table of compute capabilities."""
    attributes = dict(model.attributes)
    capability = (attributes[75], attributes[76])

    architecture = {(7, 5): 6, (8, 0): 7, (8, 9): 8, (9, 0): 9, (10, 0): 10, (12, 0): 10}[capability]
    assert model.arch == architecture
    threads = {(7, 5): 1024, (8, 0): 2048, (8, 9): 1536, (9, 0): 2048, (10, 0): 2048, (12, 0): 1536}[capability]
    assert attributes[39] == threads


def test_what_a_model_keeps_for_itself_is_a_small_part_of_it(model: Profile) -> None:
    assert 0 < model.reserved < model.memory / 20
    assert model.power_idle < model.power_limit / 4
