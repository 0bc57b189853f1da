from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_core import hookimpl
from hami_core.errors import NoMachine, SettingsError
from hami_core.local import host, state
from hami_core.plugins import load
from tests.local.acme import Acme, a_host

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.model import DeviceInventory


def test_the_real_host_has_what_its_plugins_find(tmp_path: Path) -> None:
    here = a_host(tmp_path, [8000, 4000])

    assert (here.name, here.machine) == ("host", None)
    assert [device.id for device in here.inventories["acme"].devices] == ["card-0", "card-1"]
    assert here.folder == state.Folder(tmp_path / "host")


def test_a_simulated_machine_has_a_folder_of_its_own(tmp_path: Path) -> None:
    assert a_host(tmp_path, machine="toy").folder.path == tmp_path / "toy"


def test_an_unknown_machine_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoMachine, match='machine "nope": no plugin that is loaded knows it'):
        a_host(tmp_path, machine="nope")


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown setting"):
        host.open_host(load([], block=""), [("--set", {"a.b": "c"})], None, tmp_path)


def test_a_host_without_devices_is_told_with_what_to_do(tmp_path: Path) -> None:
    here = a_host(tmp_path, [])

    assert str(host.no_machine(here)) == (
        "this host has no device that a loaded plugin knows; "
        "name a simulated machine by --machine t4-node or HAMI_MACHINE=t4-node, or see `hami plugins`"
    )


def test_a_plugin_that_fails_to_look_is_told(tmp_path: Path) -> None:
    class Broken(Acme):
        @hookimpl
        def hami_discover(self) -> list[DeviceInventory]:
            raise OSError("driver gone")

    here = a_host(tmp_path, plugin=Broken([1]))

    assert [str(failure) for failure in here.failures] == ['plugin "acme": OSError: driver gone']
    assert "driver gone" in str(host.no_machine(here, "acme"))
