"""The fixtures of ``command`` for the tests of the command line."""

from __future__ import annotations

from tests.cli.command import host, on, t4

__all__ = ["host", "on", "t4"]
