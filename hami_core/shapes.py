"""What the answer to a hook looks like: the shape that the hook's own return annotation gives, down to the last field.

A stranger's answer is looked at before anybody computes with it, so that a Kind where a list of them belongs, or "16384" where
a number does, is told as that plugin's fault and never as one of hami's. Meaning is not judged here.
"""

from __future__ import annotations

import types
import typing
from collections import abc
from functools import cache
from typing import Any

import attrs

from hami_core import hookspecs, model

_NAMES: dict[str, Any] = {"Any": Any, **vars(abc), **vars(model)}
_PLAIN = (str, int, float, bool)
_UNIONS = (typing.Union, types.UnionType)


def fault(hook: str, answer: object) -> str:
    """Why this is no answer to the hook, with the path of the first thing that is wrong. Empty: it is one."""
    return _fault(answer, _shape(hook), "")


@cache
def _shape(hook: str) -> Any:
    annotation = getattr(hookspecs, hook).__annotations__["return"]
    if hook == "hami_commands":
        import click

        return eval(annotation, {**_NAMES, "click": click})  # noqa: S307  # the text is our own source's
    return eval(annotation, _NAMES)  # noqa: S307  # the text is our own source's


@cache
def _fields(value_class: Any) -> tuple[tuple[str, Any], ...]:
    """Names and shapes of a value's fields; types are texts until somebody, such as cattrs, has resolved them."""
    return tuple(
        (field.name, eval(field.type, _NAMES) if isinstance(field.type, str) else field.type)  # noqa: S307  # our own source's
        for field in attrs.fields(value_class)
    )


def _fault(value: Any, shape: Any, path: str) -> str:
    origin = typing.get_origin(shape)
    if shape is Any:
        return ""
    if origin in _UNIONS:
        faults = [_fault(value, part, path) for part in typing.get_args(shape)]
        return "" if "" in faults else faults[0]
    if not _is_one(value, origin or shape) or (origin is tuple and not _is_as_long(value, typing.get_args(shape))):
        where = f" at {path}" if path else ""
        return f"answers {_shown(value)}{where} where {_named(shape)} belongs"
    return next((fault for inside in _parts(value, shape, path) if (fault := _fault(*inside))), "")


def _is_one(value: object, wanted: Any) -> bool:
    """As isinstance, but a truth value is no number, a whole number is one, and no text is a sequence."""
    if isinstance(value, bool) and wanted in (int, float):
        return False
    alike = {float: (int, float), tuple: (list, tuple), abc.Sequence: (list, tuple)}
    return isinstance(value, alike.get(wanted, wanted))


def _is_as_long(value: abc.Sized, inside: tuple[Any, ...]) -> bool:
    return inside[-1] is ... or len(value) == len(inside)


def _parts(value: Any, shape: Any, path: str) -> abc.Iterator[tuple[Any, Any, str]]:
    """What is inside, the shape that each should have, and its path."""
    origin, inside = typing.get_origin(shape), typing.get_args(shape)
    if origin is abc.Mapping:
        for key, item in value.items():
            yield key, inside[0], f"the key {key!r}"
            yield item, inside[1], f"{path}[{key!r}]"
    elif origin in (abc.Sequence, tuple):
        for number, item in enumerate(value):
            every = len(inside) == 1 or inside[-1] is ...
            yield item, inside[0 if every else number], f"{path}[{number}]"
    elif attrs.has(shape):
        for name, part in _fields(shape):
            item = getattr(value, name)
            if type(item) is not part or part not in _PLAIN:  # most fields are plain, and a path is dear
                yield item, part, f"{path}.{name}"


def _shown(value: object) -> str:
    name = type(value).__name__
    return f"{value!r} ({name})" if isinstance(value, str | int | float) else name


def _named(shape: Any) -> str:
    origin, inside = typing.get_origin(shape), typing.get_args(shape)
    if origin is abc.Sequence or inside[-1:] == (...,):
        return f"a list of {_named(inside[0])}"
    if origin is tuple:
        return f"({', '.join(map(_named, inside))})"
    return str(getattr(shape, "__name__", shape))
