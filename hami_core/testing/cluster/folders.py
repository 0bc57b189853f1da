"""The temporary folder of one control plane, and what killed runs have left: their folders, and programs of theirs that live.

A folder is in use as long as somebody holds the lock on its marker file; the kernel lets go of it when the holder dies. Every
program of a control plane carries the folder in its environment.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hami_core.testing.cluster import cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "hami-cluster-"
MARKER = "in-use"
VARIABLE = "HAMI_TEST_CLUSTER"  # the folder, in the environment of each of its programs


class Folder:
    """A fresh folder under ``parent`` (the system's for temporary ones), in use until ``remove`` or the end of this process."""

    def __init__(self, parent: Path | None = None) -> None:
        marker = None
        while marker is None:  # again, if somebody who looks for leftovers was between our marker and its lock
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()  # as its programs are found by it
            marker = _locked(self.path / MARKER)
        self._marker = marker

    def remove(self) -> None:
        """Take it away with all that is in it."""
        _remove(self.path)
        self._marker.close()


def _remove(folder: Path) -> None:
    """With the control groups of its nodes, which carry its name."""
    cgroups.remove(folder.name)
    shutil.rmtree(folder, ignore_errors=True)


def _locked(marker: Path) -> IO[bytes] | None:
    """The marker, open and locked. None: somebody else holds it, or has taken it away in this moment."""
    file = marker.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    if not marker.exists():
        file.close()
        return None
    return file


def remove_leftovers(parent: Path | None = None) -> list[Path]:
    """End and remove what nobody holds any more; the folders that were removed."""
    removed = []
    for marker in sorted(Path(parent or tempfile.gettempdir()).resolve().glob(f"{PREFIX}*/{MARKER}")):
        with suppress(OSError):  # another user's, or gone in this moment
            held = _locked(marker)
            if held is None:
                continue
            with held:
                for pid in programs_of(marker.parent):
                    os.kill(pid, signal.SIGKILL)
                _remove(marker.parent)
            removed.append(marker.parent)
    return removed


def programs_of(folder: Path) -> Iterator[int]:
    """Pids of the programs of the control plane in that folder."""
    word = f"{VARIABLE}={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # another user's, or it has ended
            if word in entry.read_bytes().split(b"\0"):
                yield int(entry.parent.name)
