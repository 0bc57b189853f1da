"""What admission refuses. Each refusal is one sentence: the field, the value, the container, and what would be right.

What a number or a word of a wish may be is the core's to say (``requests``, ``wishes``); here is what only a cluster has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hami_core import decision, names, wishes
from hami_core.errors import ValidationError
from hami_webhook import references, rules
from hami_webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hami_core.model import Pod
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_webhook.preparation import Asking

_PARENTS = ("/", "/etc", "/var", "/var/lib")


def refuse(catalogue: Catalogue, settings: Settings, pod: Pod, asking: Asking) -> None:
    """ValidationError: the first thing in a new pod that no user may write, or that a share does not go with."""
    _refuse_written(catalogue, pod)
    decision.admit(catalogue, pod)
    _refuse_pod_level(catalogue, pod)
    if asking.kinds:
        _refuse_bypass(settings, pod)
        _refuse_names(pod, asking)
        for name, container in _asking(pod, asking):
            _refuse_covered(name, container)
    elif _is_prepared(pod):
        hint = "admission sets this label on pods that get a share, and this one gets none; remove it"
        raise ValidationError(names.PREPARED, "set by the pod", hint, "the pod's labels")


def _refuse_written(catalogue: Catalogue, pod: Pod) -> None:
    prefixes = (*rules.ANNOTATION_PREFIXES, *(names.visible_key(kind.name, "") for kind in catalogue.kinds))
    for key in wishes.written(pod):
        if key in rules.ANNOTATIONS or key.startswith(prefixes):
            hint = "hami alone writes this annotation, and a copied one is somebody else's; remove it"
            raise ValidationError(key, "set by the pod", hint, "the pod's annotations")


def _refuse_pod_level(catalogue: Catalogue, pod: Pod) -> None:
    resources = (pod.get("spec") or {}).get("resources") or {}
    for which in ("limits", "requests"):
        for name, value in (resources.get(which) or {}).items():
            if name in catalogue.resources():
                hint = f"devices are asked for by a container; move it to spec.containers[].resources.{which}"
                raise ValidationError(f"spec.resources.{which}.{name}", value, hint)


def _refuse_bypass(settings: Settings, pod: Pod) -> None:
    """Ways around the scheduler, and around what it grants."""
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        hint = "a share is granted by the scheduler, which this goes past; remove it, and choose nodes by spec.nodeSelector"
        raise ValidationError("spec.nodeName", spec["nodeName"], hint)
    if not settings[WebhookSettings].refuse_privileged:
        return
    if spec.get("hostPID"):
        hint = "a pod that sees the host's processes reaches what others were granted; remove it, or ask for no share"
        raise ValidationError("spec.hostPID", "true", hint)
    for _, container in references.containers(pod):
        _refuse_privileged(container, "remove it, or ask for no share in this pod")


def _refuse_privileged(container: Mapping[str, Any], way_out: str) -> None:
    if (container.get("securityContext") or {}).get("privileged"):
        hint = f"a privileged container reaches every device of its node, whatever it is granted; {way_out}"
        raise ValidationError("securityContext.privileged", "true", hint, _where(container))


def _refuse_names(pod: Pod, asking: Asking) -> None:
    wanted = {names.grant_volume(container) for container in asking.kinds}
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        if volume.get("name") in wanted and not references.is_grant_volume(volume):
            hint = "hami's own volume with the limits file has this name; give this one another"
            raise ValidationError("spec.volumes.name", volume["name"], hint)


def _asking(pod: Pod, asking: Asking) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for _, container in references.containers(pod):
        name = str(container.get("name"))
        if name in asking.kinds:
            yield name, container


def _refuse_covered(name: str, container: Mapping[str, Any]) -> None:
    """Mounts over our own files, and mounts that these would stand in.

    containerd and CRI-O mount by depth, so a volume at /etc hides nothing of ours. Yet the mount point is then a folder of that
    volume. A read-only one (a ConfigMap) cannot take it, and the container never starts; of a writable one the owner can move
    the folder away and put limits of his own in its place, without being root.
    """
    for field, path in _places(container, references.mount(name)):
        at = references.absolute(path)
        if references.is_at_or_below(at, names.OWN_PATHS):
            hint = "hami's own files are there in a container with a share; mount it at another path"
            raise ValidationError(field, path, hint, _where(container))
        if at in _PARENTS:
            hint = f"hami's own files are below ({', '.join(names.OWN_PATHS)}); mount what is needed below {at} one by one"
            raise ValidationError(field, path, hint, _where(container))


def _places(container: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for mount in container.get("volumeMounts") or []:
        if mount != own:
            yield "volumeMounts.mountPath", mount.get("mountPath")
    for device in container.get("volumeDevices") or []:
        yield "volumeDevices.devicePath", device.get("devicePath")


def _where(container: Mapping[str, Any]) -> str:
    return f'container "{container.get("name")}"'


# --- Ephemeral containers. ---


def refuse_ephemeral(catalogue: Catalogue, settings: Settings, pod: Pod, old: Pod) -> None:
    """ValidationError: what an ephemeral container that is new in the pod may not have. It can ask for nothing itself."""
    before = {container.get("name") for container in _ephemeral(old)}
    for container in _ephemeral(pod):
        if container.get("name") not in before:
            _refuse_devices(catalogue, container)
            _refuse_places(container)
            if _is_prepared(pod) and settings[WebhookSettings].refuse_privileged:
                _refuse_privileged(container, "debug with another profile")


def _ephemeral(pod: Pod) -> list[Mapping[str, Any]]:
    return (pod.get("spec") or {}).get("ephemeralContainers") or []


def _is_prepared(pod: Pod) -> bool:
    return names.PREPARED in ((pod.get("metadata") or {}).get("labels") or {})


def _refuse_devices(catalogue: Catalogue, container: Mapping[str, Any]) -> None:
    hidden = {kind.visible_env: kind.hidden for kind in catalogue.kinds}
    for variable in container.get("env") or []:
        name = variable.get("name")
        if name in hidden and variable.get("value") != hidden[name]:
            hint = f"an ephemeral container is granted no device; remove the variable, or set it to {hidden[name]}"
            raise ValidationError(name, variable.get("value", "valueFrom"), hint, _where(container))


def _refuse_places(container: Mapping[str, Any]) -> None:
    for field, path in _places(container, {}):
        if references.is_at_or_below(references.absolute(path), names.OWN_PATHS):
            raise ValidationError(field, path, "this path is hami's own; mount it at another", _where(container))
