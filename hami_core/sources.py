"""Where values of settings come from, as text or as a tree, and how one is read by its declaration.

``flatten`` and ``assignments`` make path -> value of a YAML document and of ``a.b=c``; ``checked`` makes a value of its type of
what was written there. Which layer wins is not here (``settings``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hami_core.errors import SettingsError

if TYPE_CHECKING:
    from hami_core.settings import Declaration

SYNTAX = "write path=value, as in devicePlugin.deviceSplitCount=4"


def flatten(tree: object, source: str) -> dict[str, Any]:
    """Path -> value of a nested mapping, as YAML or JSON gives it; lists are values. SettingsError: not a mapping."""
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise SettingsError("$", "must be a mapping of names to values", source)
    return dict(_leaves(tree, ""))


def _leaves(tree: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def assignments(text: Sequence[str], source: str) -> dict[str, str]:
    """Path -> text of ``a.b=c`` items, several in one text joined by commas. SettingsError: an item without an equals sign."""
    pairs = {}
    for item in (item for part in text for item in _items(part)):
        path, equals, value = item.partition("=")
        if not equals or not path.strip():
            raise SettingsError(item.strip() or '""', SYNTAX, source)
        pairs[path.strip()] = value.strip()
    return pairs


def _items(text: str) -> Iterator[str]:
    """The parts between commas that stand neither in brackets nor behind a backslash."""
    part, depth = "", 0
    for mark in re.findall(r"\\,|.", text, re.DOTALL):
        depth += (mark in "[{") - (mark in "]}")
        if mark == "," and depth <= 0:
            yield part
            part = ""
        else:
            part += "," if mark == "\\," else mark
    yield part


# --- One value -------------------------------------------------------------------------------------------------------


def checked(one: Declaration, raw: object, source: str) -> Any:
    """The value of a setting that is no mapping. SettingsError: not of its type, out of its range."""
    if not isinstance(one.default, tuple):
        return member(one, one.path, raw, source)
    listed = _document(raw)
    if not isinstance(listed, list | tuple):
        raise SettingsError(one.path, f"{raw!r} is not {expected(one)}", source)
    return tuple(member(one, f"{one.path}[{number}]", value, source) for number, value in enumerate(listed))


def mapping(one: Declaration, raw: object, source: str) -> dict[str, Any]:
    """The members of a mapping that is given as one text. SettingsError: it is none."""
    found = _document(raw)
    if not isinstance(found, Mapping):
        raise SettingsError(one.path, f"{raw!r} is not {expected(one)}", source)
    return {str(key): value for key, value in found.items()}


def _document(raw: object) -> object:
    """What a text says in YAML, of which JSON is a part; anything else as it is."""
    if not isinstance(raw, str):
        return raw
    import yaml

    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError:
        return None


def member(one: Declaration, path: str, raw: object, source: str) -> Any:
    """One scalar: the value itself, or a member of a list or mapping. ``path``: its own."""
    kind = _kind(one)
    if kind is object:
        return raw
    value = _READERS[kind](dict(one.words).get(raw, raw) if isinstance(raw, str) else raw)
    if value is None or not _allowed(one, value):
        raise SettingsError(path, f"{raw!r} is not {_expected_member(one)}", source)
    return value


def _kind(one: Declaration) -> type:
    return one.item or type(one.default)


def _allowed(one: Declaration, value: Any) -> bool:
    if isinstance(value, str):
        fits = one.form is None or re.fullmatch(one.form.pattern, value) is not None
        return fits and (not one.choices or value in one.choices)
    return (one.low is None or value >= one.low) and (one.high is None or value <= one.high)


# --- In words --------------------------------------------------------------------------------------------------------


def expected(one: Declaration) -> str:
    """What would be right, after "is not"."""
    if isinstance(one.default, tuple):
        return "a list of entries" if one.item is object else f"a list, each of it {_expected_member(one)}"
    if isinstance(one.default, Mapping):
        return "a mapping" if one.item is object else f"a mapping, each value of it {_expected_member(one)}"
    return _expected_member(one)


def _expected_member(one: Declaration) -> str:
    if one.choices or one.form is not None:
        return allowed_words(one)
    noun = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[_kind(one)]
    return f"{noun} {allowed_words(one)}".rstrip()


def allowed_words(one: Declaration) -> str:
    """Which values of its type a setting, or a member of it, may have; empty: all."""
    if one.choices:
        return " or ".join(one.choices)
    if one.form is not None:
        return one.form.words
    if one.low is not None and one.high is not None:
        return " or ".join((f"from {one.low} to {one.high}", *(word for word, _ in one.words)))
    return f"of at least {one.low}" if one.low is not None else ""


def type_words(one: Declaration) -> str:
    """The type's name in tables."""
    noun = {bool: "boolean", int: "integer", float: "number", str: "text", object: "entries"}[_kind(one)]
    if isinstance(one.default, tuple):
        return f"list of {noun}"
    return f"mapping of text to {noun}" if isinstance(one.default, Mapping) else noun


def _boolean(raw: object) -> bool | None:
    """The chart's spelling is a string: disablecorelimit: "false"."""
    return {"true": True, "false": False}.get(str(raw).lower())


def _integer(raw: object) -> int | None:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        return None
    try:
        return int(raw)
    except ValueError:
        return None


def _number(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        number = float(raw)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(raw: object) -> str | None:
    return raw if isinstance(raw, str) and raw else None


_READERS: Mapping[type, Callable[[object], Any]] = {bool: _boolean, int: _integer, float: _number, str: _text}
