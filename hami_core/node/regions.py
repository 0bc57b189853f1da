"""The folders in which containers keep their regions: one for each token, with one file for each grant.

    <folder>/regions/<kind>/<device>.<slot>/<uid>_<container>

A container is given the folder of its first token. It may run as any user and write there what it likes, and nobody else's
folder is in its reach. So nothing in there is trusted or followed: a file is kept while it is the region of a pod that lives,
and everything else goes. There are as many folders as tokens, each with as much as its containers that live may have.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from hami_core.node.tokens import Token

MODE: Final = 0o777  # a container's users share its region, whoever made it
LARGEST: Final = 4 << 20  # bytes; a region is an eighth of it
YOUNG: Final = 60.0  # seconds in which a file may be one that is being made, or of a pod that we have not heard of yet
MOST: Final = 10_000  # removals in one folder and sweep: who makes more files is not to keep us


@frozen
class Regions:
    """The regions' folders of a node."""

    root: Path

    def prepare(self, kind: str, tokens: Sequence[Token]) -> Path:
        """The folder of a container with these tokens, made if it is not there. OSError: it cannot be, or is none of ours."""
        above = self.root / kind
        above.mkdir(mode=0o755, parents=True, exist_ok=True)
        folder = above / folder_name(min(tokens, key=lambda token: (token.device, token.slot)))
        with suppress(FileExistsError):
            folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, MODE)  # the umask does not count
        finally:
            os.close(descriptor)
        return folder

    def sweep(self, live: Collection[str], offered: Mapping[str, Collection[Token]], young: float = YOUNG) -> int:
        """Remove what belongs to no pod that lives, and the folders of tokens that are gone. How many removals it were.

        ``live``: the names of the regions of all pods that live here. ``offered``: the tokens of each kind that is known now;
        folders of other kinds stay.
        """
        removed = 0
        for kind, folders in self._folders():
            wanted = {folder_name(token) for token in offered[kind]} if kind in offered else None
            for folder in folders:
                removed += _Sweep(live, time.time() - young).of(folder)
                if wanted is not None and folder.name not in wanted:
                    with suppress(OSError):  # there is something in it still
                        folder.rmdir()
        return removed

    def _folders(self) -> Iterator[tuple[str, list[Path]]]:
        with suppress(FileNotFoundError):
            for above in self.root.iterdir():
                yield above.name, list(above.iterdir())


def folder_name(token: Token) -> str:
    """Of a token's folder: a slot has no dot in it, so that two tokens never have one name."""
    return f"{quote(token.device, safe='')}.{token.slot}"


@define
class _Sweep:
    """One folder swept by its descriptor: what is renamed or linked meanwhile leads nowhere else."""

    live: Collection[str]
    before: float  # by the epoch: what has changed since then is young
    removed: int = 0

    def of(self, folder: Path) -> int:
        with suppress(OSError):  # removed meanwhile, or none of ours; else the next time
            top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                while self.removed < MOST and self._once(top):
                    pass
            finally:
                os.close(top)
        return self.removed

    def _once(self, top: int) -> bool:
        """All that lies in the folder now. Whether something came up from below, which is to be looked at again."""
        came = False
        for name, about in _entries(top):
            if self.removed >= MOST:
                return False
            if stat.S_ISDIR(about.st_mode):
                came |= self._flatten(top, name)
            elif not self._is_kept(name, about):
                self._remove(name, top)
        return came

    def _is_kept(self, name: str, about: os.stat_result) -> bool:
        """The time of the last change of the file's own data: its owner can set the others."""
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return False
        return name in self.live or about.st_ctime > self.before

    def _flatten(self, top: int, name: str) -> bool:
        """Bring the folders of a folder up here, and remove it: a tree of any depth, without recursion."""
        came = False
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
        try:
            for inner, about in _entries(below):
                if self.removed >= MOST:
                    return False
                if stat.S_ISDIR(about.st_mode):
                    os.rename(
                        inner, secrets.token_hex(8), src_dir_fd=below, dst_dir_fd=top
                    )  # a name that nobody can take first
                    came = True
                else:
                    self._remove(inner, below)
        finally:
            os.close(below)
        self._remove(name, top, os.rmdir)
        return came

    def _remove(self, name: str, folder: int, remove: Callable[..., None] = os.unlink) -> None:
        """Or try to: whoever fills the folder meanwhile only keeps what is his."""
        self.removed += 1
        with suppress(OSError):
            remove(name, dir_fd=folder)


def _entries(folder: int) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as found:
        for one in found:
            with suppress(FileNotFoundError):
                yield one.name, one.stat(follow_symlinks=False)
