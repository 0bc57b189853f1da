"""No file of the repository tells of the machine that it was written on."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.workspace.projects import ROOT

# Written as patterns, so that this file does not hold what it looks for.
REGISTRIES = r"(?:pypi|pythonhosted|npmjs|proxy\.golang|maven)\.(?:org|com)|crates\.io|(?:deb|security)\.debian\.org"
HOMES = r"(?<![\w.])/(?:home|root|Users|work)/[a-z.]"
SECRETS = r"BEGIN (?:[A-Z]+ )?PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}"


@cache
def texts() -> dict[Path, str]:
    """Every file that git tracks, or would with the next ``git add``; those that are no text are left out."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {}
    for path in map(Path, filter(None, names.split("\0"))):
        try:
            found[path] = (ROOT / path).read_text()
        except (UnicodeDecodeError, FileNotFoundError):  # a picture; a file that is deleted and not yet committed
            continue
    return found


def test_the_files_are_found() -> None:
    assert Path("pyproject.toml") in texts()


@pytest.mark.parametrize("pattern", [REGISTRIES, HOMES, SECRETS], ids=["registry", "home", "secret"])
def test_no_file_names_a_registry_a_home_or_a_secret(pattern: str) -> None:
    assert [(str(path), hit.group()) for path, text in texts().items() for hit in re.finditer(pattern, text)] == []


def test_text_ends_with_one_newline_and_has_no_trailing_space() -> None:
    assert [str(path) for path, text in texts().items() if text and not re.search(r"\S\n\Z", text)] == []
    assert [str(path) for path, text in texts().items() if re.search(r"[ \t]$", text, re.MULTILINE)] == []
