"""Any answer of a hook's own shape is one; what is not is told with its path."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hami_core import hookspecs, shapes
from hami_core.model import Device, DeviceInventory, Link, Machine, Splitting, Usage

ONE = Device("a", 0, "One", 8000)


def inventory(**more: object) -> list[DeviceInventory]:
    return [DeviceInventory("acme", **{"devices": (ONE,), **more})]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("hami_discover", None),
        ("hami_discover", ()),
        ("hami_discover", inventory(devices=[ONE], links=(Link("a", "b", "PIX", peer=True),), faults=("x",))),
        ("hami_check_health", {"a": "hot"}),
        ("hami_usage", Usage()),
        ("hami_settings", int),
        ("hami_splittings", [Splitting("acme", "parts", (("size", "int32"),))]),
        ("hami_machine", Machine("toy", "/toy", settings=(("a", "b"),))),
    ],
)
def test_what_the_hook_promises_is_no_fault(hook: str, answer: object) -> None:
    assert shapes.fault(hook, answer) == ""


@pytest.mark.parametrize("hook", [name for name in vars(hookspecs) if name.startswith("hami_")])
def test_every_hook_has_a_shape(hook: str) -> None:
    assert shapes.fault(hook, object()).startswith("answers object where ")


def test_values_whose_types_were_resolved_by_an_encoder_are_looked_at_as_well() -> None:
    code = (
        "from hami_core import shapes, wire; from hami_core.model import DeviceInventory;"
        "wire.decode(DeviceInventory, wire.encode(DeviceInventory('acme', ())), 'test');"
        "print(shapes.fault('hami_discover', [DeviceInventory('acme', 3)]))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "answers 3 (int) at [0].devices where a list of Device belongs\n"


@pytest.mark.parametrize(
    ("hook", "answer", "fault"),
    [
        ("hami_discover", "acme", "answers 'acme' (str) where a list of DeviceInventory belongs"),
        ("hami_discover", [ONE], "answers Device at [0] where DeviceInventory belongs"),
        ("hami_discover", inventory(devices=ONE), "answers Device at [0].devices where a list of Device belongs"),
        (
            "hami_discover",
            inventory(devices=(Device("a", 0, 3, 8000),)),  # type: ignore[arg-type]
            "answers 3 (int) at [0].devices[0].model where str belongs",
        ),
        (
            "hami_discover",
            inventory(devices=(Device("a", 0, "One", True),)),
            "answers True (bool) at [0].devices[0].memory where int belongs",
        ),
        ("hami_check_health", {"a": None}, "answers NoneType at ['a'] where str belongs"),
        ("hami_check_health", {0: "hot"}, "answers 0 (int) at the key 0 where str belongs"),
        ("hami_usage", {}, "answers dict where Usage belongs"),
        ("hami_settings", 3, "answers 3 (int) where type belongs"),
        ("hami_commands", [print], "answers builtin_function_or_method at [0] where Command belongs"),
        (
            "hami_machine",
            Machine("toy", "/toy", settings=(("a",),)),  # type: ignore[arg-type]
            "answers tuple at .settings[0] where (str, str) belongs",
        ),
    ],
)
def test_the_first_thing_that_is_wrong_is_told_with_its_place(hook: str, answer: object, fault: str) -> None:
    assert shapes.fault(hook, answer) == fault
