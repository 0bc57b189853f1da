"""docs/policies.md names every key, every word and every reason that the code has, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import hami_core
from hami_core import names
from hami_core.model import DEVICE_POLICIES, NODE_POLICIES, Reason
from hami_nvidia.requests import KEYS

TEXT = (Path(hami_core.__file__).parents[1] / "docs/policies.md").read_text()


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> dict[str, list[str]]:
    """First cell without its backticks -> the other cells, of the section's table."""
    lines = [line.strip("|").split("|") for line in section(title).splitlines() if line.startswith("| `") or line[:3].isdigit()]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in lines}


def words(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def test_every_annotation_of_a_pod_is_shown_and_no_other() -> None:
    assert set(rows("The annotations")) == {names.NODE_POLICY, names.DEVICE_POLICY, names.SCORING_WEIGHTS, *KEYS.all()}
    assert names.DEVICE_CORDON in section("The annotations")


def test_the_words_of_each_annotation_are_those_that_the_code_takes() -> None:
    shown = rows("The annotations")

    assert words(shown[names.NODE_POLICY][0]) == NODE_POLICIES
    assert words(shown[names.DEVICE_POLICY][0]) == DEVICE_POLICIES
    assert words(shown[KEYS.splitting][0]) == tuple(KEYS.splittings)


def test_each_word_for_devices_has_its_effect() -> None:
    assert sorted(rows("Which devices")) == sorted(DEVICE_POLICIES)


def test_the_reasons_are_shown_in_their_order_with_their_codes() -> None:
    shown = re.findall(r"^\| (\d+) \| `(\w+)` \|", section("Why a node refuses"), re.MULTILINE)

    assert shown == [(str(reason.value), reason.name) for reason in Reason if reason]
