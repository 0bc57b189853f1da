"""What every bad day happens to: a control plane that may be broken, a scheduler pair behind a proxy, nodes and pods.

Each module has a control plane and a pair of its own; where it wants another pair or other nodes, it gives ``shared`` or
``node_count`` anew.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from hami_core.testing.cluster import ControlPlane
from tests.cluster.faults.scene import Behind, Scene, installed, pair, scene
from tests.cluster.scheduling import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.testing.cluster.nodes import Simulated

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """With our rights and policies."""
    with ControlPlane() as plane:
        installed(plane)
        yield plane


@pytest.fixture(scope="module")
def shared(plane: ControlPlane) -> Iterator[Behind]:
    """One pair for all tests of a module: each leaves it working."""
    with pair(plane) as one:
        yield one


@pytest.fixture
def one(shared: Behind) -> Iterator[Behind]:
    """It leads when the test begins, and nothing goes wrong after it."""
    wait_for(shared.leads, f"leading: {shared.state()}")
    yield shared
    shared.proxy.calm()


@pytest.fixture
def node_count() -> int:
    """With two devices each: room for ten of our shares on a node, by cores."""
    return 2


@pytest.fixture
def world(plane: ControlPlane, simulated: Simulated, node_count: int) -> Iterator[Scene]:
    """A namespace and nodes of its own."""
    namespace = f"day-{next(_NUMBERS)}"
    plane.make_namespace(namespace)
    with scene(plane, simulated, namespace) as made:
        made.add_nodes(node_count, devices=2)
        yield made
