from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hami_core.errors import PluginError
from hami_core.model import Mount
from hami_core.node import files

if TYPE_CHECKING:
    from pathlib import Path


def a_library(folder: Path, name: str = "libacme.so", content: bytes = b"one") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def install(tmp_path: Path, *libraries: Path) -> files.Version:
    return files.install(tmp_path / "host", {"acme": [str(one) for one in libraries]})


def test_a_container_gets_the_libraries_and_the_list_of_them(tmp_path: Path) -> None:
    version = install(tmp_path, a_library(tmp_path / "a"), a_library(tmp_path / "a", "libmore.so"))

    assert version.mounts == (
        Mount(str(version.folder / "libacme.so"), "/var/lib/hami/lib/libacme.so"),
        Mount(str(version.folder / "libmore.so"), "/var/lib/hami/lib/libmore.so"),
        Mount(str(version.folder / "ld.so.preload"), "/etc/ld.so.preload"),
    )
    assert (version.folder / "libacme.so").read_bytes() == b"one"
    assert (version.folder / "ld.so.preload").read_text() == "/var/lib/hami/lib/libacme.so\n/var/lib/hami/lib/libmore.so\n"


def test_everybody_may_read_them_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        version = install(tmp_path, a_library(tmp_path / "a"))
    finally:
        os.umask(before)

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (version.folder, *version.folder.iterdir())}
    assert modes == {version.folder.name: "0o755", "libacme.so": "0o644", "ld.so.preload": "0o644"}


def test_another_content_is_another_version_beside_the_first(tmp_path: Path) -> None:
    first = install(tmp_path, a_library(tmp_path / "a"))

    second = install(tmp_path, a_library(tmp_path / "a", content=b"two"))

    assert first.folder != second.folder
    assert (first.folder / "libacme.so").read_bytes() == b"one"


def test_the_same_content_is_the_same_version_and_its_files_stay(tmp_path: Path) -> None:
    first = install(tmp_path, a_library(tmp_path / "a"))
    before = {path.name: path.stat().st_ino for path in first.folder.iterdir()}

    assert install(tmp_path, a_library(tmp_path / "a")) == first
    assert {path.name: path.stat().st_ino for path in first.folder.iterdir()} == before


def test_a_damaged_file_is_replaced_and_who_has_it_open_keeps_it(tmp_path: Path) -> None:
    library = install(tmp_path, a_library(tmp_path / "a")).folder / "libacme.so"
    library.write_bytes(b"on")

    with library.open("rb") as running:
        install(tmp_path, a_library(tmp_path / "a"))
        assert running.read() == b"on"

    assert library.read_bytes() == b"one"


def test_a_missing_file_is_put_back(tmp_path: Path) -> None:
    version = install(tmp_path, a_library(tmp_path / "a"))
    (version.folder / "ld.so.preload").unlink()

    install(tmp_path, a_library(tmp_path / "a"))

    assert (version.folder / "ld.so.preload").is_file()


def test_what_a_killed_agent_left_is_removed(tmp_path: Path) -> None:
    version = install(tmp_path, a_library(tmp_path / "a"))
    (version.folder.parent / ".half.17").mkdir()

    install(tmp_path, a_library(tmp_path / "a"))

    assert [one.name for one in version.folder.parent.iterdir()] == [version.folder.name]


def test_nothing_is_there_if_not_all_of_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        install(tmp_path, a_library(tmp_path / "a"))
    assert list((tmp_path / "host" / "versions").iterdir()) == []


def test_two_libraries_of_one_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="another plugin's library has this name, too"):
        install(tmp_path, a_library(tmp_path / "a"), a_library(tmp_path / "b"))


def test_a_library_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        install(tmp_path, tmp_path / "nothing.so")


def test_an_old_version_goes_when_no_pod_can_have_been_given_it(tmp_path: Path) -> None:
    old = install(tmp_path, a_library(tmp_path / "a"))
    new = install(tmp_path, a_library(tmp_path / "a", content=b"two"))
    os.utime(old.folder, (1000, 1000))
    os.utime(new.folder, (500, 500))

    assert files.remove_old(tmp_path / "host", new, oldest=1000) == []
    assert files.remove_old(tmp_path / "host", new, oldest=1000.5) == [old.folder.name]
    assert [one.name for one in new.folder.parent.iterdir()] == [new.folder.name]


def test_using_a_version_keeps_it(tmp_path: Path) -> None:
    old = install(tmp_path, a_library(tmp_path / "a"))
    new = install(tmp_path, a_library(tmp_path / "a", content=b"two"))
    os.utime(old.folder, (1000, 1000))

    old.use()

    assert files.remove_old(tmp_path / "host", new, oldest=2000) == []
