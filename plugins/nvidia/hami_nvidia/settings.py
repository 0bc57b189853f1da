"""The settings that belong to NVIDIA, under the names and defaults that HAMi's users know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_core.settings import Form, setting
from hami_nvidia import node_configuration

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_MIB = 16 * 1024 * 1024  # 16 TiB, as much as a request may name

RESOURCE = "resource name"
NAME = Form(  # https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources
    r"(?!requests\.)(?!([^/]*\.)?kubernetes\.io/)[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?",
    "a resource name with a domain of yours, like example.com/vgpu",
)
UUID = Form(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID as nvidia-smi -L prints it (GPU-5f2a0c1e-...)")
STRATEGY = Form("none", "none; mixed needs the plugin hami-mig, which this build does not have")
XIDS = Form(r"none|xids|all|[0-9]{1,5}([ ,]+[0-9]{1,5})*", '"none", "xids", "all", or numbers of Xids as in "13 31"')


def resource(path: str, default: str, doc: str) -> Any:
    """A setting that names a resource."""
    return setting(path, default, doc, form=NAME, distinct=RESOURCE)


@frozen
class NvidiaSettings:
    """Values of the chart that concern NVIDIA GPUs."""

    split_count: int = setting(
        "devicePlugin.deviceSplitCount",
        10,
        "How many tasks a GPU carries at most, whatever memory is left.",
        low=1,
        high=1000,
        per_node=True,
    )
    memory_scaling: float = setting(
        "devicePlugin.deviceMemoryScaling",
        1.0,
        "Memory of a GPU that is handed out, as a multiple of what it has; no one share is larger than the GPU. Above 1 "
        "(experimental) the shares together may pass the card: whoever then asks a full card for more gets the driver's "
        "out-of-memory error within its own share.",
        low=0.1,
        high=100,
        per_node=True,
    )
    core_scaling: float = setting(
        "devicePlugin.deviceCoreScaling",
        1.0,
        "Compute of a GPU that may be reserved, as a multiple of 100 %. Above 1 the reservations together may pass the GPU.",
        low=0.1,
        high=100,
        per_node=True,
    )
    unsaid_memory: int = setting(
        "devicePlugin.preConfiguredDeviceMemory",
        0,
        "MiB of a GPU whose driver does not say how much it has, because it shares the host's memory. 0: such a GPU is sick.",
        low=0,
        high=LARGEST_MIB,
        per_node=True,
    )
    mig_strategy: str = setting(
        "devicePlugin.migStrategy",
        "none",
        "What is done with MIG. none: GPUs are shared as a whole and no instance is handed out, so a GPU in MIG mode, on which "
        "programs run in an instance only, is listed as sick and carries nothing.",
        form=STRATEGY,
        per_node=True,
    )
    no_core_limit: bool = setting(
        "devicePlugin.disablecorelimit",
        False,
        "No container is held to its share of compute: every grant says policy=disable, whatever the container asks. Cores are "
        "still reserved, and memory is still limited.",
    )
    driver_root: str = setting(
        "devicePlugin.nvidiaDriverRoot",
        "/",
        "Folder under which the driver's libraries are found.",
        per_node=True,
    )
    filtered_uuids: tuple[str, ...] = setting(
        "devicePlugin.filterDevices.uuid",
        (),
        "UUIDs of GPUs that are kept out of sharing: nothing is placed on them.",
        item=str,
        form=UUID,
        per_node=True,
    )
    filtered_indices: tuple[int, ...] = setting(
        "devicePlugin.filterDevices.index",
        (),
        "The same by a GPU's number in nvidia-smi.",
        item=int,
        low=0,
        high=63,
        per_node=True,
    )
    node_configuration: Mapping[str, Any] = setting(
        "devicePlugin.nodeConfiguration.config",
        {},
        'HAMi\'s spelling of nodes, for values that exist already: {"nodeconfig": [{"name": ..., "devicesplitcount": 4}]}, as '
        f"YAML or JSON text. Keys: name, {', '.join(node_configuration.KEYS)}. An entry of nodes wins over one here.",
        item=object,
        overrides=node_configuration.overrides,
    )
    core_policy: str = setting(
        "devices.nvidia.gpuCorePolicy",
        "default",
        "GPU_CORE_UTILIZATION_POLICY of containers that set none: default (the share of compute binds under contention), force "
        "(always), disable (never).",
        choices=("default", "force", "disable"),
    )
    log_level: int = setting(
        "devices.nvidia.libCudaLogLevel",
        1,
        "LIBCUDA_LOG_LEVEL of containers that set none: 0 and 1 errors, 2 messages, 3 information, 4 debugging.",
        low=0,
        high=4,
        per_node=True,
    )
    context_memory: Mapping[str, int] = setting(
        "devices.nvidia.contextMemory",
        {},
        "MiB that the driver takes of a share for each CUDA context, by GPU model (a name as nvidia-smi prints it, or a "
        "pattern like NVIDIA A100*; the longest that fits counts), instead of the figures that come with hami. 0: contexts are "
        "not charged. `hami nvidia measure-context` measures it.",
        item=int,
        low=0,
        high=65536,
        per_node=True,
    )
    default_memory: int = setting(
        "scheduler.defaultMem",
        5000,
        "MiB per GPU for a container that names no memory. 0: the whole GPU.",
        low=0,
        high=LARGEST_MIB,
    )
    default_cores: int = setting(
        "scheduler.defaultCores",
        0,
        "Percent of compute per GPU for a container that names none. 0: nothing reserved, no ceiling.",
        low=0,
        high=100,
    )
    default_count: int = setting(
        "scheduler.defaultGPUNum",
        1,
        "GPUs for a container that names another resource of a share but no count. 0: such a container is refused.",
        low=0,
        high=64,
    )
    resource_count: str = resource("resourceName", "nvidia.com/gpu", "Request name for the number of GPUs.")
    resource_memory: str = resource("resourceMem", "nvidia.com/gpumem", "Request name for memory per GPU, in MiB.")
    resource_percent: str = resource(
        "resourceMemPercentage", "nvidia.com/gpumem-percentage", "Request name for memory per GPU, in percent."
    )
    resource_cores: str = resource("resourceCores", "nvidia.com/gpucores", "Request name for compute per GPU, in percent.")
    resource_priority: str = resource(
        "resourcePriority", "nvidia.com/priority", "Request name for the task's priority: 0 high, 1 low."
    )
    health_ignored: str = setting(
        "devicePlugin.disableHealthChecks",
        "none",
        'What does not make a GPU unhealthy: numbers of Xids, as in "13,31" or "13 31"; "xids", no Xid does; "all", nothing '
        "does but that it does not answer. Xids that a program causes never do: 8, 13, 31, 43, 45, 68, 69, 109, 137. NVIDIA's "
        "DP_DISABLE_HEALTHCHECKS.",
        form=XIDS,
        per_node=True,
    )
    health_watched: str = setting(
        "devicePlugin.enableHealthChecks",
        "none",
        'Xids that make a GPU unhealthy whatever else is said of them: numbers, or "all". NVIDIA\'s DP_ENABLE_HEALTHCHECKS.',
        form=XIDS,
        per_node=True,
    )
    health_recovery: int = setting(
        "devicePlugin.healthRecoverySeconds",
        300,
        "Seconds without a fault after which a GPU is healthy again. 0: not before whoever watches is started anew.",
        low=0,
        high=86400,
        per_node=True,
    )
