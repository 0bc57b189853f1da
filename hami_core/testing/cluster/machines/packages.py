"""Debian's packages, unpacked into our cache and never installed: containerd and what goes with it.

By the system's own apt-get where its lists are good; else by a private one that shares its keys and mirrors.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from hami_core.errors import UserError
from hami_core.testing.cluster.binaries import Note, cache
from hami_core.testing.cluster.locks import alone

if TYPE_CHECKING:
    from collections.abc import Iterable

NODE = ("containerd", "runc", "libseccomp2", "containernetworking-plugins", "busybox-static")
SECONDS = 300


def fetch(names: Iterable[str], note: Note) -> list[Path]:
    """The folder of each package, laid out as the package is (``usr/bin/...``). UserError: one cannot be had, and why."""
    folder = cache() / f"debian-{_release()}"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(names)
    with alone(folder / "lock", lambda: note("another process fetches Debian's packages; waiting for that")):
        if missing := [name for name in wanted if not (folder / name).exists()]:
            note(f"Debian's {', '.join(missing)}: fetched, once")
            for name, package in _downloaded(missing, folder / "apt").items():
                _unpack(package, folder / name)
            shutil.rmtree(folder / "apt")
    return [folder / name for name in wanted]


def lacks() -> list[str]:
    """What this machine lacks to fetch packages."""
    return [f"{program} (of Debian or Ubuntu)" for program in ("apt-get", "dpkg") if not shutil.which(program)]


def _release() -> str:
    """The distribution's release and the architecture: packages of another one do not go with this C library."""
    lines = Path("/etc/os-release").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return f"{found.get('VERSION_CODENAME', 'unknown').strip(chr(34))}-{os.uname().machine}"


def _downloaded(names: list[str], apt: Path) -> dict[str, Path]:
    """The package files."""
    shutil.rmtree(apt, ignore_errors=True)
    private = _private(apt)
    said = _apt(["download", *names], apt)
    if said:
        said = _apt([*private, "update"], apt) or _apt([*private, "download", *names], apt)
    if said:
        raise UserError(f"Debian's packages {', '.join(names)} cannot be had: {said}")
    return {name: next(apt.glob(f"{name}_*.deb")) for name in names}


def _apt(words: list[str], folder: Path) -> str:
    """What it said if it failed; empty if it did not."""
    command = ["apt-get", "-q", "-o", f"APT::Sandbox::User={'root' if os.geteuid() == 0 else ''}", *words]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"apt-get: {error}"
    return f"apt-get: {done.stderr.strip() or done.stdout.strip()}" if done.returncode else ""


def _private(folder: Path) -> list[str]:
    """Options for an apt of our own: fresh lists of the distribution's own mirrors."""
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
        "Acquire::Languages": "none",
        "Acquire::Retries": 2,
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _sources() -> str:
    """The system's own, less those of others: one mirror that does not answer fails the whole update."""
    return "".join(f"deb {' '.join(source)}\n" for source in _told())


def mirror() -> str:
    """Where Debian's releases are, by what the system reads its own from. UserError: it reads none."""
    for address, release, _ in _told():
        if "debian" in address and "-" not in release:
            return address
    raise UserError("apt has no Debian release among its sources: no root file system can be made of one")


def _told() -> list[tuple[str, str, str]]:
    """Address, release and component of every source of the distribution's."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    found = [line.split() for line in told if "debian" in line or "ubuntu" in line]
    return sorted({(address, release, component) for address, release, component in found})


def _unpack(package: Path, into: Path) -> None:
    """By a folder beside and a rename. A /bin or /lib of the package's goes below /usr, as on a system of today."""
    fresh = into.with_name(f".{into.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    subprocess.run(["dpkg", "-x", str(package), str(fresh)], check=True, capture_output=True)
    for top in ("bin", "sbin", "lib"):
        if (fresh / top).is_dir():
            (fresh / "usr").mkdir(exist_ok=True)
            shutil.copytree(fresh / top, fresh / "usr" / top, dirs_exist_ok=True, symlinks=True)
            shutil.rmtree(fresh / top)
    fresh.rename(into)
