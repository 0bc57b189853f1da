"""The folder of local state: where it is, whom it belongs to, and one subfolder for each machine.

    <root>/                    0700, ours alone
      <machine>/               "host", or a simulated machine's name; its plugin keeps its own files here too
        lock                   held for one decision
        queue/                 who waits            (``queue``)
        holdings/              who holds what       (``holdings``)
        pods/                  what became of pods, and what they wrote (``pods``, ``logs``)

Nothing here knows what is in the files.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import names
from hami_core.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Folder:
    """The state of one machine."""

    path: Path

    @property
    def lock(self) -> Path:
        """The lock that a decision is made under."""
        return self.path / "lock"

    @property
    def queue(self) -> Path:
        """One file for each waiting pod."""
        return self.path / "queue"

    @property
    def holdings(self) -> Path:
        """One folder for each pod that holds something."""
        return self.path / "holdings"

    @property
    def pods(self) -> Path:
        """One folder for each pod that was asked for, until some time after its end."""
        return self.path / "pods"


def root(environment: Mapping[str, str] = os.environ) -> Path:
    """The state folder, made if it is not there. StateError: not a folder, not ours, or others may write to it."""
    path = _place(environment)
    _check_name(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise StateError(f"state folder {path}: {error.strerror}; name another one by {names.ENV_STATE}") from error
    _check(path, found)
    return path


def _place(environment: Mapping[str, str]) -> Path:
    if named := environment.get(names.ENV_STATE):
        return Path(named).resolve()
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "hami"
    return Path(tempfile.gettempdir()) / f"hami-{os.geteuid()}"


def _check_name(path: Path) -> None:
    """Refuse what the dynamic loader would read as two folders: a simulated machine's libraries are found below (ld.so(8))."""
    for character in ":;\n":
        if character in str(path):
            fault = f"its path holds {character!r}, at which the dynamic loader cuts paths in two"
            raise StateError(f"state folder {path}: {fault}; name another one by {names.ENV_STATE}")


def _check(path: Path, found: os.stat_result) -> None:
    """Whoever may write here may give himself a share, or have a library loaded into our programs."""
    if not stat.S_ISDIR(found.st_mode):
        fault = "is not a folder"
    elif found.st_uid != os.geteuid():
        fault = f"belongs to user {found.st_uid}, not to user {os.geteuid()}"
    elif found.st_mode & 0o022:
        fault = f"can be written by others (mode {stat.S_IMODE(found.st_mode):04o}); chmod 700 puts it right"
    else:
        return
    raise StateError(f"state folder {path}: {fault}; or name another one by {names.ENV_STATE}")


def folder(root: Path, machine: str) -> Folder:
    """The state of the machine of this name, its folders made if they are not there. StateError: no name for a folder."""
    if not machine or machine.startswith(".") or "/" in machine:
        raise StateError(f'machine "{machine}": its name must be one for a folder; use letters, digits and hyphens')
    found = Folder(root / machine)
    for path in (found.queue, found.holdings, found.pods):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found
