"""What containers load from the host: libraries that come before their own, and the list of them for the dynamic loader.

    <folder>/versions/<version>/libvgpu.so
                                ld.so.preload        /var/lib/hami/lib/libvgpu.so

A version is the hash of all that is in it, and stays as it is: an agent of another one installs beside it. A container keeps
the paths that it was given for all its starts, so a version goes only when no pod can have been given it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import names
from hami_core.errors import PluginError
from hami_core.model import Mount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VERSIONS = "versions"
LIST = Path(names.PRELOAD_FILE).name
_DIGITS = 16  # of the hash


@frozen
class Version:
    """An installed version. ``libraries``: by name, in the order in which they are loaded."""

    folder: Path
    libraries: tuple[str, ...]

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What a container is given of it."""
        libraries = (Mount(str(self.folder / name), f"{names.LIBRARY_FOLDER}/{name}") for name in self.libraries)
        return (*libraries, Mount(str(self.folder / LIST), names.PRELOAD_FILE))

    def use(self) -> None:
        """A container is given it now. OSError: it is not there."""
        os.utime(self.folder)


def install(folder: Path, preloads: Mapping[str, Sequence[str]]) -> Version:
    """Have these libraries under ``folder``, whole or not at all. ``preloads``: by plugin, as paths that we can read.

    OSError: one cannot be read, or there is no room. PluginError: two are of one name.
    """
    libraries = _by_name(preloads)
    contents = {name: path.read_bytes() for name, path in libraries.items()}
    contents[LIST] = "".join(f"{names.LIBRARY_FOLDER}/{name}\n" for name in libraries).encode()
    version = Version(folder / VERSIONS / _digest(contents), tuple(libraries))
    version.folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(version.folder.parent)
    if not version.folder.is_dir():
        _put(version.folder, contents)
    for name, content in contents.items():
        if not _holds(version.folder / name, content):
            _replace(version.folder / name, content)  # whoever has the damaged one open keeps it
    version.use()
    return version


def _by_name(preloads: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for plugin, paths in preloads.items():
        for path in map(Path, paths):
            if found.setdefault(path.name, path) != path:
                raise PluginError(
                    plugin, f"{path}: another plugin's library has this name, too: {found[path.name]}", "hami_mounts"
                )
    return found


def _digest(contents: Mapping[str, bytes]) -> str:
    whole = sha256()
    for name, content in contents.items():
        whole.update(f"{name} {len(content)}\n".encode() + content)
    return whole.hexdigest()[:_DIGITS]


def _put(folder: Path, contents: Mapping[str, bytes]) -> None:
    """The folder with all of it at one moment."""
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    fresh.mkdir()
    fresh.chmod(0o755)  # the umask does not count
    try:
        for name, content in contents.items():
            _write(fresh / name, content)
        _sync(fresh)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _sync(folder.parent)


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(fresh, content)
        fresh.rename(path)
    finally:
        fresh.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.is_file() and path.read_bytes() == content
    except OSError:
        return False


def _remove_unfinished(parent: Path) -> None:
    """What an agent left that was killed over it: there is one agent on a node."""
    for left in parent.glob(".*"):
        shutil.rmtree(left, ignore_errors=True)


def remove_old(folder: Path, current: Version, oldest: float) -> list[str]:
    """Remove the versions that were given to nobody since ``oldest``, and say which.

    ``oldest``: when the oldest pod of the node that still runs had begun, in seconds of the epoch.
    """
    removed = []
    for one in _folders(folder / VERSIONS):
        with suppress(OSError):  # the next time
            if one != current.folder and one.stat().st_mtime < oldest:
                shutil.rmtree(one)
                removed.append(one.name)
    return removed


def _folders(parent: Path) -> Iterable[Path]:
    try:
        return [one for one in parent.iterdir() if one.is_dir() and not one.name.startswith(".")]
    except OSError:
        return []
