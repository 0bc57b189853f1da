"""The contract suite itself: a sound plugin passes, and each rule, broken once, is noticed in one sentence."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from hami_core.errors import DriverError, HamiError
from hami_core.testing import PluginContract
from tests.core.contract import declared, devices, granted, judged, parsed, placed
from tests.core.contract.plugins import Sound, a_plugin, split
from tests.core.fleet import a_device, an_inventory

if TYPE_CHECKING:
    from hami_core.model import Capacity, DeviceInventory, Kind

RULES = [name for name in dir(PluginContract) if name.startswith("test_")]
BROKEN = [case for subject in (declared, devices, parsed, judged, placed, granted) for case in subject.CASES.items()]


def broken_rules(plugin: object, **attributes: object) -> dict[str, str]:
    """Rule -> sentence, for all that fail."""
    suite = type("TestAcme", (PluginContract,), {"plugin": plugin, **attributes})
    broken = {}
    for rule in RULES:
        try:
            getattr(suite(), rule)()
        except (AssertionError, HamiError) as error:
            broken[rule] = str(error).splitlines()[0]
    return broken


# --- What is sound ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sound_plugin_keeps_every_rule() -> None:
    assert broken_rules(a_plugin()) == {}


@pytest.mark.slow
def test_its_own_devices_and_settings_are_used() -> None:
    seen: set[tuple[str, int]] = set()

    def watch(kind: Kind, inventory: DeviceInventory, settings: Any) -> list[Capacity] | None:
        seen.update((device.id, settings[Sound].slots) for device in inventory.devices)
        return split(kind, inventory, settings)

    inventory = an_inventory(a_device(0), a_device(1))

    assert broken_rules(a_plugin(hami_split=watch), inventory=inventory, settings={"acme.slots": 2}) == {}
    assert seen == {("d0", 2), ("d1", 2)}


@pytest.mark.slow
def test_a_driver_that_fails_as_a_whole_breaks_no_rule() -> None:
    def discover() -> NoReturn:
        raise DriverError("acme", "is down")

    assert broken_rules(a_plugin(hami_discover=discover)) == {}


# --- Each rule, broken -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "plugin", "sentence"), [pytest.param(*case, id=name) for name, case in BROKEN])
def test_a_broken_rule_is_noticed_in_a_sentence(rule: str, plugin: object, sentence: str) -> None:
    suite = type("TestAcme", (PluginContract,), {"plugin": plugin})

    with pytest.raises((AssertionError, HamiError)) as caught:
        getattr(suite(), rule)()

    assert sentence in str(caught.value)


def test_every_rule_is_broken_once() -> None:
    assert set(RULES) - {"test_importing_it_imports_neither_numpy_nor_a_driver"} == {rule for _, (rule, _, _) in BROKEN}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("import numpy", "importing greedy imports numpy; do it inside the hook that needs it"),
        ("import ctypes; ctypes.CDLL('libm.so.6')", "importing greedy loads the library libm.so.6; do it inside"),
        ("import no_such_module", "greedy cannot be imported by itself: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_an_import_of_something_heavy_is_noticed(
    line: str, sentence: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy.py").write_text(f"{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    suite = type("TestGreedy", (PluginContract,), {"plugin": ModuleType("greedy")})

    with pytest.raises(AssertionError) as caught:
        suite().test_importing_it_imports_neither_numpy_nor_a_driver()

    assert sentence in str(caught.value)
