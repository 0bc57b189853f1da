"""Which devices may serve a request at all, by model and id: selectors over a table's columns. Knows no vendor's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hami_core.model import ID, MODEL, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Mask, Selector
    from hami_core.table import NodeTable

_REASONS = ((MODEL, Reason.MODEL), (ID, Reason.ID))


def selected(selectors: Sequence[Selector], table: NodeTable) -> list[tuple[Reason, Mask]]:
    """The devices that all selectors of a sort admit, (N, W), with the Reason for the others; nothing where none selects."""
    found: dict[Reason, Mask] = {}
    for by, reason in _REASONS:
        for one in selectors:
            if one.by == by:
                found[reason] = found[reason] & admitted(one, table) if reason in found else admitted(one, table)
    return list(found.items())


def admitted(selector: Selector, table: NodeTable) -> Mask:
    """The devices that one selector by model or id admits, (N, W)."""
    named = _by_model(selector.words, table) if selector.by == MODEL else _by_id(selector.words, table)
    return ~named if selector.out else named


def _by_model(words: Sequence[str], table: NodeTable) -> Mask:
    lowered = [word.lower() for word in words]
    matches = np.array([any(word in model.lower() for word in lowered) for model in table.models], bool)
    if not matches.size:
        return np.zeros(table.shape, bool)
    named: Mask = matches[table.model]
    return named


def _by_id(words: Sequence[str], table: NodeTable) -> Mask:
    named = np.zeros(table.shape, bool, order="F")
    for word in words:
        for place in table.places(word):
            named[place] = True
    return named
