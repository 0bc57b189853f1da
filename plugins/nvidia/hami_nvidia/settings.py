"""The settings that belong to NVIDIA, under the names and defaults that HAMi's users know."""

from __future__ import annotations

from attrs import frozen

from hami_core.settings import setting


@frozen
class NvidiaSettings:
    """Values of the chart that concern NVIDIA GPUs."""

    split_count: int = setting(
        "devicePlugin.deviceSplitCount",
        10,
        "How many tasks a GPU carries at most, whatever memory is left.",
        low=1,
        high=1000,
    )
    driver_root: str = setting(
        "devicePlugin.nvidiaDriverRoot",
        "/",
        "Folder under which the driver's libraries are found.",
    )
    default_memory: int = setting(
        "scheduler.defaultMem",
        5000,
        "MiB per GPU for a container that names no memory. 0: the whole GPU.",
        low=0,
        high=16 * 1024 * 1024,
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
    resource_count: str = setting("resourceName", "nvidia.com/gpu", "Request name for the number of GPUs.")
    resource_memory: str = setting("resourceMem", "nvidia.com/gpumem", "Request name for memory per GPU, in MiB.")
    resource_percent: str = setting(
        "resourceMemPercentage", "nvidia.com/gpumem-percentage", "Request name for memory per GPU, in percent."
    )
    resource_cores: str = setting("resourceCores", "nvidia.com/gpucores", "Request name for compute per GPU, in percent.")
    resource_priority: str = setting(
        "resourcePriority", "nvidia.com/priority", "Request name for the task's priority: 0 high, 1 low."
    )
