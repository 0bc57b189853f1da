"""Settings: what plugins declare, how layers of values become one value each, and every mistake named with its place.

A plugin declares a frozen attrs class whose fields are made by ``setting``; each field names its path in the chart's values:

    @frozen
    class AcmeSettings:
        split: int = setting("acme.split", 10, "Tasks per card.", low=1, high=1000, per_node=True)
        spare: tuple[str, ...] = setting("acme.spare", (), "Serial numbers of cards that are never handed out.", item=str)

Sources, later ones win: the default; a YAML file in the chart's shape; HAMI_SET="a.b=c,d.e=f"; --set a.b=c (``sources`` reads
them); the entries of ``nodes`` that match the node. Lists replace one another, mappings are merged key by key.
An unknown path is a spelling mistake and an error that names the nearest known one. Nothing here knows a vendor's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar, cast

import attrs

from hami_core import sources
from hami_core.errors import PluginError, SettingsError

T = TypeVar("T")
Layer = tuple[str, Mapping[str, Any]]  # where it comes from, path -> value as it was written

CORE = "core"  # the owner of ``nodes``


@attrs.frozen
class Form:
    """What a text has to look like: a regular expression for all of it, and the same in words ("a name like a.example/b")."""

    pattern: str
    words: str


@attrs.frozen
class NodeOverride:
    """Values for the nodes of one entry. ``match``: a node's name or a pattern of names (``*``, ``?``, ``[...]``)."""

    label: str  # the entry, as messages call it
    match: str
    values: Mapping[str, Any]


@attrs.frozen
class Declaration:
    """One setting as its owner declares it."""

    path: str  # dotted, as in the chart's values
    default: Any
    doc: str  # its effect, and the unit if it has one
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    words: tuple[tuple[str, float], ...] = ()  # that may be written for a number
    form: Form | None = None
    item: type | None = None  # of the members of a list or a mapping; object: they are read by ``overrides``
    per_node: bool = False
    distinct: str = ""
    overrides: Callable[[Any, str], Sequence[NodeOverride]] | None = None


@attrs.frozen
class Entry:
    """One setting as it is in force."""

    declaration: Declaration
    owner: str
    value: Any
    source: str  # of a mapping: every source of a key, the first first


def setting(
    path: str,
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    words: tuple[tuple[str, float], ...] = (),
    form: Form | None = None,
    item: type | None = None,
    per_node: bool = False,
    distinct: str = "",
    overrides: Callable[[Any, str], Sequence[NodeOverride]] | None = None,
) -> Any:
    """A field of a settings class. The default's type is the setting's type; a bool also takes "true" and "false".

    A tuple is a list of ``item``, a dict a mapping of texts to ``item``; range, choices and form are then those of the members.
    ``words``: a number may be written as one of these words, each with what it stands for.
    ``per_node``: read on the node alone (discovery, splitting, mounts), so that it may differ from node to node.
    ``distinct``: a group of settings, of any owner, no two of which may have the same value.
    ``overrides``: what the value, with its source, says of other settings on some nodes; see ``nodes``.
    """
    declaration = Declaration(path, default, doc, low, high, choices, words, form, item, per_node, distinct, overrides)
    return attrs.field(factory=partial(copy, default), metadata={Declaration: declaration})


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


def resolve(classes: Mapping[str, type[Any]], layers: Sequence[Layer], node: str = "", last: Sequence[Layer] = ()) -> Settings:
    """The settings of these owners' classes under layers of (source, path -> value), later layers winning. Pure.

    ``node``: the name of the node that they are for; empty: for the whole cluster. ``last``: layers above those of the node.
    SettingsError: an unknown path, a wrong type, a value out of range, also in an entry for another node. PluginError: two
    owners of one path.
    """
    declared = _declared(classes)
    found = {path: _Value(one.default, ("default",)) for path, (one, _) in declared.items()}
    for source, layer in layers:
        found = _under(layer, source, found, declared)
    for source, override in _node_overrides(found, declared):
        changed = _under(override.values, source, found, declared, for_a_node=True)
        found = changed if node and fnmatchcase(node, override.match) else found
    for source, layer in last:
        found = _under(layer, source, found, declared)
    _refuse_equals(found, declared)
    entries = [Entry(one, owner, found[path].value, ", ".join(found[path].sources)) for path, (one, owner) in declared.items()]
    return Settings(entries, {cls: _filled(cls, found) for cls in classes.values()})


def declarations(cls: type[Any], owner: str) -> tuple[Declaration, ...]:
    """What a settings class declares, in its order. PluginError: a field that is not made by ``setting``."""
    for field in attrs.fields(cls):
        if Declaration not in field.metadata:
            raise PluginError(owner, f"field {cls.__name__}.{field.name} is not made by setting()", "hami_settings")
    return tuple(field.metadata[Declaration] for field in attrs.fields(cls))


# --- Nodes -----------------------------------------------------------------------------------------------------------


def _entries(value: Sequence[object], source: str) -> list[NodeOverride]:
    """The entries of ``nodes``."""
    return [_entry(number, one, source) for number, one in enumerate(value)]


def _entry(number: int, entry: object, source: str) -> NodeOverride:
    match = entry.get("match") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(match, str) or not match:
        hint = (
            f"{entry!r} is no mapping with match: NAME and settings, as in {{match: gpu-*, devicePlugin.deviceSplitCount: 4}}"
        )
        raise SettingsError(f"nodes[{number}]", hint, source)
    values = {key: value for key, value in entry.items() if key != "match"}
    return NodeOverride(f'nodes[{number}] "{match}"', match, sources.flatten(values, source))


@attrs.frozen
class NodeSettings:
    """What the language of settings itself has."""

    nodes: tuple[Any, ...] = setting(
        "nodes",
        (),
        "Other values on some nodes: a list of entries, each with match (a node's name, or a pattern like gpu-*) and settings "
        "in this same shape. Of entries that match, later ones win. In local mode the node's name is the simulated machine's, "
        "or this computer's host name.",
        item=object,
        overrides=_entries,
    )


def _node_overrides(found: Mapping[str, _Value], declared: _Declared) -> list[tuple[str, NodeOverride]]:
    """All entries for nodes, with their source, those of ``nodes`` last."""
    return [
        (f"{source}, {override.label}", override)
        for path, (one, _) in declared.items()
        if one.overrides is not None
        for source in [", ".join(found[path].sources)]
        for override in one.overrides(found[path].value, source)
    ]


# --- Layers ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Value:
    """A value on its way, and which sources it comes from."""

    value: Any
    sources: tuple[str, ...]


_Declared = dict[str, tuple[Declaration, str]]


def _declared(classes: Mapping[str, type[Any]]) -> _Declared:
    """Path -> declaration and owner. ``nodes`` comes last, so that its entries win."""
    declared: _Declared = {}
    for owner, cls in (*classes.items(), (CORE, NodeSettings)):
        for one in declarations(cast("type[Any]", cls), owner):
            if one.path in declared:
                other = declared[one.path][1]
                raise PluginError(owner, f'the setting "{one.path}" belongs to "{other}" already', "hami_settings")
            declared[one.path] = (one, owner)
    return declared


def _under(
    layer: Mapping[str, Any], source: str, found: Mapping[str, _Value], declared: _Declared, for_a_node: bool = False
) -> dict[str, _Value]:
    """The values with this layer on top."""
    changed = dict(found)
    for path, raw in layer.items():
        one, key = _meant(path, declared, source)
        if for_a_node and not one.per_node:
            raise SettingsError(path, "is the same on all nodes; set it outside of the entries for nodes", source)
        changed[one.path] = _set(changed[one.path], one, key, raw, source)
    return changed


def _meant(path: str, declared: _Declared, source: str) -> tuple[Declaration, str | None]:
    """The setting of a path, and in a mapping the key that the path goes on with, dots and all."""
    if path in declared:
        return declared[path][0], None
    for one, _ in declared.values():
        if isinstance(one.default, Mapping) and path.startswith(f"{one.path}."):
            return one, path.removeprefix(f"{one.path}.")
    raise SettingsError(path, _unknown(path, declared), source)


def _set(old: _Value, one: Declaration, key: str | None, raw: object, source: str) -> _Value:
    if not isinstance(one.default, Mapping):
        return _Value(sources.checked(one, raw, source), (source,))
    members = {key: raw} if key is not None else sources.mapping(one, raw, source)
    read = {name: sources.member(one, f"{one.path}.{name}", value, source) for name, value in members.items()}
    before = old.sources if old.value else ()
    return _Value({**old.value, **read}, (*(other for other in before if other != source), source))


def _refuse_equals(found: Mapping[str, _Value], declared: _Declared) -> None:
    """Two settings of one ``distinct`` group with the same value: an error at the one that was set, naming the other."""
    taken: dict[tuple[str, Any], str] = {}
    for path, (one, _) in declared.items():
        if not one.distinct:
            continue
        other = taken.setdefault((one.distinct, found[path].value), path)
        if other != path:
            wrong, other = (path, other) if found[path].sources != ("default",) else (other, path)
            message = f'"{found[wrong].value}" is the {one.distinct} of {other} too; give each one of its own'
            raise SettingsError(wrong, message, ", ".join(found[wrong].sources))


def _filled(cls: type[T], found: Mapping[str, _Value]) -> T:
    fields: Iterable[Any] = attrs.fields(cast("Any", cls))
    return cls(**{field.name: found[field.metadata[Declaration].path].value for field in fields})


def _unknown(path: str, known: Iterable[str]) -> str:
    known = list(known)
    inside = [other for other in known if other.startswith(f"{path}.")]
    if inside:
        return f"is a group, not a setting (it holds {', '.join(inside)})"
    near = _nearest(path, known)
    hint = f' (did you mean "{near}"?)' if near else "; `hami config` lists all"
    return f"unknown setting{hint}"


def _nearest(path: str, known: Sequence[str]) -> str | None:
    """A known path that differs in a few letters, or whose last name is the path's."""
    import difflib

    lowered = {other.lower(): other for other in known}
    near = difflib.get_close_matches(path.lower(), lowered, n=1, cutoff=0.85)
    if near:
        return lowered[near[0]]
    leaves = {other.lower().rpartition(".")[2]: other for other in known}
    near = difflib.get_close_matches(path.lower().rpartition(".")[2], leaves, n=1, cutoff=0.8)
    return leaves[near[0]] if near else None
