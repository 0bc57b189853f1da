"""Machines for the tests of NVIDIA's plugin."""

from __future__ import annotations

from tests.cli.command import host, on, t4

__all__ = ["host", "on", "t4"]
