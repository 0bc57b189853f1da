"""The fixtures of ``command`` for whole stories: a manifest, a share, the truth beside it."""

from __future__ import annotations

from tests.cli.command import host, on, t4

__all__ = ["host", "on", "t4"]
