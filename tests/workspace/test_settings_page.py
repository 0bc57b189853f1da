"""docs/settings.md: its reference is what the plugins declare, its figures are the code's, what it calls unknown is unknown."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from hami_core import names, settings, sources
from hami_core.cli.session import Session
from hami_nvidia import contexts
from hami_nvidia.settings import NvidiaSettings
from tests.cli.command import HAMI

PAGE = (Path(__file__).parents[2] / "docs/settings.md").read_text()
MARK = "<!-- hami config -o markdown -->\n\n"


def test_the_reference_is_what_the_command_prints() -> None:
    """With the settings of this repository's plugins; whoever has installed others has a longer one."""
    env = {name: value for name, value in os.environ.items() if name not in names.__dict__.values()}

    printed = subprocess.run([HAMI, "config", "-o", "markdown"], env=env, capture_output=True, text=True, check=True).stdout

    assert PAGE.partition(MARK)[2] == printed, "docs/settings.md is out of date: run `make docs`"


def test_the_values_file_that_is_shown_does_what_is_said_of_it() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    layer = ("values.yaml", sources.flatten(yaml.safe_load(block), "values.yaml"))

    by_node = {
        node: settings.resolve({"nvidia": NvidiaSettings}, [layer], node)[NvidiaSettings]
        for node in ("cpu-1", "gpu-3", "gpu-7")
    }

    assert {node: own.split_count for node, own in by_node.items()} == {"cpu-1": 10, "gpu-3": 4, "gpu-7": 4}
    assert {node: own.filtered_indices for node, own in by_node.items()} == {"cpu-1": (), "gpu-3": (), "gpu-7": (0,)}


@pytest.mark.parametrize(("figures", "word"), [(contexts.MEASURED, "measured"), (contexts.ESTIMATED, "estimated")])
def test_the_figures_of_contexts_are_those_in_force(figures: dict[str, int], word: str) -> None:
    shown = re.findall(rf"^\| `([^`]+)` \| (\d+) \| {word} \|$", PAGE, re.MULTILINE)

    assert {model: int(memory) for model, memory in shown} == figures
    assert f"A model that is not there is charged {contexts.UNKNOWN} MiB." in PAGE


def test_what_the_page_calls_unknown_is_declared_by_nobody() -> None:
    section = PAGE.partition("## Values of HAMi that are not here")[2].partition("\n## ")[0]
    missing = {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}

    declared = {entry.declaration.path for entry in Session().settings.entries}
    assert missing & {one.rpartition(".")[2] for one in declared} == set()
    assert missing & declared == set()
