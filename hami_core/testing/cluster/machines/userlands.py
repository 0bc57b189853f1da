"""Root file systems of Debian releases, as layers of images: made once by mmdebstrap from Debian's mirror, then cached."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from hami_core.errors import UserError
from hami_core.testing.cluster.binaries import Note, cache
from hami_core.testing.cluster.locks import alone
from hami_core.testing.cluster.machines import packages

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 600
RELEASES = {"bullseye": "glibc 2.31", "bookworm": "glibc 2.36", "trixie": "glibc 2.41"}  # Debian 11 to 13


def debian(release: str, note: Note) -> Path:
    """The essential packages of a release, 100 MB in a tar. Needs root. UserError: it cannot be made, and why."""
    folder = cache() / "userlands"
    folder.mkdir(parents=True, exist_ok=True)
    tar = folder / f"{release}.tar"
    with alone(folder / "lock", lambda: note("another process makes a root file system; waiting for that")):
        if not tar.exists():
            note(f"a root file system of Debian {release} is made, once; half a minute")
            _make(release, folder / f".{release}.tar", note).rename(tar)
    return tar


def _make(release: str, tar: Path, note: Note) -> Path:
    program = packages.fetch(["mmdebstrap"], note)[0] / "usr/bin/mmdebstrap"
    command = ["perl", str(program), "--quiet", "--mode=root", "--variant=essential", "--format=tar", release, str(tar)]
    done = subprocess.run([*command, packages.mirror()], capture_output=True, text=True, check=False, timeout=SECONDS)
    if done.returncode:
        raise UserError(f"no root file system of Debian {release}: mmdebstrap: {done.stderr.strip()[-2000:]}")
    return tar
