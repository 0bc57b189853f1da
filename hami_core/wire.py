"""Encodings of our values: JSON for annotations and local state, text for the limits file. Nothing here decides.

JSON carries ``"v": 1`` and full field names. Readers ignore keys they do not know, because a rolling upgrade has both
versions at once, and refuse a version they do not know, with the path of the fault.

    devices.hami.io/<kind>   {"v": 1, "inventory": {"kind": "nvidia", "devices": [...], "links": [...]}, "capacities": [...]}
    a holding                {"v": 1, "uid": ..., "name": ..., "namespace": ..., "shares": [{"container": ..., ...}]}
    grant.hami.io/<name>     the limits text (native/include/limits.h has the grammar):

        hami-limits 1
        grant 0b7c.../train
        [hami]
        share kind=nvidia splitting=share device=GPU-5f2a... memory=3000 physical=15360 cores=30 phases=0
        [nvidia]
        device GPU-5f2a... memory=3145728000 physical=16106127360 cores=30 context=0
        policy=default
        end
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from hami_core import names
from hami_core.errors import WireError
from hami_core.model import LARGEST_AMOUNT, Share

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cattrs import Converter

    from hami_core.model import Grant

VERSION = 1
T = TypeVar("T")


class _Mistyped(TypeError):
    """A value of the wrong JSON type; its text shows the value, which cattrs' own words leave out."""


def _exactly(kind: type[T]) -> Any:
    """A structure hook that takes values of one JSON type only: cattrs alone turns 7.9 into 7 and 5 into "5" in silence."""

    def structure(value: object, _: Any) -> T:
        if type(value) is not kind:
            raise _Mistyped(f"{value!r} is no {kind.__name__}")
        return value

    return structure


@cache
def _converter() -> Converter:
    """Made when first needed: cattrs is slow to import, and who looks at an idle machine has nothing to decode."""
    from cattrs.preconf.json import make_converter

    converter = make_converter()
    for kind in (int, str, bool):
        converter.register_structure_hook(kind, _exactly(kind))
    converter.register_structure_hook_factory(_is_tuple, _only_from_a_list)
    return converter


def _is_tuple(shape: Any) -> bool:
    return get_origin(shape) is tuple


def _only_from_a_list(shape: Any, converter: Converter) -> Any:
    """A structure hook for tuples, from JSON lists only: cattrs alone reads {} as no items, and a node loses its devices."""
    parts = get_args(shape)

    def structure(value: object, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _Mistyped(f"{value!r} is no list")
        if parts[-1] is Ellipsis:
            return tuple(converter.structure(value, list[parts[0]]))  # type: ignore[valid-type]
        if len(value) != len(parts):
            raise _Mistyped(f"{value!r} must have {len(parts)} items")
        return tuple(converter.structure(item, part) for item, part in zip(value, parts, strict=True))

    return structure


def encode(value: Any) -> str:
    """One value as a JSON object with its version; keys in the order of the fields, no spaces (annotations are small)."""
    return json.dumps({"v": VERSION, **_converter().unstructure(value)}, separators=(",", ":"))


def decode(shape: type[T], text: str | bytes, what: str) -> T:
    """The value that ``encode`` wrote, checked. ``what`` names the text in messages, e.g. the annotation's key.

    WireError: no JSON, an unknown version, a missing field, a wrong type; with the path of the first fault.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:  # the second: brackets without end
        raise WireError(what, "$", f"no JSON: {error}") from error
    if not isinstance(raw, dict):
        raise WireError(what, "$", "must be a JSON object")
    if type(raw.get("v")) is not int or raw["v"] != VERSION:
        raise WireError(what, "$.v", f"version {raw.get('v')!r} is unknown, this build reads version {VERSION}")
    try:
        value: T = _converter().structure(raw, shape)
    except Exception as error:  # cattrs groups all faults; the first with its path is what a person needs
        from cattrs import transform_error

        message, _, path = transform_error(error, format_exception=_fault)[0].partition(" @ ")
        raise WireError(what, path or "$", message) from error
    return value


def _fault(error: BaseException, shape: type | None) -> str:
    """Our own words for a wrong type, the value's own for what it cannot be (``model``'s validators), else cattrs'."""
    from cattrs.v import format_exception

    return str(error) if isinstance(error, _Mistyped | ValueError) else format_exception(error, shape)


def limits_text(grant: str, shares: Iterable[Share], sections: Iterable[Grant]) -> str:
    """The limits file of one container: who holds it, its shares, and a section for each kind, closed by the end mark.

    The section [hami] says the shares in the core's own words, so that a grant can be read back from wherever it was written;
    enforcers skip it. The other sections' insides are their kinds' own. The end mark shows a truncated file, which is closed.
    """
    own = "".join(_share_line(share) for share in shares)
    body = "".join(f"[{section.kind}]\n{section.section}" for section in sections if section.section)
    return f"{names.LIMITS_HEADER}\ngrant {grant}\n[hami]\n{own}{body}{names.LIMITS_END}\n"


def _share_line(share: Share) -> str:
    phases = ",".join(map(str, share.phases))
    return (
        f"share kind={share.kind} splitting={share.splitting} device={share.device} memory={share.memory} "
        f"physical={share.physical} cores={share.cores} overhead={share.overhead} phases={phases}"
        f"{' exclusive=1' if share.exclusive else ''}\n"
    )


def shares(text: str, container: str, what: str) -> tuple[Share, ...]:
    """The shares that a container's limits text grants, in its order. Options are not among them: they are the kinds' own.

    WireError: not a whole limits text of a version that this build reads, or a share line that is none, with its line number.
    """
    lines = text.split("\n")
    if lines[0] != names.LIMITS_HEADER:
        raise WireError(what, "line 1", f"{lines[0]!r} is not {names.LIMITS_HEADER!r}")
    if lines[-2:] != [names.LIMITS_END, ""]:
        raise WireError(what, f"line {len(lines)}", f"the text is truncated: its last line must be {names.LIMITS_END!r}")
    found, ours = [], False
    for number, line in enumerate(lines, start=1):
        ours = line == "[hami]" if line.startswith("[") else ours
        if ours and line.startswith("share "):
            found.append(_share(line, container, f"line {number}", what))
    return tuple(found)


def _share(line: str, container: str, path: str, what: str) -> Share:
    """The words are few in all grants of a cluster, so each is kept once: 20 MiB less for 100,000 pods."""
    values = dict([word.split("=", 1) for word in line.split()[1:] if "=" in word])
    try:
        return Share(
            container=intern(container),
            kind=intern(values["kind"]),
            device=intern(values["device"]),
            memory=_amount(values["memory"]),
            physical=_amount(values["physical"]),
            cores=_amount(values["cores"]),
            splitting=intern(values["splitting"]),
            overhead=_amount(values.get("overhead", "0")),
            phases=_phases(values["phases"]),
            exclusive=values.get("exclusive") == "1",
        )
    except (KeyError, ValueError) as error:
        raise WireError(what, path, f"{line!r} is no share: {error}") from error


def _amount(text: str) -> int:
    """ValueError: less than nothing, which would give back what others hold; or more than can be counted."""
    number = int(text)
    if not 0 <= number <= LARGEST_AMOUNT:
        raise ValueError(f"{text} is not a number from 0 to {LARGEST_AMOUNT}")
    return number


@lru_cache(256)
def _phases(text: str) -> tuple[int, ...]:
    return tuple(int(phase) for phase in text.split(","))
