"""The control groups of nodes: one for each, in every hierarchy, below one that is named like its control plane's folder."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("cpu", "cpuacct", "cpuset", "memory", "pids")
POLL_SECONDS = 0.02
SECONDS = 10.0  # a group cannot be removed before the kernel is done with its last process


def hierarchies() -> Iterator[Path]:
    """Version 2: the one. Version 1 and both at once: each, once, by whatever names it has."""
    if (ROOT / "cgroup.controllers").exists():
        yield ROOT
        return
    for folder in sorted(ROOT.iterdir()) if ROOT.is_dir() else []:
        if not folder.is_symlink() and (folder / "cgroup.procs").exists():
            yield folder


def make(path: str) -> None:
    """A group in every hierarchy, from the top down: an empty cpuset inherits nothing by itself."""
    for hierarchy in hierarchies():
        group = hierarchy
        for part in path.strip("/").split("/"):
            group /= part
            group.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (group / "cgroup.clone_children").exists() and (group / name).exists():
                    (group / name).write_text((group.parent / name).read_text())


def remove(path: str) -> None:
    """A group with all below it, in every hierarchy. What is left after some seconds holds a process, and stays."""
    end = time.monotonic() + SECONDS
    for hierarchy in hierarchies():
        group = hierarchy / path.strip("/")
        while group.exists() and time.monotonic() < end:
            _remove(group)
            if group.exists():
                time.sleep(POLL_SECONDS)


def _remove(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()


def lacks() -> list[str]:
    """The controllers that containers need and this kernel does not offer."""
    if (ROOT / "cgroup.controllers").exists():
        offered = set((ROOT / "cgroup.controllers").read_text().split()) | {"cpuacct"}
    else:
        offered = {name for folder in hierarchies() for name in folder.name.split(",")}
    return [f"the cgroup controller {name}" for name in NEEDED if name not in offered]
