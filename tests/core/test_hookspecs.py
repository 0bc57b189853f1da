"""Every hook is documented with its exact arguments, says what it returns, and is served by keyword."""

from __future__ import annotations

import inspect
import re
from operator import attrgetter
from pathlib import Path

import pytest

import hami_core
from hami_core import hookspecs, sharing

HOOKS = [one for name, one in vars(hookspecs).items() if name.startswith("hami_")]
PAGE = (Path(hami_core.__file__).parents[1] / "docs" / "plugins.md").read_text()


def arguments(hook: object) -> list[str]:
    return list(inspect.signature(hook).parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", HOOKS, ids=attrgetter("__name__"))
def test_every_hook_is_described_with_its_exact_arguments(hook: object) -> None:
    assert f"\n### {hook.__name__}({', '.join(arguments(hook))})\n" in PAGE  # type: ignore[attr-defined]


def test_the_page_describes_no_hook_that_is_not_there() -> None:
    assert set(re.findall(r"^### (\w+)\(", PAGE, re.MULTILINE)) == {hook.__name__ for hook in HOOKS}


@pytest.mark.parametrize("hook", HOOKS, ids=attrgetter("__name__"))
def test_every_hook_says_what_it_is_for_and_may_have_no_answer(hook: object) -> None:
    assert (hook.__doc__ or "").strip().endswith(".")
    assert str(inspect.signature(hook).return_annotation).endswith("| None")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "hook", [one for name, one in vars(sharing).items() if name.startswith("hami_")], ids=attrgetter("__name__")
)
def test_a_default_of_the_core_answers_last_and_takes_arguments_of_its_hook(hook: object) -> None:
    spec = getattr(hookspecs, hook.__name__)  # type: ignore[attr-defined]

    assert set(arguments(hook)) <= set(arguments(spec))
    assert hook.hami_impl["trylast"] or hook.__name__ == "hami_settings"  # type: ignore[attr-defined]


def test_the_smallest_plugin_of_the_page_works() -> None:
    (source,) = re.findall(r"```python\n# hami_acme/plugin.py\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}

    exec(source, names)

    assert names["hami_kinds"]()[0].name == "acme"  # type: ignore[operator]
    assert names["hami_discover"]()[0].devices[0].id == "acme0"  # type: ignore[operator]
