"""What is written into a pod that asks for a share, and what is mended in one that was copied from a live pod.

Only containers that ask are touched. Everything is looked up by container name, so a container that another webhook inserts
moves nothing; and what stands there already is left, so that a second review finds nothing to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_core import names, wishes
from hami_core.sharing import CoreSettings
from hami_webhook import references
from hami_webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hami_core.decision import Ask
    from hami_core.model import Kind, Request
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_webhook.patch import Draft, Path

DEFAULT_SCHEDULER = "default-scheduler"  # what the API server writes where a pod names none


@frozen
class Asking:
    """The containers of a pod that ask, each with the kinds it asks for in the catalogue's order."""

    kinds: Mapping[str, tuple[Kind, ...]]

    @classmethod
    def of(cls, asks: Sequence[Ask]) -> Asking:
        """Those of a pod's requests."""
        found: dict[str, tuple[Kind, ...]] = {}
        for asked in asks:
            for request in asked.requests:
                found[request.container] = (*found.get(request.container, ()), asked.kind)
        return cls(found)


# --- Mending. ---


def mend(draft: Draft, catalogue: Catalogue, asking: Asking) -> None:
    """Take away what was ours and belongs to nobody here: of a container that was renamed, or asks no more."""
    _mend_variables(draft, catalogue, asking)
    _mend_volumes(draft, asking)
    _mend_mounts(draft, asking)


def _mend_variables(draft: Draft, catalogue: Catalogue, asking: Asking) -> None:
    here = {str(container.get("name")) for _, container in references.containers(draft.document)}
    for path, container in list(references.containers(draft.document)):
        name = str(container.get("name"))
        for number, variable in _backwards(container.get("env")):
            for kind in catalogue.kinds:
                owner = references.whose(kind, variable)
                idle = owner == name and kind not in asking.kinds.get(name, ())
                if owner is not None and (owner not in here or idle):
                    draft.remove((*path, "env", number))


def _mend_volumes(draft: Draft, asking: Asking) -> None:
    wanted = {names.grant_volume(container): container for container in asking.kinds}
    for number, volume in _backwards(draft.get(("spec", "volumes"))):
        if not references.is_grant_volume(volume):
            continue
        name = str(volume["name"])
        if name in wanted:
            draft.set(("spec", "volumes", number), references.volume(wanted[name]))
        else:
            draft.remove(("spec", "volumes", number))
            _unmount(draft, name)


def _unmount(draft: Draft, volume: str) -> None:
    for path, container in list(references.containers(draft.document)):
        for number, mount in _backwards(container.get("volumeMounts")):
            if mount.get("name") == volume:
                draft.remove((*path, "volumeMounts", number))


def _mend_mounts(draft: Draft, asking: Asking) -> None:
    """In a container that asks, another one's limits file at the place of its own."""
    for path, container in list(references.containers(draft.document)):
        name = str(container.get("name"))
        for number, mount in _backwards(container.get("volumeMounts") if name in asking.kinds else None):
            ours = str(mount.get("name")).startswith(names.GRANT_VOLUME)
            if ours and _is_at(mount, names.GRANT_FOLDER) and mount != references.mount(name):
                draft.remove((*path, "volumeMounts", number))


def _is_at(mount: Mapping[str, Any], folder: str) -> bool:
    return references.absolute(mount.get("mountPath")) == folder


def _backwards(items: Sequence[Any] | None) -> Iterator[tuple[int, Any]]:
    """Items with their numbers, the last first: so one can be taken away and the numbers before it still hold."""
    yield from reversed(list(enumerate(items or [])))


# --- Preparing. ---


def prepare(draft: Draft, settings: Settings, asks: Sequence[Ask], asking: Asking) -> tuple[str, ...]:
    """Everything that a pod needs for its grant. Returns sentences for its author."""
    places = {str(container.get("name")): path for path, container in references.containers(draft.document)}
    written = [one for asked in asks for request in asked.requests for one in _amounts(draft, asked.kind, request, places)]
    for container, kinds in asking.kinds.items():
        _refer(draft, container, kinds, places[container])
    draft.set(("metadata", "labels", names.PREPARED), "true")
    _record(draft, asks)
    notes = [note for asked in asks for request in asked.requests for note in request.notes]
    return (*dict.fromkeys(notes), *written, *_scheduler(draft, settings))


def _amounts(draft: Draft, kind: Kind, request: Request, places: Mapping[str, Path]) -> Iterator[str]:
    """Make the limits say all that holds. The API server copies limits into requests after us, and wants them equal."""
    limits = (*places[request.container], "resources", "limits")
    requests = draft.get((*limits[:-1], "requests")) or {}
    for name in kind.resources.names():
        if name in requests and name not in (draft.get(limits) or {}):
            draft.set((*limits, name), requests[name])
    for name, amount, unit in defaults(kind, request):
        if name not in (draft.get(limits) or {}):
            draft.set((*limits, name), str(amount))
            yield f'container "{request.container}" names no {name}: it gets {amount}{unit}, the default'


def defaults(kind: Kind, request: Request) -> Iterator[tuple[str, int, str]]:
    """The amounts that the user left to the settings: name, number, unit. What is no number (a whole device) is not written."""
    resources = kind.resources
    found = {
        "count": (resources.count, request.count, ""),
        "memory": (resources.memory, request.memory, " MiB"),
        "cores": (resources.cores, request.cores, " %"),
    }
    for role, (name, amount, unit) in found.items():
        if role in request.defaulted and name is not None and amount:
            yield name, amount, unit


def _record(draft: Draft, asks: Sequence[Ask]) -> None:
    """Which amounts are nobody's choice: a refusal for want of room has to say so."""
    found = [
        names.defaulted_amount(request.container, name, amount)
        for asked in asks
        for request in asked.requests
        for name, amount, _ in defaults(asked.kind, request)
    ]
    if found:
        draft.set(("metadata", "annotations", names.DEFAULTED), ",".join(found))
    elif names.DEFAULTED in wishes.written(draft.document):
        draft.remove(("metadata", "annotations", names.DEFAULTED))


def _refer(draft: Draft, container: str, kinds: Sequence[Kind], path: Path) -> None:
    """A container's variables, volume and mount."""
    env = draft.get((*path, "env")) or []
    for kind in kinds:
        if not any(references.whose(kind, one) == container for one in env):
            draft.append((*path, "env"), references.variable(kind, container))
    if references.volume(container) not in (draft.get(("spec", "volumes")) or []):
        draft.append(("spec", "volumes"), references.volume(container))
    if references.mount(container) not in (draft.get((*path, "volumeMounts")) or []):
        draft.append((*path, "volumeMounts"), references.mount(container))


def _scheduler(draft: Draft, settings: Settings) -> Iterator[str]:
    ours = settings[CoreSettings].scheduler_name
    named = draft.get(("spec", "schedulerName")) or ""
    if not named or (named == DEFAULT_SCHEDULER and settings[WebhookSettings].overwrite_scheduler):
        draft.set(("spec", "schedulerName"), ours)
    elif named != ours:
        yield f'spec.schedulerName: {named} grants no shares, so the containers will see no device; "{ours}" does'
