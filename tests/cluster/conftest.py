"""One real control plane for all tests of this folder: they are slow, and run in one process where there are several.

A test has a fresh namespace; what is not in a namespace (nodes, webhooks, policies) it takes away itself, or has a
control plane of its own by ``a_control_plane``.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Protocol

import pytest

from hami_core.testing.cluster import ControlPlane, Options
from hami_core.testing.cluster.control_plane import ORDINARY
from hami_core.testing.cluster.nodes import Simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = "tests/cluster/"
_NUMBERS = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.nodeid:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group("cluster"))


class StartsControlPlanes(Protocol):
    """Starts a control plane that ends with the test."""

    def __call__(self, version: str = ..., *, options: Options = ...) -> ControlPlane: ...


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, kube-apiserver, kube-controller-manager and kwok; a test starts schedulers and webhooks itself, and stops them."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture
def a_control_plane() -> Iterator[StartsControlPlanes]:
    """For tests that break theirs, or want another version or other options."""
    started: list[ControlPlane] = []

    def start(version: str = "1.37.2", *, options: Options = ORDINARY) -> ControlPlane:
        plane = ControlPlane(version, options=options)
        started.append(plane)
        return plane.start()

    yield start
    for plane in started:
        plane.stop()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace, in which pods can be made; deleted afterwards with all that is in it."""
    name = f"test-{next(_NUMBERS)}"
    control_plane.make_namespace(name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def simulated() -> Simulated:
    """What simulated nodes publish: by the plugins that are installed, under default settings."""
    return Simulated()
