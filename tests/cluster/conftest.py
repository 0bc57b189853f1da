"""Tests on a real control plane: all are slow, and run in one process where there are several, as they share it."""

from __future__ import annotations

import pytest

from hami_core.testing.cluster.pytest_plugin import (
    StartsControlPlanes,
    a_control_plane,
    control_plane,
    namespace,
    progress,
    simulated,
)

__all__ = ["StartsControlPlanes", "a_control_plane", "control_plane", "namespace", "progress", "simulated"]

HERE = "tests/cluster/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.nodeid:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group("cluster"))
