"""The workspace's distributions agree with each other, and what is installed agrees with them."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

import hami_core
from tests.workspace.projects import MEMBERS, NAMES, PROJECTS, PYPROJECT, ROOT, canonical, entry_points, requirements

HEAVY = ["numpy", "pynvml", "cffi"]


def test_all_distributions_have_one_version() -> None:
    assert {project["project"]["version"] for project in PROJECTS.values()} == {hami_core.__version__}


def test_what_is_installed_is_this_version() -> None:
    assert {name: metadata.version(name) for name in NAMES} == dict.fromkeys(NAMES, hami_core.__version__)


def test_each_distribution_asks_for_the_others_in_its_own_version() -> None:
    asked = [
        Requirement(text) for folder, text in requirements() if folder != "." and canonical(Requirement(text).name) in NAMES
    ]

    assert asked
    assert {str(requirement.specifier) for requirement in asked} == {f"=={hami_core.__version__}"}


def test_every_folder_with_a_distribution_is_a_member() -> None:
    found = [*ROOT.glob("*/pyproject.toml"), *ROOT.glob("plugins/*/pyproject.toml")]

    assert {str(path.parent.relative_to(ROOT)) for path in found} == set(MEMBERS)


def test_every_distribution_is_a_source_and_is_installed_by_the_set_up() -> None:
    installed = {canonical(Requirement(text).name) for text in PYPROJECT["dependency-groups"]["workspace"]}

    assert set(PYPROJECT["tool"]["uv"]["sources"]) == installed == set(NAMES)


def test_every_distribution_needs_the_same_python_and_has_the_same_licence() -> None:
    assert {(project["project"]["requires-python"], project["project"]["license"]) for project in PROJECTS.values()} == {
        (">=3.11", "Apache-2.0")
    }


def test_every_import_name_is_under_contract_and_measured() -> None:
    packages = {name.replace("-", "_") for name in NAMES}

    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) == packages
    assert set(PYPROJECT["tool"]["coverage"]["run"]["source_pkgs"]) == packages


def test_the_entry_points_that_are_installed_are_those_that_are_declared() -> None:
    found = metadata.entry_points(group="hami")

    assert {point.name: point.value for point in found if point.dist and point.dist.name in NAMES} == entry_points()


def test_every_plugin_is_the_module_plugin_of_its_distribution() -> None:
    own = {"node": "hami_core.node.plugin"}  # the core's: beside its default hooks, which need no entry point

    assert entry_points() == {**{name: f"hami_{name}.plugin" for name in entry_points()}, **own}


@pytest.mark.parametrize("module", entry_points().values())
def test_loading_a_plugin_imports_neither_numpy_nor_a_driver(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert loaded.stdout == "[]\n"
