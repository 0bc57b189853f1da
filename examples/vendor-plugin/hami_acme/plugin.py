"""Acme's cards, each handed out whole. There is no driver to ask: a card is a file that matches a pattern."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from hami_core import hookimpl
from hami_core.model import Device, DeviceInventory, Kind, Resources
from hami_core.settings import Settings, setting

CARD = Kind("acme", Resources(count="acme.example/card"), visible_env="ACME_VISIBLE_CARDS")


@frozen
class AcmeSettings:
    """Where the cards are."""

    cards: str = setting("acme.cards", "/dev/acme[0-9]*", "Pattern of the device nodes, one for each card.")


@hookimpl
def hami_settings() -> type[AcmeSettings]:
    return AcmeSettings


@hookimpl
def hami_kinds() -> list[Kind]:
    return [CARD]


@hookimpl
def hami_discover(settings: Settings) -> list[DeviceInventory]:
    pattern = settings[AcmeSettings].cards
    names = sorted(path.name for path in Path("/").glob(pattern.lstrip("/")))
    cards = (Device(id=name, index=index, model="Acme One", memory=16384) for index, name in enumerate(names))
    return [DeviceInventory(CARD.name, tuple(cards))]
