"""What the answer to a hook looks like: the shape that the hook's own return annotation gives, down to the last field.

A stranger's answer is looked at before anybody computes with it, so that a Kind where a list of them belongs, or "16384" where
a number does, is told as that plugin's fault and never as one of hami's. Meaning is not judged here.

Every decision is looked at, so a shape becomes a check once, and paths are made only of what is wrong: some 4 us for a request.
"""

from __future__ import annotations

import types
import typing
from collections import abc
from functools import cache
from typing import Any

import attrs

from hami_core import hookspecs, model

if typing.TYPE_CHECKING:
    Fault = tuple[str, str, str]  # the path inside the answer, what is there, and what belongs there
    Check = abc.Callable[[Any], Fault | None]

_NAMES: dict[str, Any] = {"Any": Any, **vars(abc), **vars(model)}
_UNIONS = (typing.Union, types.UnionType)
_LISTS = (list, tuple)


def fault(hook: str, answer: object) -> str:
    """Why this is no answer to the hook, with the path of the first thing that is wrong. Empty: it is one."""
    found = _answer(hook)(answer)
    if found is None:
        return ""
    path, shown, wanted = found
    where = f" at {path.lstrip()}" if path else ""
    return f"answers {shown}{where} where {wanted} belongs"


@cache
def _answer(hook: str) -> Check:
    annotation = getattr(hookspecs, hook).__annotations__["return"]
    if hook == "hami_commands":
        import click

        return _check(eval(annotation, {**_NAMES, "click": click}))  # noqa: S307  # the text is our own source's
    return _check(eval(annotation, _NAMES))  # noqa: S307  # the text is our own source's


@cache
def _check(shape: Any) -> Check:
    origin, inside = typing.get_origin(shape), typing.get_args(shape)
    if shape is Any:
        return lambda _: None
    if origin in _UNIONS:
        return _any_of(inside)
    if origin is abc.Mapping:
        return _mapping(shape, _check(inside[0]), _check(inside[1]))
    if origin is abc.Sequence or (origin is tuple and inside[-1] is ...):
        return _list_of(shape, inside[0])
    if origin is tuple:
        return _row(shape, [_check(part) for part in inside])
    return _value(shape) if attrs.has(shape) else _is_one(shape, origin or shape)


def _is_one(shape: Any, wanted: type) -> Check:
    """As isinstance, but a truth value is no number, and a whole number is one."""
    number = wanted in (int, float)
    classes = (int, float) if wanted is float else wanted

    def check(value: Any) -> Fault | None:
        if type(value) is wanted or (isinstance(value, classes) and not (number and isinstance(value, bool))):
            return None
        return _misfit(value, shape)

    return check


def _any_of(shapes: abc.Sequence[Any]) -> Check:
    simple = frozenset().union(*map(_simple, shapes))
    first, *others = map(_check, shapes)

    def check(value: Any) -> Fault | None:
        if type(value) in simple:
            return None
        found = first(value)
        return None if found is None or any(one(value) is None for one in others) else found

    return check


def _list_of(shape: Any, inside: Any) -> Check:
    """Lists and tuples; no text is one."""
    simple, item = _simple(inside), _check(inside)

    def check(value: Any) -> Fault | None:
        if not isinstance(value, _LISTS):
            return _misfit(value, shape)
        for number, one in enumerate(value):
            if type(one) not in simple and (found := item(one)):
                return _inside(f"[{number}]", found)
        return None

    return check


def _row(shape: Any, items: abc.Sequence[Check]) -> Check:
    def check(value: Any) -> Fault | None:
        if not isinstance(value, _LISTS) or len(value) != len(items):
            return _misfit(value, shape)
        for number, (item, one) in enumerate(zip(items, value, strict=True)):
            if found := item(one):
                return _inside(f"[{number}]", found)
        return None

    return check


def _mapping(shape: Any, name: Check, item: Check) -> Check:
    def check(value: Any) -> Fault | None:
        if not isinstance(value, abc.Mapping):
            return _misfit(value, shape)
        for key, one in value.items():
            if found := name(key):
                return _inside(f" the key {key!r}", found)
            if found := item(one):
                return _inside(f"[{key!r}]", found)
        return None

    return check


def _value(shape: Any) -> Check:
    def check(value: Any) -> Fault | None:
        if not isinstance(value, shape):
            return _misfit(value, shape)
        for name, simple, part in _fields(shape):
            one = getattr(value, name)
            if type(one) not in simple and (found := part(one)):  # most fields are simple
                return _inside(f".{name}", found)
        return None

    return check


@cache
def _fields(value_class: Any) -> tuple[tuple[str, frozenset[type], Check], ...]:
    """Names, simple classes and checks of a value's fields.

    Types are texts until somebody, such as cattrs, has resolved them.
    """
    shapes = (
        (field.name, eval(field.type, _NAMES) if isinstance(field.type, str) else field.type)  # noqa: S307  # our own source's
        for field in attrs.fields(value_class)
    )
    return tuple((name, _simple(shape), _check(shape)) for name, shape in shapes)


def _simple(shape: Any) -> frozenset[type]:
    """Classes whose values have the shape without a look inside."""
    if typing.get_origin(shape) in _UNIONS:
        return frozenset().union(*map(_simple, typing.get_args(shape)))
    return frozenset((shape,)) if shape in (str, int, float, bool, types.NoneType) else frozenset()


def _inside(path: str, found: Fault) -> Fault:
    return (path + found[0], *found[1:])


def _misfit(value: object, shape: Any) -> Fault:
    name = type(value).__name__
    return "", f"{value!r} ({name})" if isinstance(value, str | int | float) else name, _named(shape)


def _named(shape: Any) -> str:
    origin, inside = typing.get_origin(shape), typing.get_args(shape)
    if origin is abc.Sequence or inside[-1:] == (...,):
        return f"a list of {_named(inside[0])}"
    if origin is tuple:
        return f"({', '.join(map(_named, inside))})"
    return str(getattr(shape, "__name__", shape))
