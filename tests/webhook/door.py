"""Admission as the API server meets it: the plugins that are installed, a pod in, a pod out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import jsonpatch

from hami_core import plugins, settings
from hami_webhook import admission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.plugins import Catalogue, Plugins
    from hami_core.settings import Settings

GPU, MEMORY, PERCENT, CORES, PRIORITY = (
    f"nvidia.com/{name}" for name in ("gpu", "gpumem", "gpumem-percentage", "gpucores", "priority")
)
NO_VALUES: Mapping[str, object] = {}
CARD = "mock.dev/device"  # of a second vendor


@cache
def installed() -> Plugins:
    loaded = plugins.load(block="")
    assert not loaded.failures
    return loaded


def world(values: Mapping[str, object] = NO_VALUES) -> tuple[Catalogue, Settings]:
    """The catalogue and the settings, with these values by their paths."""
    return _world(tuple(values.items()))


@cache
def _world(values: tuple[tuple[str, object], ...]) -> tuple[Catalogue, Settings]:
    found = settings.resolve(plugins.settings_classes(installed()), [("test", dict(values))])
    return plugins.catalogue(installed(), found), found


def review(
    pod: Mapping[str, Any],
    values: Mapping[str, object] = NO_VALUES,
    *,
    operation: str = "CREATE",
    old: Mapping[str, Any] | None = None,
) -> admission.Admitted:
    catalogue, found = world(values)
    return admission.review(installed().hook, catalogue, found, pod, operation=operation, old=old)


def prepared(pod: Mapping[str, Any], values: Mapping[str, object] = NO_VALUES) -> dict[str, Any]:
    """The pod as it leaves admission: the patch applied by somebody else's library."""
    return applied(pod, review(pod, values))


def applied(pod: Mapping[str, Any], admitted: admission.Admitted) -> dict[str, Any]:
    done: dict[str, Any] = jsonpatch.apply_patch(pod, list(admitted.patch))
    return done


def a_container(name: str = "main", limits: Mapping[str, object] | None = None, **fields: Any) -> dict[str, Any]:
    resources = {"resources": {"limits": dict(limits)}} if limits is not None else {}
    return {"name": name, "image": "localhost/work:test", **resources, **fields}


def a_pod(*containers: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", **(metadata or {})},
        "spec": {"schedulerName": "default-scheduler", "containers": list(containers), **spec},
    }


def asking(**limits: object) -> dict[str, Any]:
    """A pod with one container that asks for a GPU and more of NVIDIA's resources by the ends of their names."""
    return a_pod(a_container(limits={GPU: "1", **{f"nvidia.com/{name}": str(value) for name, value in limits.items()}}))
