from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hami_core.errors import StateError
from hami_core.local import state

if TYPE_CHECKING:
    from pathlib import Path


def test_the_named_folder_comes_before_the_runtime_folder(tmp_path: Path) -> None:
    assert state.root({"HAMI_STATE_DIR": str(tmp_path / "a"), "XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "a"
    assert state.root({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "hami"


def test_without_either_it_is_a_temporary_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert state.root({}) == tmp_path / f"hami-{os.geteuid()}"


def test_a_new_folder_is_ours_alone(tmp_path: Path) -> None:
    assert state.root({"HAMI_STATE_DIR": str(tmp_path / "new")}).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)

    with pytest.raises(StateError, match=r"can be written by others \(mode 0770\); chmod 700 puts it right"):
        state.root({"HAMI_STATE_DIR": str(tmp_path)})


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: ours + 1)

    with pytest.raises(StateError, match=f"belongs to user {ours}, not to user {ours + 1}"):
        state.root({"HAMI_STATE_DIR": str(tmp_path)})


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hami").symlink_to(tmp_path)

    with pytest.raises(StateError, match="is not a folder"):
        state.root({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StateError, match="File exists; name another one by HAMI_STATE_DIR"):
        state.root({"HAMI_STATE_DIR": str(tmp_path / "file")})


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_machine_is_named_like_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(StateError, match="its name must be one for a folder"):
        state.folder(tmp_path, name)
