"""The distributions of this repository as their pyproject.toml files tell them. Nothing here is installed or imported."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
MEMBERS: list[str] = PYPROJECT["tool"]["uv"]["workspace"]["members"]
PROJECTS: dict[str, dict[str, Any]] = {
    folder: tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in [".", *MEMBERS]
}
NAMES = {project["project"]["name"]: folder for folder, project in PROJECTS.items()}


def canonical(name: str) -> str:
    """A distribution's name as the packaging standards compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entry_points() -> dict[str, str]:
    """Name to module of every entry point in the group ``hami``."""
    return {
        name: module
        for project in PROJECTS.values()
        for name, module in project["project"].get("entry-points", {}).get("hami", {}).items()
    }


def requirements() -> list[tuple[str, str]]:
    """(where it is asked for, requirement) for everything that any distribution, build or dependency group asks for."""
    found = []
    for folder, project in PROJECTS.items():
        asked = [
            *project["build-system"]["requires"],
            *project["project"].get("dependencies", []),
            *(one for extra in project["project"].get("optional-dependencies", {}).values() for one in extra),
            *(one for group in project.get("dependency-groups", {}).values() for one in group if isinstance(one, str)),
        ]
        found += [(folder, requirement) for requirement in asked]
    return found
