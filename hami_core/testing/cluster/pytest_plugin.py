"""Fixtures for anybody's tests on a real control plane: one for the whole session, a fresh namespace for each test.

    # conftest.py
    pytest_plugins = ["hami_core.testing.cluster.pytest_plugin"]

What is not in a namespace (nodes, webhooks, policies) a test takes away itself, or it has a control plane of its own by
``a_control_plane``. With pytest-xdist and ``--dist loadgroup`` all such tests run in one process, on one control plane.
"""

from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING, Protocol

import pytest

from hami_core.testing.cluster.control_plane import ORDINARY, ControlPlane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hami_core.testing.cluster.commands import Options
    from hami_core.testing.cluster.nodes import Simulated

_NUMBERS = count(1)
SHARED = "control_plane"


class StartsControlPlanes(Protocol):
    """Starts a control plane that ends with the test."""

    def __call__(self, version: str = ..., *, options: Options = ...) -> ControlPlane: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share the control plane stay in one process of pytest-xdist's."""
    for item in items:
        if SHARED in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.fixture(scope="session")
def progress(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Tells the terminal how far a build is: minutes of silence look like a test that hangs."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def note(text: str) -> None:
        if capture is None:
            sys.stderr.write(f"{text}\n")
            return
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"{text}\n")

    return note


@pytest.fixture(scope="session")
def control_plane(progress: Callable[[str], None]) -> Iterator[ControlPlane]:
    """etcd, kube-apiserver, kube-controller-manager and kwok. A test starts schedulers and webhooks itself, and stops them."""
    with ControlPlane(note=progress) as plane:
        yield plane


@pytest.fixture
def a_control_plane(progress: Callable[[str], None]) -> Iterator[StartsControlPlanes]:
    """For tests that break theirs, or want another version or other options."""
    started: list[ControlPlane] = []

    def start(version: str = "", *, options: Options = ORDINARY) -> ControlPlane:
        started.append(ControlPlane(version, options=options, note=progress))
        return started[-1].start()

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
    from hami_core.testing.cluster.nodes import Simulated

    return Simulated()
