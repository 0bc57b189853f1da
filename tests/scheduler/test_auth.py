"""Who may call the extender: three ways, and none that is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_core.errors import SettingsError
from hami_core.settings import resolve
from hami_scheduler.auth import Access, access
from hami_scheduler.settings import SchedulerSettings

if TYPE_CHECKING:
    from pathlib import Path

WORD = "0123456789abcdef-ABCDEF_"


def decided(**values: object) -> Access:
    layer = {f"scheduler.extender.{path}": value for path, value in values.items()}
    return access(resolve({"scheduler": SchedulerSettings}, [("test", layer)])[SchedulerSettings])


def test_by_default_only_a_loopback_address_listens() -> None:
    found = decided()

    assert (found.address.host, found.url, found.tls) == ("127.0.0.1", "http://127.0.0.1:9396", None)


@pytest.mark.parametrize("address", ["127.0.0.9:1", "[::1]:1", "localhost:1"])
def test_every_loopback_address_will_do(address: str) -> None:
    assert decided(bindAddress=address).address.port == 1


@pytest.mark.parametrize("address", [":9396", "0.0.0.0:9396", "10.0.0.1:9396", "[::]:9396", "gpu-1:9396"])
def test_without_a_secret_no_address_may_be_reached_from_elsewhere(address: str) -> None:
    with pytest.raises(SettingsError, match="can be reached from elsewhere"):
        decided(bindAddress=address)


def test_with_a_token_the_verbs_stand_behind_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{WORD}\n")
    found = decided(auth="token", bindAddress=":9396", tokenFile=str(tmp_path / "token"))

    wrong = ["/filter", "/", f"/{WORD}", f"/{WORD}x/filter", "//filter", f"/x/{WORD}/filter", "/\udcff/filter"]

    assert [found.path(path) for path in (f"/{WORD}/filter", *wrong)] == ["/filter", *["/"] * len(wrong)]
    assert found.url == f"http://127.0.0.1:9396/{WORD}"
    assert WORD not in repr(found)


@pytest.mark.parametrize("path", ["/x/filter", "//filter", "filter", ""])
def test_without_a_token_nothing_stands_behind_anything(path: str) -> None:
    assert decided().path(path) in {"/", "/filter"}
    assert (decided().path(path) == "/filter") is (path == "filter")


@pytest.mark.parametrize("text", ["", "short", "sixteen letters and blanks", "with/a/slash/in/it/0123456789"])
def test_a_token_is_one_long_word(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)

    with pytest.raises(SettingsError, match="one word of at least 16"):
        decided(auth="token", tokenFile=str(tmp_path / "token"))


def test_what_a_way_needs_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tokenFile: names no file"):
        decided(auth="token")
    with pytest.raises(SettingsError, match="certFile: names no file"):
        decided(auth="mtls")
    with pytest.raises(SettingsError, match=r"tokenFile: .* cannot be read"):
        decided(auth="token", tokenFile=str(tmp_path / "missing"))
