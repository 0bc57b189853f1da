"""A question to a driver in the child process against the same in this one. The answer: 64 devices of the vendor mock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.interleave import compare
from hami_core import plugins
from hami_core.asking import Drivers
from hami_core.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.interleave import Row


def rows() -> Iterable[Row]:
    """A child that runs already, and one that is made anew: forked, or a new interpreter where there are threads."""
    loaded = plugins.load(block="nvidia")
    settings = resolve(plugins.settings_classes(loaded), [("bench", {"mock.devices": 64})])
    kept = Drivers(loaded, 60.0)

    def ask(asker: plugins.Plugins | Drivers) -> None:
        answers = asker.ask_each("hami_discover", node="bench", settings=settings)
        assert len(answers.by_plugin["mock"][0].devices) == 64

    def ask_anew() -> None:
        drivers = Drivers(loaded, 60.0)
        ask(drivers)
        drivers.close()

    yield from compare(
        "a question to a driver",
        ("in this process", lambda: ask(loaded)),
        {"in a child, reused": (lambda: ask(kept), 5e-3), "in a child of its own": (ask_anew, None)},
        rounds=30,
    )
    kept.close()
