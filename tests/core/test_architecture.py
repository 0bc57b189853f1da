"""ARCHITECTURE.md's picture, the import contracts and the modules agree; strings that others see are written once."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import grimp
import pytest

import hami_core

ROOT = Path(hami_core.__file__).parents[1]
PICTURE = re.compile(r"^## The layers$.*?^```$(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)
SOURCES = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] in ("hami_core", "native", "plugins")]


def drawn() -> list[frozenset[str]]:
    """The layers of the picture, the highest first."""
    match = PICTURE.search((ROOT / "ARCHITECTURE.md").read_text())
    assert match, "ARCHITECTURE.md has no fenced block under 'The layers'"
    lines = match["lines"].strip().splitlines()
    return [frozenset(name.strip() for name in re.split(r"\s{2,}", line)[0].split("|")) for line in lines]


def contracted() -> list[frozenset[str]]:
    """The layers of the import contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["type"] == "layers" and one.get("containers") == ["hami_core"])
    return [frozenset(re.findall(r"\w+", layer)) for layer in layers]


def modules() -> set[str]:
    folder = ROOT / "hami_core"
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py")} - {"__init__"}


def test_every_module_of_the_core_is_drawn_exactly_once() -> None:
    names = [name for layer in drawn() for name in layer]

    assert sorted(names) == sorted(modules())


def test_the_picture_and_the_import_contract_are_the_same() -> None:
    assert drawn() == contracted()


def test_every_import_goes_downward_or_stays_in_its_layer() -> None:
    depth = {f"hami_core.{name}": number for number, layer in enumerate(drawn()) for name in layer}
    graph = grimp.build_graph("hami_core", exclude_type_checking_imports=True, cache_dir=None)

    def layer_of(module: str) -> int:
        return depth[".".join(module.split(".")[:2])]

    upward = {
        f"{importer} imports {imported}"
        for importer in graph.modules - {"hami_core"}
        for imported in graph.find_modules_directly_imported_by(importer) - {"hami_core"}
        if layer_of(importer) > layer_of(imported)
    }
    assert upward == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_annotation_keys_are_written_in_names_alone(path: Path) -> None:
    tree = ast.parse(path.read_text())
    comments = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings, and strings after fields
    literals = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in comments
    ]

    assert path == ROOT / "hami_core/names.py" or not [text for text in literals if "hami.io/" in text]
