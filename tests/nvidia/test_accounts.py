from __future__ import annotations

from typing import TYPE_CHECKING

from hami_nvidia import accounts

if TYPE_CHECKING:
    from pathlib import Path


def test_a_container_that_has_not_used_a_gpu_is_left_out(tmp_path: Path) -> None:
    assert accounts.read({"uid/main": str(tmp_path / "limits")}) == {}


def test_a_damaged_region_is_told_and_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "uid_main").write_text("no region")

    found = accounts.read({"uid/main": str(tmp_path / "limits"), "uid/other": str(tmp_path / "elsewhere" / "limits")})

    assert list(found) == ["uid/main"]
    assert str(tmp_path / "uid_main") in found["uid/main"].fault
    assert found["uid/main"].devices == ()
