"""docs/testing.md, run as it stands by a stranger who has the wheels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.examples.fresh import ROOT, Fresh, core_wheel, wheel

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "testing.md").read_text()
FILES = dict(re.findall(r"```python\n# (test_\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
UNUSED = """
import sys

def test_it_costs_nothing_who_does_not_use_it():
    assert "hami_mock.pytest_plugin" in sys.modules
    assert not {"numpy", "cffi", "click", "hami_core", "hami_mock.testing"} & set(sys.modules)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    folder = tmp_path_factory.mktemp("fresh")
    environment = Fresh(folder)
    environment.install(core_wheel(folder), wheel(ROOT / "plugins" / "mock", folder))
    return environment


def project(folder: Path, **files: str) -> str:
    """A project of theirs: its tests and nothing else."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return str(folder)


def run(fresh: Fresh, folder: str, *options: str, fails: bool = False) -> str:
    return fresh.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, folder, fails=fails)


def test_with_the_simulated_machine_alone_programs_run_bare_on_it(fresh: Fresh, tmp_path: Path) -> None:
    told = run(fresh, project(tmp_path, test_bare=FILES["test_bare.py"]), "-n", "2")

    assert "5 passed" in told


def test_a_project_that_does_not_use_it_pays_nothing(fresh: Fresh, tmp_path: Path) -> None:
    assert "1 passed" in run(fresh, project(tmp_path, test_unused=UNUSED), "-p", "no:hypothesispytest", "-p", "no:cov")


def test_a_share_without_its_plugin_says_what_to_install(fresh: Fresh, tmp_path: Path) -> None:
    asks = "def test_share(hami_machine):\n    hami_machine.run(['true'], gpumem=1)\n"

    told = run(fresh, project(tmp_path, test_asks=asks), fails=True)

    assert "pip install 'hami-mock[nvidia]'" in told


def test_with_the_interposer_shares_are_enforced(fresh: Fresh, tmp_path: Path) -> None:
    fresh.install(wheel(ROOT / "native", fresh.folder), wheel(ROOT / "plugins" / "nvidia", fresh.folder))

    told = run(fresh, project(tmp_path, test_shares=FILES["test_shares.py"]))

    assert "4 passed" in told
