"""What NVIDIA's users ask by words of their own: annotations that select GPUs, and variables of each container.

The variables are recorded with the grant, so that no container can loosen it later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from hami_core import requests
from hami_core.errors import ValidationError
from hami_core.model import SHARE
from hami_core.wishes import Keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.model import Kind, Pod, Policy, Request
    from hami_nvidia.settings import NvidiaSettings

KEYS = Keys(
    use_model="nvidia.com/use-gputype",
    avoid_model="nvidia.com/nouse-gputype",
    use_id="nvidia.com/use-gpuuuid",
    avoid_id="nvidia.com/nouse-gpuuuid",
    numa_bind="nvidia.com/numa-bind",
    splitting="nvidia.com/vgpu-mode",
    splittings={"hami-core": SHARE, "mig": "mig"},
)
"""HAMi's annotations, under its names."""

CORE_POLICY = "GPU_CORE_UTILIZATION_POLICY"
OOM_KILLER = "ACTIVE_OOM_KILLER"
_POLICIES = {"default": "default", "force": "force", "disable": "disable"}
_OOM = {"false": "refuse", "true": "kill"}
KILL_NOTE = f"{OOM_KILLER}: true is recorded; this build refuses the allocation and ends no process"
NO_LIMIT_NOTE = "devicePlugin.disablecorelimit is true: no container is held to its share of compute"


def parse(kind: Kind, pod: Pod, default: Policy, own: NvidiaSettings) -> tuple[Request, ...]:
    """The core's requests, each with the words ``policy`` and ``oom`` of the limits file among its options.

    ValidationError: a word that is neither a policy nor a truth value.
    """
    variables = {runs.name: _variables(runs.spec) for runs in requests.containers(pod)}
    asked = requests.parse(kind, pod, default, KEYS)
    return tuple(_with_words(request, variables[request.container], own) for request in asked)


def _variables(container: Mapping[str, object]) -> dict[str, str]:
    env = container.get("env") or []
    assert isinstance(env, list)  # the API server and local mode's manifest check see to it
    return {variable["name"]: str(variable.get("value", "")) for variable in env}


def _with_words(request: Request, env: Mapping[str, str], own: NvidiaSettings) -> Request:
    policy = _word(env, CORE_POLICY, own.core_policy, _POLICIES, request.container)
    oom = _word(env, OOM_KILLER, "false", _OOM, request.container)
    notes = [*request.notes, *([KILL_NOTE] if oom == "kill" else [])]
    if own.no_core_limit and policy != "disable":
        notes += [f"{CORE_POLICY}: {policy} has no effect, {NO_LIMIT_NOTE}"] if CORE_POLICY in env else []
        policy = "disable"
    return evolve(request, options=(*request.options, ("policy", policy), ("oom", oom)), notes=tuple(notes))


def _word(env: Mapping[str, str], name: str, default: str, words: Mapping[str, str], container: str) -> str:
    value = env.get(name, default)
    if value.lower() not in words:
        raise ValidationError(name, value, f"give one of {', '.join(words)}", f'container "{container}"')
    return words[value.lower()]
