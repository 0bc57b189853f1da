"""What any container of a kind is given from this node: as its plugin says, libraries and regions where containers find them.

Asked at the kubelet's Allocate: a few operations on files, no driver, nobody else. On a simulated machine containers find its
drivers, too, in place of those that a vendor's runtime would put in.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from attrs import evolve

from hami_core import names
from hami_core.errors import HamiError, PluginError
from hami_core.model import Mount, Mounts
from hami_core.node import files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hami_core.node.files import Version
    from hami_core.node.regions import Regions
    from hami_core.node.tokens import Token
    from hami_core.site import Site

_log = logging.getLogger(__name__)


class Unprepared(HamiError):
    """Nothing can be given: what would hold the limit is not on the node."""


class Preparation:
    """What containers are given, on one node."""

    def __init__(self, where: Site, folder: Path, regions: Regions) -> None:
        self._site, self._folder, self._regions = where, folder, regions
        self.version: Version | None = None
        self.failure = "nothing is installed yet"  # why there is no version; empty: there is

    def install(self) -> None:
        """Have the libraries on the node. What fails is told, and to be tried again; what is there already stays in use."""
        try:
            self.version = files.install(self._folder, self._preloads())
            self.failure = ""
        except (OSError, HamiError) as error:
            self.failure = str(error)
            _log.error("libraries are not installed", extra={"error": self.failure})

    def _preloads(self) -> dict[str, Sequence[str]]:
        """By kind."""
        kinds = self._site.catalogue.kinds
        return {kind.name: found for kind in kinds if (found := self._mounts(kind.name, ()).preload)}

    def _mounts(self, kind: str, tokens: Sequence[Token]) -> Mounts:
        """As its plugin says. PluginError."""
        answer = self._site.plugins.ask_first(
            "hami_mounts",
            kind=self._site.catalogue.kind(kind),
            tokens=tuple(map(str, tokens)),
            settings=self._site.settings,
        )
        assert answer  # the core's own comes last
        mounts: Mounts = answer[1]
        return mounts

    def prepare(self, kind: str, tokens: Sequence[Token]) -> Mounts:
        """For a container with these tokens. OSError or HamiError: it must not start."""
        mounts = self._on_machine(self._mounts(kind, tokens))
        if not mounts.preload:
            return mounts
        version = self._version(kind, mounts.preload)
        region = Mount(str(self._regions.prepare(kind, tokens)), names.REGION_FOLDER, read_only=False)
        return evolve(mounts, files=(*mounts.files, *version.mounts, region), preload=())

    def _version(self, kind: str, preload: Sequence[str]) -> Version:
        if self.version is None:
            raise Unprepared(f"{kind}: the node cannot hold a limit: {self.failure}")
        strange = [path for path in preload if os.path.basename(path) not in self.version.libraries]  # noqa: PTH119  # a text
        if strange:
            raise PluginError(self._site.catalogue.owners[kind], f"{strange[0]}: was not named at the start", "hami_mounts")
        self.version.use()
        return self.version

    def _on_machine(self, mounts: Mounts) -> Mounts:
        machine = self._site.machine
        if machine is None:
            return mounts
        here = Mount(machine.folder, machine.folder, read_only=False)  # its drivers, and the state that they share
        env = (*mounts.env, *machine.env, ("LD_LIBRARY_PATH", ":".join(machine.library_path)))
        return evolve(mounts, files=(*mounts.files, here), env=env)
