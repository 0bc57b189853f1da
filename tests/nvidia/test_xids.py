"""Which Xids make a GPU unhealthy: NVIDIA's catalogue, overruled by two settings."""

from __future__ import annotations

import pytest

from hami_core import settings
from hami_core.errors import SettingsError
from hami_nvidia import xids
from hami_nvidia.settings import NvidiaSettings
from hami_nvidia.xids import Effect


def effect(xid: int, disabled: str = "none", enabled: str = "none") -> Effect:
    return xids.rules(disabled, enabled).effect(xid)


@pytest.mark.parametrize("xid", [8, 13, 31, 43, 45, 68, 69, 109, 137])
def test_what_a_program_causes_harms_nobody(xid: int) -> None:
    assert effect(xid) is Effect.NONE


@pytest.mark.parametrize("xid", [46, 48, 61, 62, 64, 74, 95, 119, 120, 121, 136, 140, 143, 149])
def test_what_asks_for_a_reset_makes_sick(xid: int) -> None:
    assert effect(xid) is Effect.SICK


def test_what_nobody_knows_makes_sick() -> None:
    assert effect(9999) is Effect.SICK


def test_a_gpu_off_the_bus_is_lost_and_contained_errors_are_contained() -> None:
    assert [effect(xid) for xid in (79, 63, 92, 94)] == [Effect.LOST, *[Effect.CONTAINED] * 3]


@pytest.mark.parametrize(
    ("disabled", "enabled", "sick"),
    [
        ("48", "none", {79}),
        ("48, 79", "none", set()),
        ("48 79", "79", {79}),
        ("xids", "none", set()),
        ("all", "none", set()),
        ("all", "48", {48}),
        ("none", "13", {13, 48, 79}),
        ("13", "xids", {13, 31, 48, 79}),
        ("none", "none", {48, 79}),
    ],
)
def test_settings_overrule_the_catalogue_and_what_is_enabled_wins(disabled: str, enabled: str, sick: set[int]) -> None:
    assert {xid for xid in (13, 31, 48, 79) if effect(xid, disabled, enabled) is not Effect.NONE} == sick


def test_all_is_more_than_xids() -> None:
    assert [xids.rules(word, "none").nothing for word in ("13", "xids", "all")] == [False, False, True]


@pytest.mark.parametrize("text", ["13x", "-1", "yes", "123456", "13;31"])
def test_what_is_no_xid_is_refused_with_its_setting(text: str) -> None:
    with pytest.raises(SettingsError, match=r"devicePlugin\.enableHealthChecks.*numbers of Xids as in"):
        settings.resolve({"nvidia": NvidiaSettings}, [("here", {"devicePlugin.enableHealthChecks": text})])
