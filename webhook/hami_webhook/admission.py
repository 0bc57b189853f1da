"""What becomes of a pod at admission: prepared by one JSON patch, or refused. Pure; the server around it is in ``server``.

It works on the pod as the API server sends it and changes only what is ours, so fields that this build has never heard of pass
through untouched. Reviewing a pod that was prepared already changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import decision, names
from hami_core.errors import ValidationError
from hami_webhook import preparation, references, refusals
from hami_webhook.patch import Draft

if TYPE_CHECKING:
    from pluggy import HookRelay

    from hami_core.model import Pod
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_webhook.patch import Operation

CREATE = "CREATE"
_NOTHING: Pod = {}


@frozen
class Admitted:
    """A pod that may be: the operations of its patch (RFC 6902), none if it stays as it is, and sentences for its author."""

    patch: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()


def review(
    hook: HookRelay, catalogue: Catalogue, settings: Settings, pod: Pod, *, operation: str, old: Pod | None = None
) -> Admitted:
    """Prepare a new pod, or look at what was added to an old one (``operation`` is not CREATE): an ephemeral container.

    ValidationError: the pod is refused, with the sentence for its author.
    """
    if operation != CREATE:
        refusals.refuse_ephemeral(catalogue, settings, pod, old or _NOTHING)
        return Admitted()
    _refuse_nameless(pod)
    asks = decision.ask(hook, catalogue, settings, pod)
    left_out = _is_left_out(pod)
    asking = preparation.Asking.of(() if left_out else asks)
    draft = Draft(pod)
    preparation.mend(draft, catalogue, asking)
    refusals.refuse(catalogue, settings, draft.document, asking)
    if left_out:
        return Admitted(draft.operations, _left_out(pod) if asks else ())
    warnings = preparation.prepare(draft, settings, asks, asking) if asks else ()
    return Admitted(draft.operations, warnings)


def _refuse_nameless(pod: Pod) -> None:
    """The API server looks at names after us; without one there is nothing to hold a grant by."""
    for path, container in references.containers(pod):
        if not container.get("name"):
            raise ValidationError(f"spec.{path[1]}[{path[2]}].name", "missing", "give the container a name")


def _is_left_out(pod: Pod) -> bool:
    return ((pod.get("metadata") or {}).get("labels") or {}).get(names.WEBHOOK) == names.WEBHOOK_IGNORE


def _left_out(pod: Pod) -> tuple[str, ...]:
    named = pod["metadata"]["labels"][names.WEBHOOK]
    return (f"{names.WEBHOOK}: {named}: the pod is not prepared, so nothing is granted and its containers see no device",)
