"""Every console block of docs/local.md, docs/settings.md and docs/devices.md is run; the tables of the first are the code's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hami_core.local import fields
from tests.cli.command import HAMI, PATIENCE

if TYPE_CHECKING:
    from tests.cli.command import Node

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/local.md").read_text()
PAGES = TEXT + (ROOT / "docs/settings.md").read_text() + (ROOT / "docs/devices.md").read_text()
CONSOLE = re.findall(r"```console\n(.*?)\n```", PAGES, re.DOTALL)
BLOCKS = [block.removeprefix("$ ").split("\n$ ") for block in CONSOLE]


def pattern(expected: str) -> re.Pattern[str]:
    """A line with ``...`` for anything; blanks count as one."""
    return re.compile(re.sub(r"(\\ )+", " +", re.escape(expected)).replace(r"\.\.\.", ".*"))


def missing(expected: str, printed: str) -> list[str]:
    """Lines of the one that the other has not, and the other way round unless a line "..." stands for them.

    Which of two streams speaks first is nobody's promise: the order of lines does not count.
    """
    left = printed.splitlines()
    lacking = []
    for line in expected.splitlines():
        match = next((one for one in left if pattern(line).fullmatch(one)), None)
        if match is None:
            lacking.append(f"not printed: {line}")
        elif line != "...":
            left.remove(match)
    return lacking if "..." in expected.splitlines() else lacking + [f"not described: {line}" for line in left]


@pytest.mark.parametrize("block", BLOCKS, ids=[block[0].split("\n")[0] for block in BLOCKS])
def test_what_the_document_shows_is_what_happens(t4: Node, block: list[str], tmp_path: Path) -> None:
    """In one shell, with ``hami`` on PATH: a ``$?`` is that of the command before. What a block writes is no other block's."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    mark = "==== next"
    commands, outputs = zip(*(step.partition("\n")[::2] for step in block), strict=True)
    script = "\n".join(f'{command}; status=$?; echo "{mark}"; (exit $status)' for command in commands)
    env = {**t4.env, "HAMI_MACHINE": "t4-node", "PATH": f"{t4.env['PATH']}:{Path(HAMI).parent}"}

    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    printed = done.stdout.split(f"{mark}\n")
    assert [missing(*pair) for pair in zip(outputs, printed, strict=False)] == [[]] * len(outputs), done.stdout


def table(heading: str) -> set[str]:
    """The names in backticks in the table of that heading."""
    section = TEXT.split(f"| {heading}", 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"`([A-Za-z]+)`", section))


def known(verdict: type | None) -> set[str]:
    """The fields of specs and containers that have this verdict."""
    tables = (fields.METADATA, fields.SPEC, fields.CONTAINER, fields.SOURCE, fields.RESOURCES)
    return {
        name
        for table in tables
        for name, found in table.items()
        if (found is None if verdict is None else isinstance(found, verdict))
    }


@pytest.mark.parametrize(("heading", "verdict"), [("carried out", None), ("noted", fields.Noted), ("refused", fields.Refused)])
def test_the_fields_in_a_table_are_treated_as_it_says(heading: str, verdict: type | None) -> None:
    not_fields = {"metadata", "spec", "env", "image"}
    assert table(heading) - known(verdict) - not_fields == set()


def test_every_field_that_is_carried_out_is_in_the_table() -> None:
    wordless = {"limits", "requests"}  # "resources of devices" says both
    assert known(None) - table("carried out") - wordless == {"image"}  # read for its note alone
