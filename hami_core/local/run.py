"""A single command as a pod: the same path as a manifest, with the numbers from flags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hami_core.errors import UserError
from hami_core.local import manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hami_core.local.manifest import PodSpec
    from hami_core.model import Kind
    from hami_core.plugins import Catalogue


def kind(catalogue: Catalogue, name: str) -> Kind:
    """The kind of this name. UserError: no plugin that is loaded owns it."""
    for one in catalogue.kinds:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in catalogue.kinds) or "none"
    raise UserError(f'kind "{name}": no plugin that is loaded knows such devices (known: {known})')


def limits(kind: Kind, roles: Mapping[str, str]) -> dict[str, str]:
    """Resource name -> number as written, from role (a field of ``Resources``) -> number. UserError: no such knob."""
    found = {}
    for role, value in roles.items():
        name = getattr(kind.resources, role)
        if name is None:
            hint = f"it knows {', '.join(kind.resources.names())}"
            raise UserError(f"{role.replace('_', ' ')}: the kind {kind.name} has no such limit; {hint}")
        found[name] = value
    return found


def assignments(items: Iterable[str]) -> dict[str, str]:
    """Resource name -> number as written, from ``name=number``. UserError: an item without an equals sign, a name twice."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (name and equals and value):
            raise UserError(f'limit "{item}": write name=number, as in nvidia.com/gpumem=3000')
        if name in found:
            raise UserError(f'limit "{item}": {name} is given twice; give it once')
        found[name] = value
    return found


def pod(command: Sequence[str], limits: Mapping[str, str], catalogue: Catalogue) -> PodSpec:
    """The pod of one command, which is run once. Its words are the program's own: ``$(NAME)`` is no variable of ours."""
    name = _name(command[0])
    container = {
        "name": name,
        "command": [word.replace("$", "$$") for word in command],
        "resources": {"limits": dict(limits)},
    }
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "restartPolicy": manifest.NEVER},
    }
    return manifest.pod(document, "hami run", catalogue)


def _name(program: str) -> str:
    """A pod's name from a program's: "/usr/bin/nvidia-smi" is "nvidia-smi"."""
    words = re.findall(r"[a-z0-9]+", program.rsplit("/", 1)[-1].lower())
    return "-".join(words)[:63].strip("-") or "command"
