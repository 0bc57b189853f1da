"""The kubelet's folder for a test: near the root, because the paths of sockets are short."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """Empty, and removed in the end."""
    with TemporaryDirectory(prefix="hami-") as path:
        yield Path(path)
