"""The environment of a container's processes: the caller's, what the plugins need, and what the manifest says, in that order.

A local run is a tool of its caller, so his environment is the start, as for ``env`` or ``nice``. Pure but for one look at the
libraries to preload: the dynamic loader goes on without one that it does not find, and the limit would be gone in silence.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hami_core import names
from hami_core.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hami_core.local.host import Host
    from hami_core.local.manifest import Container
    from hami_core.model import Grant

PRELOAD, LIBRARIES = "LD_PRELOAD", "LD_LIBRARY_PATH"


def of(host: Host, container: Container, grants: Iterable[Grant], limits: Path, caller: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of one container. PluginError: a library to preload is not there, or its path cannot be said.

    A kind that is here and not granted is shown as hidden: the plugins' variables are fail-closed, and grants override them.
    """
    machine = host.machine
    mine = [*(machine.env if machine else ()), *(pair for mounts in host.mounts.values() for pair in mounts.env)]
    env = {**caller, **dict(mine), **dict(container.env), names.ENV_LIMITS: str(limits)}
    for grant in grants:
        env |= {**dict(grant.env), host.catalogue.kind(grant.kind).visible_env: grant.visible}
    _put_first(env, LIBRARIES, machine.library_path if machine else (), separators=":")
    _put_first(env, PRELOAD, _preloads(host), separators=": ")
    return env


def caller() -> dict[str, str]:
    """The environment of whoever called hami; the programs that came with hami (hami-probe) are found behind all others."""
    path = os.pathsep.join(filter(None, (os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent))))
    return {**os.environ, "PATH": path}


def _preloads(host: Host) -> list[str]:
    found = []
    for kind, mounts in host.mounts.items():
        for library in mounts.preload:
            if any(separator in library for separator in ": "):
                fault = f"{library}: {PRELOAD} cannot name a path with a blank or a colon; install hami elsewhere"
                raise PluginError(host.catalogue.owners[kind], fault, "hami_mounts")
            if not Path(library).is_file():
                raise PluginError(host.catalogue.owners[kind], f"{library}: there is no such library to preload", "hami_mounts")
            found.append(library)
    return found


def _put_first(env: dict[str, str], name: str, entries: Iterable[str], separators: str) -> None:
    """Put entries before those that are there, each once: a run within a run has them already."""
    there = env.get(name, "")
    for separator in separators:
        there = there.replace(separator, separators[0])
    joined = separators[0].join(dict.fromkeys(entry for entry in (*entries, *there.split(separators[0])) if entry))
    if joined:
        env[name] = joined
