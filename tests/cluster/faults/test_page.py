"""docs/faults.md names tests that are there, and every bad day is on it."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[2] / "docs/faults.md").read_text()
TESTS = "\n".join(file.read_text() for file in (HERE.parent / "bad_days").glob("test_*.py"))


def test_every_test_on_the_page_is_there_and_every_bad_day_is_on_the_page() -> None:
    there = set(re.findall(r"^def (test_\w+)", TESTS, re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)", PAGE))

    assert named == there


def test_every_case_on_the_page_is_one() -> None:
    cases = {case for case in re.findall(r"\[([\w -]+)\]`", PAGE) if not case.isdigit()}

    assert {case for case in cases if f'"{case}"' not in TESTS} == set()
