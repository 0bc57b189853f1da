"""``$(NAME)`` in a container's command, args and variables, by Kubernetes' rules. Pure.

``$(NAME)`` is the value of a variable of the container that stands before; an unknown one stays as it is written; ``$$`` is one
dollar, so ``$$(NAME)`` is the text ``$(NAME)``. Variables of the host's environment are not the container's: not looked up.
Source: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORM = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text with what it names put in."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group())

    return _FORM.sub(value, text)
