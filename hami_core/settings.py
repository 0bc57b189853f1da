"""Settings: what plugins declare, where values come from, and every mistake named with its place.

A plugin declares a frozen attrs class whose fields are made by ``setting``; each field names its path in the chart's values:

    @frozen
    class AcmeSettings:
        split: int = setting("acme.split", 10, "Tasks per card.", low=1, high=1000)

Sources, later ones win: the default; a YAML file in the chart's shape; HAMI_SET="a.b=c,d.e=f"; --set a.b=c.
An unknown path is a spelling mistake and an error that names the nearest known one. Nothing here knows a vendor's key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import attrs

from hami_core.errors import PluginError, SettingsError

T = TypeVar("T")
Scalar = bool | int | float | str


@attrs.frozen
class Declaration:
    """One setting as its owner declares it."""

    path: str  # dotted, as in the chart's values
    default: Scalar
    doc: str  # its effect, and the unit if it has one
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@attrs.frozen
class Entry:
    """One setting as it is in force."""

    declaration: Declaration
    owner: str
    value: Scalar
    source: str


def setting(
    path: str,
    default: Scalar,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of a settings class. The default's type is the setting's type; a bool also takes "true" and "false"."""
    declaration = Declaration(path, default, doc, low, high, choices)
    return attrs.field(default=default, metadata={Declaration: declaration})


class Settings:
    """The settings in force, by the class that declares them: ``settings[AcmeSettings].split``."""

    def __init__(self, entries: Iterable[Entry], values: Mapping[type[Any], Any]) -> None:
        self.entries = tuple(entries)
        self._values = dict(values)

    def __getitem__(self, declared: type[T]) -> T:
        return cast("T", self._values[declared])


def defaults(*classes: type[Any]) -> Settings:
    """Every setting at its default: for tests and for plugins that are looked at outside a command."""
    return resolve({declared.__name__: declared for declared in classes}, ())


def resolve(classes: Mapping[str, type[Any]], layers: Sequence[tuple[str, Mapping[str, Any]]]) -> Settings:
    """The settings of these owners' classes under layers of (source, path -> value), later layers winning. Pure.

    SettingsError: an unknown path, a wrong type, a value out of range. PluginError: two owners of one path.
    """
    declared = _declared(classes)
    values = {path: (declaration.default, "default") for path, (declaration, _) in declared.items()}
    for source, layer in layers:
        for path, raw in layer.items():
            if path not in declared:
                raise SettingsError(path, _unknown(path, declared), source)
            values[path] = (_checked(declared[path][0], raw, source), source)
    entries = [Entry(declaration, owner, *values[path]) for path, (declaration, owner) in declared.items()]
    return Settings(entries, {cls: _filled(cls, values) for cls in classes.values()})


def flatten(tree: object, source: str) -> dict[str, Any]:
    """Path -> value of a nested mapping, as YAML or JSON gives it. SettingsError: not a mapping, a list somewhere."""
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise SettingsError("$", "must be a mapping of names to values", source)
    return dict(_leaves(tree, "", source))


def assignments(text: Sequence[str], source: str) -> dict[str, str]:
    """Path -> text of ``a.b=c`` items. SettingsError: an item without an equals sign."""
    pairs = {}
    for item in text:
        path, equals, value = item.partition("=")
        if not equals or not path.strip():
            raise SettingsError(item.strip() or '""', "write path=value, as in devicePlugin.deviceSplitCount=4", source)
        pairs[path.strip()] = value.strip()
    return pairs


def _declared(classes: Mapping[str, type[Any]]) -> dict[str, tuple[Declaration, str]]:
    declared: dict[str, tuple[Declaration, str]] = {}
    for owner, cls in classes.items():
        for field in attrs.fields(cls):
            declaration = field.metadata.get(Declaration)
            if declaration is None:
                raise PluginError(owner, f"field {cls.__name__}.{field.name} is not made by setting()", "hami_settings")
            if declaration.path in declared:
                other = declared[declaration.path][1]
                raise PluginError(owner, f'the setting "{declaration.path}" belongs to "{other}" already', "hami_settings")
            declared[declaration.path] = (declaration, owner)
    return declared


def _filled(cls: type[T], values: Mapping[str, tuple[Scalar, str]]) -> T:
    fields: Iterable[Any] = attrs.fields(cast("Any", cls))
    return cls(**{field.name: values[field.metadata[Declaration].path][0] for field in fields})


def _unknown(path: str, known: Iterable[str]) -> str:
    known = list(known)
    inside = [other for other in known if other.startswith(f"{path}.")]
    if inside:
        return f"is a group, not a setting (it holds {', '.join(inside)})"
    lowered = {other.lower(): other for other in known}
    import difflib

    near = difflib.get_close_matches(path.lower(), lowered, n=1, cutoff=0.5)
    hint = f' (did you mean "{lowered[near[0]]}"?)' if near else "; `hami config` lists all"
    return f"unknown setting{hint}"


def _leaves(tree: Mapping[Any, Any], prefix: str, source: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.", source)
        elif isinstance(value, list):
            raise SettingsError(path, "must be a single value, not a list", source)
        else:
            yield path, value


def _checked(declaration: Declaration, raw: object, source: str) -> Scalar:
    read = _READERS[type(declaration.default)]
    value = read(raw)
    if value is None:
        raise SettingsError(declaration.path, f"{raw!r} is not {_expected(declaration)}", source)
    if declaration.choices and value not in declaration.choices:
        raise SettingsError(declaration.path, f"{raw!r} is not {_expected(declaration)}", source)
    low, high = declaration.low, declaration.high
    if not isinstance(value, str) and ((low is not None and value < low) or (high is not None and value > high)):
        raise SettingsError(declaration.path, f"{raw!r} is not {_expected(declaration)}", source)
    return value


def _expected(declaration: Declaration) -> str:
    if declaration.choices:
        return " or ".join(declaration.choices)
    noun = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(declaration.default)]
    low, high = declaration.low, declaration.high
    if low is not None and high is not None:
        return f"{noun} from {low} to {high}"
    return f"{noun} of at least {low}" if low is not None else noun


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


_READERS: Mapping[type, Callable[[object], Scalar | None]] = {
    bool: _boolean,
    int: _integer,
    float: _number,
    str: _text,
}
