"""The simulated driver libraries as files: where they lie, what they export, and how they are put beside a machine's state."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hami_mock import exports

if TYPE_CHECKING:
    from collections.abc import Collection

LIBRARIES = Path(__file__).parent / "lib"
DRIVER = ("libcuda.so.1", "libnvidia-ml.so.1")


@cache
def functions() -> frozenset[str]:
    """What the two libraries export together."""
    return frozenset().union(*(exports.names((LIBRARIES / name).read_bytes()) for name in DRIVER))


def put(folder: Path, missing: Collection[str]) -> None:
    """The libraries in FOLDER, without the functions in MISSING: what differs is replaced by rename.

    A running program keeps the file that it has mapped.
    """
    folder.mkdir(exist_ok=True)
    for name in DRIVER:
        image, target = exports.without((LIBRARIES / name).read_bytes(), missing), folder / name
        if not target.exists() or target.read_bytes() != image:
            fresh = folder / f".{name}"
            fresh.write_bytes(image)
            fresh.chmod(0o755)
            fresh.rename(target)
