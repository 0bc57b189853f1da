"""Which pods are ours: the keys that only we may write, and match conditions in CEL, by which the API server sends no others.

Another pod never waits for admission, and does not notice when it is away. A missing field is nothing and never an error: an
error would refuse the pod. Optional types came to the API server's CEL with Kubernetes 1.29.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hami_core import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hami_core.plugins import Catalogue

ANNOTATIONS = (names.TERM, names.WAITING)
ANNOTATION_PREFIXES = (names.grant_key(""), names.inventory_key(""))  # and one for each kind

_CONTAINERS = (
    "(object.?spec.?containers.orValue(null) == null ? [] : object.spec.containers)"  # the API server looks after us
    " + object.?spec.?initContainers.orValue([]) + object.?spec.?ephemeralContainers.orValue([])"
)


def match_conditions(catalogue: Catalogue) -> list[Mapping[str, str]]:
    """The matchConditions of the webhook. Of several all would have to hold, so it is one.

    A pod is ours if it names one of our resources, carries a key that only we may write, or sets a visible-devices variable.
    """
    variables = _texts(kind.visible_env for kind in catalogue.kinds)
    sets_one = f"one.?env.orValue([]).exists(variable, variable.name in {variables})"
    expressions = (
        f"({_CONTAINERS}).exists(one, {_names_one(catalogue, 'one.?resources')} || {sets_one})",
        _names_one(catalogue, "object.?spec.?resources"),
        f"object.metadata.?annotations.orValue({{}}).exists(key, {_is_ours(catalogue)})",
        f"{_text(names.PREPARED)} in object.metadata.?labels.orValue({{}})",
    )
    return [{"name": "ours", "expression": " || ".join(expressions)}]


def _names_one(catalogue: Catalogue, resources: str) -> str:
    """Whether resources, of a container or a pod, name one of ours."""
    ours = _texts(catalogue.resources())
    return " || ".join(f"{resources}.?{which}.orValue({{}}).exists(name, name in {ours})" for which in ("limits", "requests"))


def _is_ours(catalogue: Catalogue) -> str:
    """Whether an annotation's key is one that only we may write."""
    prefixes = (*ANNOTATION_PREFIXES, *(names.visible_key(kind.name, "") for kind in catalogue.kinds))
    begins = (f"key.startsWith({_text(prefix)})" for prefix in prefixes)
    return " || ".join((f"key in {_texts(ANNOTATIONS)}", *begins))


def _texts(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    return json.dumps(value)  # a JSON text is one in CEL, too
