"""requirements.lock pins everything that is not ours, with hashes, and tells no machine's index or folder."""

from __future__ import annotations

import re

from packaging.requirements import Requirement

from tests.workspace.projects import NAMES, ROOT, canonical, requirements

LOCK = (ROOT / "requirements.lock").read_text()
ENTRY = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)(?: ; [^\\]+)? \\$(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?$)+", re.MULTILINE
)


def pinned() -> dict[str, set[str]]:
    """Name to its versions: more than one where Pythons differ."""
    versions: dict[str, set[str]] = {}
    for entry in ENTRY.finditer(LOCK):
        versions.setdefault(entry["name"], set()).add(entry["version"])
    return versions


def test_every_line_belongs_to_a_pin_with_hashes_or_is_a_comment() -> None:
    rest = ENTRY.sub("", LOCK)

    assert [line for line in rest.splitlines() if line and not line.lstrip().startswith("#")] == []


def test_no_line_names_an_index_a_host_or_a_folder() -> None:
    assert re.findall(r"^.*(?:--index|--extra|--find-links|--trusted|://|^-e|file:| @ |\.\./).*$", LOCK, re.MULTILINE) == []


def is_pinned(requirement: Requirement) -> bool:
    return any(map(requirement.specifier.contains, pinned().get(canonical(requirement.name), ())))


def test_whatever_a_distribution_asks_for_is_pinned_in_a_version_that_will_do() -> None:
    asked = [(f"{folder}/pyproject.toml", Requirement(text)) for folder, text in requirements()]

    assert [(where, str(one)) for where, one in asked if canonical(one.name) not in NAMES and not is_pinned(one)] == []


def test_none_of_our_own_is_pinned() -> None:
    assert pinned().keys() & NAMES.keys() == set()
