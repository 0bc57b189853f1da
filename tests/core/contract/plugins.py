"""A sound plugin, and how a hook of it is replaced."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from attrs import frozen

from hami_core import hookimpl
from hami_core.model import Capacity, DeviceInventory, Kind
from hami_core.settings import setting
from tests.core.fleet import ACME

if TYPE_CHECKING:
    from collections.abc import Callable

Case = tuple[str, Any, str]  # a rule, a plugin that breaks it, and words of the sentence that says so


@frozen
class Sound:
    """Settings as they should be."""

    slots: int = setting("acme.slots", 4, "Tasks per card.", low=1)


def split(kind: Kind, inventory: DeviceInventory, settings: Any) -> list[Capacity] | None:
    """Cards of several slots, each with memory to spare."""
    if kind.name != "acme":
        return None
    slots = settings[Sound].slots
    return [
        Capacity(one.id, one.model, slots, one.memory, one.memory, numa=one.numa, healthy=not one.sick)
        for one in inventory.devices
    ]


def a_plugin(**hooks: Callable[..., Any]) -> Any:
    module = SimpleNamespace()
    sound = {"hami_settings": lambda: Sound, "hami_kinds": lambda: [ACME], "hami_split": split}
    for name, function in (sound | hooks).items():
        setattr(module, name, hookimpl(cast("Any", function)))
    return module


def forgetful() -> Callable[..., Any]:
    """An answer that alternates."""
    calls: list[None] = []

    def alternate(*answers: Any) -> Any:
        calls.append(None)
        return answers[len(calls) % len(answers)]

    return alternate
