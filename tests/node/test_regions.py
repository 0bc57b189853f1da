from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hami_core.node import regions
from hami_core.node.regions import Regions
from hami_core.node.tokens import Token

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = Token("GPU-a", 3)
LIVE = "uid-1_main"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a container with the token."""
    return Regions(tmp_path / "regions").prepare("nvidia", [TOKEN])


def sweep(tmp_path: Path, *live: str, offered: tuple[Token, ...] = (TOKEN,), young: float = -1.0) -> int:
    return Regions(tmp_path / "regions").sweep(live, {"nvidia": offered}, young)


def test_a_container_of_any_user_may_write_in_its_folder(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = Regions(tmp_path / "regions").prepare("nvidia", [TOKEN])
    finally:
        os.umask(before)

    assert folder == tmp_path / "regions/nvidia/GPU-a.3"
    assert oct(folder.stat().st_mode & 0o7777) == "0o777"


def test_the_first_of_several_tokens_names_it(tmp_path: Path) -> None:
    folder = Regions(tmp_path).prepare("nvidia", [Token("GPU-b", 0), Token("GPU-a", 10), Token("GPU-a", 9)])

    assert folder.name == "GPU-a.9"


def test_the_same_tokens_lead_to_the_same_folder_with_what_is_in_it(tmp_path: Path, folder: Path) -> None:
    (folder / LIVE).write_text("region")

    assert Regions(tmp_path / "regions").prepare("nvidia", [TOKEN]) == folder
    assert (folder / LIVE).read_text() == "region"


def test_an_id_with_slashes_is_one_folder(tmp_path: Path) -> None:
    folder = Regions(tmp_path).prepare("nvidia", [Token("MIG-GPU-a/1/0", 0)])

    assert folder.parent == tmp_path / "nvidia"


@pytest.mark.parametrize("device", ["..", ".", "a.1"])
def test_names_never_meet_and_never_lead_elsewhere(device: str) -> None:
    assert regions.folder_name(Token(device, 1)) not in {"..", ".", regions.folder_name(Token("a", 1))}
    assert "/" not in regions.folder_name(Token(device, 1))


def test_a_link_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "regions/nvidia").mkdir(parents=True)
    (tmp_path / "regions/nvidia/GPU-a.3").symlink_to(tmp_path)

    with pytest.raises(OSError, match=r"directory|symbolic"):
        Regions(tmp_path / "regions").prepare("nvidia", [TOKEN])


def test_regions_of_pods_that_live_stay_and_all_others_go(tmp_path: Path, folder: Path) -> None:
    for name in (LIVE, "uid-2_main", "uid-1_other", "garbage"):
        (folder / name).write_text("x")

    sweep(tmp_path, LIVE)

    assert [one.name for one in folder.iterdir()] == [LIVE]


def test_what_is_young_may_be_of_a_pod_that_is_not_known_yet(tmp_path: Path, folder: Path) -> None:
    (folder / "uid-9_main").write_text("x")

    assert sweep(tmp_path, young=60.0) == 0
    assert (folder / "uid-9_main").exists()


def test_a_time_that_the_container_has_set_keeps_nothing(tmp_path: Path, folder: Path) -> None:
    (folder / "garbage").write_text("x")
    os.utime(folder / "garbage", (4e9, 4e9))

    assert sweep(tmp_path) == 1


def test_a_region_that_is_none_by_its_size_goes(tmp_path: Path, folder: Path) -> None:
    with (folder / LIVE).open("wb") as file:
        file.truncate(regions.LARGEST + 1)

    assert sweep(tmp_path, LIVE, young=60.0) == 1


def test_a_link_is_removed_and_not_followed(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    (folder / LIVE).symlink_to(tmp_path / "precious/file")
    (folder / "folder").symlink_to(tmp_path / "precious")

    sweep(tmp_path, LIVE)

    assert list(folder.iterdir()) == []
    assert (tmp_path / "precious/file").exists()


def test_a_tree_deeper_than_any_recursion_goes(tmp_path: Path, folder: Path) -> None:
    depth, here = 1500, os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(here)
        here = below
    os.close(here)

    sweep(tmp_path)

    assert list(folder.iterdir()) == []


def test_who_makes_very_many_files_does_not_keep_us(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "MOST", 10)
    for number in range(15):
        (folder / f"file-{number}").touch()

    assert [sweep(tmp_path), sweep(tmp_path), sweep(tmp_path)] == [10, 5, 0]


def test_the_folder_of_a_token_that_is_gone_goes_when_it_is_empty(tmp_path: Path, folder: Path) -> None:
    (folder / LIVE).write_text("x")

    sweep(tmp_path, LIVE, offered=())
    assert folder.exists()
    sweep(tmp_path, offered=())
    assert not folder.exists()


def test_folders_of_a_kind_that_nobody_speaks_of_stay(tmp_path: Path, folder: Path) -> None:
    Regions(tmp_path / "regions").sweep((), {})

    assert folder.exists()


def test_without_any_folder_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert Regions(tmp_path / "nowhere").sweep((), {}) == 0
