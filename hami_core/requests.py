"""From a Pod manifest to Request values: the default reading of a kind's resource names, and in which phases containers run.

Pure. What a pod wishes beside numbers is read in ``wishes``. What only one vendor means (its own variables, the keys of its own
annotations) is added by that vendor's ``hami_parse``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from hami_core import names, wishes
from hami_core.errors import QuantityError, ValidationError
from hami_core.model import MAIN, Request
from hami_core.quantity import whole
from hami_core.wishes import NO_KEYS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from hami_core.model import Kind, Pod, Policy, Selector
    from hami_core.wishes import Keys

LARGEST_MIB = 16 * 1024 * 1024  # 16 TiB: sixty times the largest device of 2026; more is a mistaken unit


@frozen
class Runs:
    """One container of a pod and the phases of the pod's life in which it runs (see Request)."""

    spec: Mapping[str, Any]
    phases: tuple[int, ...]

    @property
    def name(self) -> str:
        """The container's name, unique in its pod."""
        return str(self.spec["name"])


def containers(pod: Pod) -> tuple[Runs, ...]:
    """Every container in the order of the manifest, init containers first, with its phases.

    Kubernetes' formula, as a timeline: ordinary init containers run one after the other (phases 1, 2, ...), ordinary
    containers together (MAIN); a sidecar (an init container with restartPolicy Always) runs from its place in the list on.
    Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
    """
    spec = pod.get("spec") or {}
    inits = spec.get("initContainers") or []
    ordinary = sum(not is_sidecar(container) for container in inits)
    runs, begun = [], 0
    for container in inits:
        if is_sidecar(container):
            runs.append(Runs(container, (MAIN, *range(begun + 1, ordinary + 1))))
        else:
            begun += 1
            runs.append(Runs(container, (begun,)))
    return (*runs, *(Runs(container, (MAIN,)) for container in spec.get("containers") or []))


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether an init container is a native sidecar."""
    return container.get("restartPolicy") == "Always"


def parse(kind: Kind, pod: Pod, default: Policy, keys: Keys = NO_KEYS) -> tuple[Request, ...]:
    """What every container asks of one kind; containers that name none of its resources ask nothing.

    ``keys``: the vendor's annotations by which its users select devices; they rule all containers of the pod alike.
    ValidationError: a number that cannot be meant, a word that means nothing. Of pods that ask nothing no word is read.
    """
    asking = [(runs, asked) for runs in containers(pod) if (asked := _numbers(kind, runs))]
    if not asking:
        return ()
    policy, selectors, bound = wishes.policy(pod, default), wishes.selectors(pod, keys), wishes.numa_bind(pod, keys)
    misspelt, told = wishes.misspelt(pod, keys), wishes.defaulted(pod)
    found = (_request(kind, runs, asked, policy, selectors, bound, told) for runs, asked in asking)
    return tuple(evolve(one, notes=(*misspelt, *one.notes)) for one in found) if misspelt else tuple(found)


def admit(kind: Kind, pod: Pod) -> None:
    """Refuse what a user may not write, whether or not the pod asks for the kind: its own grant, or its own visible devices.

    Whoever comes after would believe it. Two values are let through: the reference to the grant that admission itself writes,
    and in a container that asks nothing the word for no device. ValidationError: the annotation or variable, and what to do.
    """
    for key in wishes.written(pod):
        if key.startswith((names.grant_key(""), names.visible_key(kind.name, ""))):
            raise ValidationError(key, "set by the pod", "this annotation is written by hami alone; remove it")
    for runs in containers(pod):
        for variable in runs.spec.get("env") or []:
            if variable.get("name") == kind.visible_env and not _is_allowed(kind, runs, variable):
                hint = f"devices are chosen by hami; ask for them by {kind.resources.count} and remove the variable"
                raise ValidationError(kind.visible_env, _shown(variable), hint, _where(runs))


def _is_allowed(kind: Kind, runs: Runs, variable: Mapping[str, Any]) -> bool:
    return _is_our_reference(kind, runs, variable) or (variable.get("value") == kind.hidden and not _numbers(kind, runs))


def _is_our_reference(kind: Kind, runs: Runs, variable: Mapping[str, Any]) -> bool:
    field = f"metadata.annotations['{names.visible_key(kind.name, runs.name)}']"
    return bool(((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath") == field)


def _shown(variable: Mapping[str, Any]) -> str:
    return str(variable.get("value", "valueFrom"))


def _where(runs: Runs) -> str:
    return f'container "{runs.name}"'


def _numbers(kind: Kind, runs: Runs) -> dict[str, int]:
    """Role -> number, as the container says; empty if it asks nothing."""
    asked = dict(_asked(kind, runs))
    return {} if asked == {"count": 0} else asked  # a count of 0 alone is common in templates, and asks for nothing


def _request(
    kind: Kind,
    runs: Runs,
    asked: Mapping[str, int],
    policy: Policy,
    selectors: tuple[Selector, ...],
    bound: str,
    told: Collection[str],
) -> Request:
    count = _count(kind, runs, asked)
    memory, percent = _memory(kind, asked)
    return Request(
        container=runs.name,
        kind=kind.name,
        count=count,
        memory=memory,
        percent=percent,
        cores=asked.get("cores", kind.defaults.cores),
        phases=runs.phases,
        policy=policy,
        selectors=selectors,
        numa_bind=bound,
        options=(("priority", str(asked.get("priority", 1))),) if kind.resources.priority else (),
        defaulted=_defaulted(asked) | _told(kind, runs, asked, told) if told else _defaulted(asked),
        notes=_notes(kind, asked),
    )


def _asked(kind: Kind, runs: Runs) -> Iterator[tuple[str, int]]:
    """Role -> number, for the roles that the container names, each checked against its range."""
    limits, requests = _amounts(runs, "limits"), _amounts(runs, "requests")
    for role, (low, high, unit) in _RANGES.items():
        name = getattr(kind.resources, role)
        if name is None or (name not in limits and name not in requests):
            continue
        number = _number(name, limits.get(name, requests.get(name)), low, high, unit, runs)
        if name in requests and _number(name, requests[name], low, high, unit, runs) != number:
            hint = f"requests and limits of an accelerator must be equal; limits say {limits[name]}"
            raise ValidationError(f"resources.requests.{name}", requests[name], hint, _where(runs))
        yield role, number


_RANGES = {
    "count": (0, None, ""),
    "memory": (1, LARGEST_MIB, "MiB"),
    "memory_percent": (1, 100, ""),
    "cores": (0, 100, ""),
    "priority": (0, 1, ""),
}


def _amounts(runs: Runs, which: str) -> Mapping[str, Any]:
    return (runs.spec.get("resources") or {}).get(which) or {}


def _number(name: str, value: object, low: int, high: int | None, unit: str, runs: Runs) -> int:
    try:
        number = whole(value, unit)
    except QuantityError as error:
        raise ValidationError(name, error.value, error.hint, _where(runs)) from error
    if unit == "MiB" and number > LARGEST_MIB:
        hint = f"that is {number} MiB, more than any device has; the unit is MiB already, so 3 GB are written 3000"
        raise ValidationError(name, value, hint, _where(runs))
    if number < low or (high is not None and number > high):
        span = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise ValidationError(name, value, f"give a whole number {span}", _where(runs))
    return number


def _count(kind: Kind, runs: Runs, asked: Mapping[str, int]) -> int:
    if "count" not in asked and not kind.defaults.count:
        others = ", ".join(_named(kind, asked))
        raise ValidationError(kind.resources.count, "missing", f"say how many devices beside {others}", _where(runs))
    if asked.get("count") == 0:
        others = ", ".join(name for name in _named(kind, asked) if name != kind.resources.count)
        hint = f"a share of no device; give 1 or more, or remove {others}"
        raise ValidationError(kind.resources.count, 0, hint, _where(runs))
    return asked.get("count", kind.defaults.count)


def _named(kind: Kind, asked: Mapping[str, int]) -> list[str]:
    return [getattr(kind.resources, role) for role in asked]


def _memory(kind: Kind, asked: Mapping[str, int]) -> tuple[int | None, int | None]:
    """(MiB, None) or (None, percent). The absolute number wins over the percentage, both over the default."""
    if "memory" in asked:
        return asked["memory"], None
    if "memory_percent" in asked:
        return None, asked["memory_percent"]
    if kind.defaults.memory:
        return kind.defaults.memory, None
    return None, 100


def _defaulted(asked: Mapping[str, int]) -> frozenset[str]:
    fields = {"count", "cores"} - set(asked)
    if "memory" not in asked and "memory_percent" not in asked:
        fields.add("memory")
    return frozenset(fields)


def _told(kind: Kind, runs: Runs, asked: Mapping[str, int], told: Collection[str]) -> frozenset[str]:
    """Those that admission has written: explicit now, and still nobody's choice."""
    written = {role: names.defaulted_amount(runs.name, getattr(kind.resources, role), asked[role]) for role in asked}
    return frozenset(role for role in ("count", "memory", "cores") if written.get(role) in told)


def _notes(kind: Kind, asked: Mapping[str, int]) -> tuple[str, ...]:
    if "memory" in asked and "memory_percent" in asked:
        resources = kind.resources
        return (f"{resources.memory}: {asked['memory']} is used; {resources.memory_percent} beside it is ignored",)
    return ()
