"""What NVIDIA's containers ask: HAMi's names, and the policies in their environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hami_core import settings
from hami_core.errors import ValidationError
from hami_core.model import ID, SHARE, SPLITTING, Selector
from hami_core.sharing import CoreSettings
from hami_nvidia import plugin
from hami_nvidia.requests import KILL_NOTE
from hami_nvidia.settings import NvidiaSettings

if TYPE_CHECKING:
    from hami_core.model import Request


def parsed(
    limits: dict[str, Any], env: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **changed: Any
) -> tuple[Request, ...]:
    """The requests of a pod of one container under these settings (path -> value, dots written as double underscores)."""
    layer = {path.replace("__", "."): value for path, value in changed.items()}
    in_force = settings.resolve({"core": CoreSettings, "nvidia": NvidiaSettings}, [("test", layer)])
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    pod = {
        "metadata": {"annotations": annotations or {}},
        "spec": {"containers": [{"name": "c", "env": variables, "resources": {"limits": limits}}]},
    }
    (kind,) = plugin.hami_kinds(in_force)
    return tuple(plugin.hami_parse(kind, pod, in_force) or ())


def test_the_articles_pod_is_read_as_it_is_meant() -> None:
    (request,) = parsed({"nvidia.com/gpu": 1, "nvidia.com/gpumem": 3000, "nvidia.com/gpucores": 30})

    assert (request.count, request.memory, request.percent, request.cores) == (1, 3000, None, 30)
    assert request.options == (("priority", "1"), ("policy", "default"), ("oom", "refuse"))


def test_a_gpu_without_memory_gets_the_default() -> None:
    (request,) = parsed({"nvidia.com/gpu": 1})

    assert (request.memory, request.defaulted) == (5000, frozenset({"memory", "cores"}))


def test_a_default_memory_of_zero_means_the_whole_gpu() -> None:
    (request,) = parsed({"nvidia.com/gpu": 1}, scheduler__defaultMem=0)

    assert (request.memory, request.percent) == (None, 100)


def test_a_share_without_a_count_gets_the_default_count() -> None:
    (request,) = parsed({"nvidia.com/gpumem": 3000}, scheduler__defaultGPUNum=2)

    assert request.count == 2


def test_a_share_without_a_count_is_refused_where_the_default_is_off() -> None:
    with pytest.raises(ValidationError, match=r"nvidia\.com/gpu: missing .*say how many devices beside nvidia\.com/gpumem"):
        parsed({"nvidia.com/gpumem": 3000}, scheduler__defaultGPUNum=0)


def test_an_ordinary_pod_asks_nothing() -> None:
    assert parsed({"cpu": 1, "memory": "1Gi"}) == ()


def test_memory_wins_over_the_percentage_and_the_user_is_told() -> None:
    (request,) = parsed({"nvidia.com/gpumem": 3000, "nvidia.com/gpumem-percentage": 50})

    assert (request.memory, request.percent) == (3000, None)
    assert request.notes == ("nvidia.com/gpumem: 3000 is used; nvidia.com/gpumem-percentage beside it is ignored",)


def test_renamed_resources_take_the_place_of_the_old_names() -> None:
    assert parsed({"example.com/vgpu": 2}, resourceName="example.com/vgpu")[0].count == 2
    assert parsed({"nvidia.com/gpu": 2}, resourceName="example.com/vgpu") == ()


@pytest.mark.parametrize("word", ["force", "FORCE", "disable", "default"])
def test_the_core_policy_of_the_manifest_is_recorded_with_the_grant(word: str) -> None:
    (request,) = parsed({"nvidia.com/gpu": 1}, {"GPU_CORE_UTILIZATION_POLICY": word})

    assert dict(request.options)["policy"] == word.lower()


@pytest.mark.parametrize(
    ("variable", "right"),
    [("GPU_CORE_UTILIZATION_POLICY", "default, force, disable"), ("ACTIVE_OOM_KILLER", "false, true")],
)
def test_a_word_that_means_nothing_is_refused_with_those_that_do(variable: str, right: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parsed({"nvidia.com/gpu": 1}, {variable: "perhaps"})

    assert str(caught.value) == f'{variable}: perhaps in container "c": give one of {right}'


def test_the_oom_killer_is_recorded_and_the_user_is_told_that_nothing_is_killed() -> None:
    (request,) = parsed({"nvidia.com/gpu": 1}, {"ACTIVE_OOM_KILLER": "true"})

    assert dict(request.options)["oom"] == "kill"
    assert request.notes == (KILL_NOTE,)


def test_hami_s_annotations_select_gpus_by_type_uuid_numa_node_and_mode() -> None:
    written = {
        "nvidia.com/use-gputype": "A100,H100",
        "nvidia.com/nouse-gputype": "40GB",
        "nvidia.com/use-gpuuuid": "GPU-1,GPU-2",
        "nvidia.com/nouse-gpuuuid": "GPU-3",
        "nvidia.com/vgpu-mode": "hami-core",
        "nvidia.com/numa-bind": "true",
    }

    (request,) = parsed({"nvidia.com/gpu": 1}, annotations=written)

    assert request.selectors == (
        Selector("nvidia.com/use-gputype", ("A100", "H100")),
        Selector("nvidia.com/nouse-gputype", ("40GB",), out=True),
        Selector("nvidia.com/use-gpuuuid", ("GPU-1", "GPU-2"), ID),
        Selector("nvidia.com/nouse-gpuuuid", ("GPU-3",), ID, out=True),
        Selector("nvidia.com/vgpu-mode", (SHARE,), SPLITTING),
    )
    assert request.numa_bind == "nvidia.com/numa-bind"


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"nvidia\.com/vgpu-mode: mps in the pod's annotations: give one or more of hami-core, mig"
    ):
        parsed({"nvidia.com/gpu": 1}, annotations={"nvidia.com/vgpu-mode": "mps"})
