"""Where the programs are: a folder that the user names, PATH if the version fits, our cache, or a build of them.

``KUBEBUILDER_ASSETS`` names the folder, as for envtest; what lies there is taken as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from hami_core.errors import UserError
from hami_core.testing.cluster import building
from hami_core.testing.cluster.modules import ETCD, KWOK, Module, kubernetes, versions

ASSETS = "KUBEBUILDER_ASSETS"
Note = Callable[[str], None]


def find(version: str, programs: Iterable[str], note: Note = print) -> dict[str, Path]:
    """The path of each program, built if need be. ``version`` is Kubernetes'; etcd and kwok go with any.

    UserError: a version that we have no module for, or no Go can be had. building.BuildFailed: what the compiler said.
    """
    found: dict[str, Path] = {}
    missing: dict[Module, list[str]] = {}
    for program in programs:
        module = module_of(version, program)
        path = present(module, program)
        if path:
            found[program] = path
        else:
            missing.setdefault(module, []).append(program)
    for module, wanted in missing.items():
        found |= building.build(module, wanted, cached(module), note)
    return found


def module_of(version: str, program: str) -> Module:
    """Whose program it is. UserError: a version that we have no module for."""
    if program in ETCD.packages:
        return ETCD
    if program in KWOK.packages:
        return KWOK
    if version not in versions():
        raise UserError(f"Kubernetes {version}: there is no module file to build it from; there are {', '.join(versions())}")
    return kubernetes(version)


def present(module: Module, program: str) -> Path | None:
    """Where the program is already."""
    return _named(program) or _on_path(module, program) or _executable(cached(module) / program)


def _named(program: str) -> Path | None:
    folder = os.environ.get(ASSETS)
    return _executable(Path(folder) / program) if folder else None


def _on_path(module: Module, program: str) -> Path | None:
    """If it says that it is of exactly this version."""
    path = shutil.which(program)
    if not path:
        return None
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(path) if re.search(rf"\bv?{re.escape(module.version)}(?![\w.-])", said) else None


def _executable(path: Path) -> Path | None:
    return path if path.is_file() and os.access(path, os.X_OK) else None


def cached(module: Module) -> Path:
    """The folder of our cache for the programs of a module: one for each version."""
    return cache() / str(module)


def cache() -> Path:
    """``$XDG_CACHE_HOME/hami``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hami"
