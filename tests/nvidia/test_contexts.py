"""hami_nvidia.contexts: what a context takes, by model."""

from __future__ import annotations

import pytest

from hami_nvidia import contexts

MODELS = {
    "Tesla T4": 103,
    "NVIDIA A30": 240,
    "NVIDIA A100-SXM4-40GB": 411,
    "NVIDIA A100-SXM4-80GB": 411,
    "NVIDIA H100 80GB HBM3": 527,
    "NVIDIA H200": 527,
    "NVIDIA L40S": 450,
    "NVIDIA B200": 612,
    "NVIDIA GB200": 612,
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": 555,
}


@pytest.mark.parametrize("model", MODELS)
def test_every_model_that_we_name_has_a_figure(model: str) -> None:
    assert contexts.memory(model) == MODELS[model]


def test_a_model_that_nobody_named_is_charged_the_stated_default_and_never_nothing() -> None:
    assert contexts.memory("NVIDIA X1000") == contexts.UNKNOWN > 0


def test_an_override_counts_before_our_own_figure() -> None:
    assert contexts.memory("Tesla T4", {"tesla t4": 150}) == 150


def test_of_several_overrides_the_longest_pattern_counts() -> None:
    assert contexts.memory("Tesla T4", {"*": 0, "Tesla*": 99, "T*": 1}) == 99


def test_an_override_for_another_model_changes_nothing() -> None:
    assert contexts.memory("Tesla T4", {"NVIDIA*": 1}) == 103
