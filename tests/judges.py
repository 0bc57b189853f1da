"""Real programs that judge the simulated machine: from Debian's component non-free, unpacked in a cache, never installed.

Needs ``apt-get`` and ``dpkg`` with a Debian mirror among the system's own sources; the mirror is taken from there, and a
private apt configuration adds the component. Where that cannot be had, ``Missing`` says what was tried.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SMI = "nvidia-smi"
CUDA = "libcuda1"
NVML = "libnvidia-ml1"
APT_SECONDS = 240  # two index files of some hundred kB and a package of a few MB, on a slow line


class Missing(Exception):
    """A judge cannot be had here; the text says why."""


def fetch(package: str) -> Path:
    """The folder that holds one package's files as the package lays them out (``usr/bin/...``).

    The first call per machine downloads; later ones read the cache. Safe between several test processes. Raises Missing.
    """
    root = _cache() / package
    with _alone(root.with_suffix(".lock")):
        if not root.exists():
            _unpack(_download(package), root)
    return root


def program(package: str, name: str) -> Path:
    """The one file called ``name`` in a package. Raises Missing."""
    for path in sorted(fetch(package).rglob(name)):
        if path.is_file() and not path.is_symlink():
            return path
    raise Missing(f"{package} holds no file called {name}")


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hami-judges"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(package: str) -> Path:
    """The package file, by a private apt that shares the system's keys and mirror, and neither its lists nor its cache."""
    apt = _cache() / "apt"
    options = _private(apt)
    _apt([*options, "update"], apt)
    _apt([*options, "download", package], apt)
    found = sorted(apt.glob(f"{package}_*.deb"))
    if not found:
        raise Missing(f"apt-get download {package} left no file")
    return found[-1]


def _private(folder: Path) -> list[str]:
    for name in ("lists/partial", "cache/archives/partial", "none"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(_sources())
    settings = {
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": folder / "none",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",  # the sandbox user cannot write into our folder
        "Acquire::Languages": "none",
        "Acquire::Retries": 2,
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _sources() -> str:
    """Lines for the component non-free of the very Debian releases that the system reads ``main`` from."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Missing("there is no apt-get or no dpkg here: Debian's packages cannot be fetched")
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = {tuple(line.split()[:2]) for line in targets.splitlines() if line.split()[2:] == ["main"]}
    lines = [f"deb {uri} {release} non-free" for uri, release in sorted(found) if "-" not in release and "debian" in uri]
    if not lines:
        raise Missing("apt has no Debian release among its sources: nvidia-smi lives in Debian's component non-free")
    return "\n".join(lines) + "\n"


def _apt(arguments: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            ["apt-get", "-q", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=APT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise Missing(f"apt-get {arguments[-1]} took longer than {APT_SECONDS} s") from error
    if done.returncode:
        raise Missing(f"apt-get {arguments[-1]} failed: {done.stderr.strip() or done.stdout.strip()}")


def _unpack(package: Path, root: Path) -> None:
    """By a folder beside and a rename, so that an interrupted test leaves no half of a package."""
    fresh = root.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    subprocess.run(["dpkg", "-x", str(package), str(fresh)], check=True, capture_output=True)
    fresh.rename(root)
