"""`hami topology` against NVIDIA's own tool on the same machine: the same words for every pair."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import judges

if TYPE_CHECKING:
    from tests.cli.command import OnMachine
    from tests.conftest import Needs

NAMES = ["dgx-a100", "dgx-h100", "gb200", "a30-node", "l40s-node", "mixed", "weird"]


@pytest.fixture
def smi(needs: Needs) -> str:
    """The path of the real nvidia-smi."""
    try:
        return str(judges.program(judges.SMI, "nvidia-smi"))
    except judges.Missing as missing:
        needs(f"Debian's nvidia-smi ({missing})", here=False)
        raise


def matrix(printed: str) -> dict[tuple[int, int], str]:
    """(row, column) -> word, as nvidia-smi topo -m prints it."""
    rows = re.findall(r"^GPU(\d+)\t(.*)$", printed, re.MULTILINE)
    words = {int(number): row.split("\t") for number, row in rows}
    return {(a, b): words[a][b].strip() for a in words for b in words if a < b}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_pair_has_the_word_of_nvidia_smi(on: OnMachine, smi: str, name: str) -> None:
    node = on(name)
    (kind,) = node.ask("topology")["kinds"]
    libraries = Path(node.env["HAMI_STATE_DIR"]) / name / "driver/lib"

    printed = subprocess.run(
        [smi, "topo", "-m"], env={"LD_LIBRARY_PATH": str(libraries)}, capture_output=True, text=True, check=True
    ).stdout

    index = {device["device"]: device["index"] for device in kind["devices"]}
    pairs = {tuple(sorted((index[link["a"]], index[link["b"]]))): link["type"] for link in kind["links"]}
    assert pairs == matrix(re.sub(r"\x1b\[[0-9;]*m", "", printed))
    assert pairs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scores"),
    [("dgx-a100", {1210: 24, 1240: 4}), ("a30-node", {420: 1}), ("l40s-node", None), ("t4x4", None)],
)
def test_a_lane_is_worth_a_hundred(on: OnMachine, name: str, scores: dict[int, int] | None) -> None:
    links = on(name).ask("topology")["kinds"][0]["links"]

    told = [link["score"] for link in links]
    assert all(link["score"] // 100 == link["lanes"] for link in links)
    assert scores is None or {score: told.count(score) for score in set(told)} == scores
