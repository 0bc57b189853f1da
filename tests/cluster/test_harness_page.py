"""docs/cluster.md: its tests run as they stand, and its tables name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import hami_core
from hami_core.testing.cluster import ControlPlane
from hami_core.testing.cluster.commands import REAL
from hami_core.testing.cluster.control_plane import STAGES
from hami_core.testing.cluster.machines import Node

if TYPE_CHECKING:
    import pytest

ROOT = Path(hami_core.__file__).parents[1]
PAGE = (ROOT / "docs/cluster.md").read_text()
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))


def test_the_tests_of_the_page_pass_as_they_stand(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert "4 passed" in done.stdout, done.stdout


def test_every_method_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`\.(\w+)", PAGE.partition("| on a control plane |")[2].partition("## ")[0])) - {
        "pid",
        "log",
        "tail",
    }

    assert named - set(dir(ControlPlane())) == set()
    assert {"kubectl", "kill", "audited"} <= named


def test_every_word_that_the_page_names_of_a_node_is_there() -> None:
    table = PAGE.partition("| of a node | |")[2].partition("\n\n")[0]
    named = {word for row in table.splitlines() for word in re.findall(r"`\.(\w+)", row.partition("| ")[2].partition(" |")[0])}
    arguments = set(re.findall(r"(\w+)=", table)) - {"imagePullPolicy"}

    assert named - set(dir(Node)) == set()
    assert {"run", "reboot", "kubelet"} <= named
    assert arguments - set(signature(Node).parameters) - set(signature(Node.run).parameters) == set()
    assert "settings" in arguments


def test_every_annotation_that_the_page_names_is_one_that_kwok_follows() -> None:
    assert set(re.findall(r"hami\.test/\w+", PAGE)) - {REAL} == set(re.findall(r"hami\.test/\w+", STAGES.read_text()))


def test_a_test_that_shares_the_control_plane_is_in_its_group(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["hami_core.testing.cluster.pytest_plugin"]')
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def control_plane():
            return None

        def test_shares(control_plane, request):
            assert request.node.get_closest_marker("xdist_group").args == ("cluster",)

        def test_does_not(request):
            assert request.node.get_closest_marker("xdist_group") is None
        """
    )

    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=2)
