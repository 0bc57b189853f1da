"""Which pod a person means: by its name, its uid or the beginning of either, with or without its namespace. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from hami_core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.local.pods import Known

SHOWN = 8  # of a uid, as people copy it


def choose(pods: Sequence[Known], query: str, namespace: str = "", live_only: bool = False) -> Known:
    """The one pod that is meant. A pod that is live is meant rather than one that has ended, and of those the last.

    ``live_only``: one that has ended cannot be meant. UserError: none is of this name, or several live ones are.
    """
    found = matches(pods, query, namespace)
    live = [one for one in found if one.is_live]
    if len(live) == 1:
        return live[0]
    if live:
        raise UserError(f'pod "{query}": {len(live)} are meant by it, {_listed(live)}; give the beginning of a uid')
    ended = {(one.record.namespace, one.record.name) for one in found}
    if found and not live_only:
        if len(ended) == 1:
            return found[-1]
        raise UserError(f'pod "{query}": {len(found)} that have ended are meant by it, {_listed(found)}; give a whole name')
    if found:
        raise UserError(f'pod "{query}": it has ended already')
    raise UserError(f'pod "{query}": {_none(pods, query)}')


def matches(pods: Sequence[Known], query: str, namespace: str = "") -> list[Known]:
    """Those of exactly this name or uid, else those whose name or uid begins so, in their order. ``namespace/name`` too."""
    wanted, _, rest = query.rpartition("/")
    wanted = wanted or namespace
    here = [one for one in pods if not wanted or one.record.namespace == wanted]
    exact = [one for one in here if rest in {one.record.name, one.record.uid}]
    return exact or [one for one in here if rest and (one.record.name.startswith(rest) or one.record.uid.startswith(rest))]


def container(known: Known, query: str) -> str:
    """The name of a container of the pod. UserError: it has none of this name."""
    names = known.record.containers
    if query in names:
        return query
    near = difflib.get_close_matches(query, names, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"it has {', '.join(names)}"
    raise UserError(f'container "{query}": pod "{known.record.name}" has none of this name; {hint}')


def _listed(pods: Sequence[Known]) -> str:
    words = [f"{one.record.name} ({one.record.uid[:SHOWN]})" for one in pods]
    return ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")


def _none(pods: Sequence[Known], query: str) -> str:
    elsewhere = matches(pods, query.rpartition("/")[2])
    if elsewhere:
        return f"there is none in this namespace; {elsewhere[-1].record.name} is in {elsewhere[-1].record.namespace}"
    names = list(dict.fromkeys(one.record.name for one in pods))
    near = difflib.get_close_matches(query.rpartition("/")[2], names, n=3, cutoff=0.5)
    if near:
        return f"there is none of this name; did you mean {' or '.join(near)}?"
    known = f"known are {', '.join(names[-4:])}" if names else "nothing has run on this machine"
    return f"there is none of this name; {known}"
