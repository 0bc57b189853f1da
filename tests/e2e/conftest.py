"""One cluster for all tests here: hami in it, and a node ``n1`` with one Tesla T4. Others are a test's own."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from hami_core.testing.cluster import ControlPlane
from hami_core.testing.cluster.machines import requirements
from hami_core.testing.cluster.pytest_plugin import progress, simulated
from tests import judges
from tests.conftest import skip_unless_here
from tests.e2e import stage as stages
from tests.e2e.stage import GpuNode, Stage, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress", "simulated"]

HERE = "tests/e2e/"
_NUMBERS = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lacked = requirements.lacks()
    for item in items:
        if HERE in item.nodeid:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group("cluster"))
            item.add_marker(pytest.mark.needs(*lacked))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a cluster is set up for it."""
    try:
        judges.program(judges.SMI, "nvidia-smi")
    except judges.Missing as missing:
        skip_unless_here(item, f"Debian's nvidia-smi ({missing})", here=False)


@pytest.fixture(scope="session")
def stage(progress: Callable[[str], None]) -> Iterator[Stage]:
    with ControlPlane(note=progress) as plane:
        yield stages.set_up(plane)


@pytest.fixture(scope="session")
def t4(stage: Stage) -> GpuNode:
    """The node n1."""
    return stage.add("n1", "t4-node")


@pytest.fixture
def work(stage: Stage, t4: GpuNode) -> Iterator[Work]:
    """A fresh namespace; nothing of it is left on the nodes afterwards."""
    stage.mend()
    work = Work(stage, f"work-{next(_NUMBERS)}")
    stage.plane.make_namespace(work.namespace)
    yield work
    work.clear()
