"""What an operator may set of the node agent, under the names of HAMi's chart where it has one."""

from __future__ import annotations

from attrs import frozen

from hami_core.settings import Form, setting

_ADDRESS = Form(r"(\[[0-9a-fA-F:]+\]|[^:\[\]]*):[0-9]{1,5}", "HOST:PORT, or :PORT for all addresses")
_PATH = Form(r"/[^,:\n]*", "an absolute path without commas and colons")


@frozen
class AgentSettings:
    """The agent's folders, its other port, and how often it looks."""

    plugin_path: str = setting(
        "devicePlugin.pluginPath",
        "/var/lib/kubelet/device-plugins",
        "Folder of the kubelet's socket for device plugins, and of ours.",
        form=_PATH,
        per_node=True,
    )
    pod_resources: str = setting(
        "devicePlugin.podResourcesPath",
        "/var/lib/kubelet/pod-resources",
        "Folder of the socket on which the kubelet tells what containers hold: read for metrics, and to notice if it lost us.",
        form=_PATH,
        per_node=True,
    )
    host_folder: str = setting(
        "devicePlugin.hostFolder",
        "/var/lib/hami",
        "Folder of the host for what containers are given: the interposer, and a region for each. The agent sees it under the "
        "same path.",
        form=_PATH,
        per_node=True,
    )
    info_address: str = setting(
        "devicePlugin.metricsBindAddress",
        ":9394",
        "Where the agent's metrics, /healthz and /readyz are served.",
        form=_ADDRESS,
        per_node=True,
    )
    log_level: str = setting(
        "devicePlugin.logLevel",
        "info",
        "Least grave kind of line that is logged.",
        choices=("debug", "info", "warning", "error"),
        per_node=True,
    )
    health_every: float = setting(
        "devicePlugin.healthCheckSeconds",
        5.0,
        "Seconds between two looks at the health of the devices.",
        low=0.05,
        high=3600,
        per_node=True,
    )
    settle: float = setting(
        "devicePlugin.healthSettleSeconds",
        10.0,
        "Seconds for which a device that was sick has to be well before it carries anything again, so that what flickers does "
        "not let pods in and out. A vendor's own time to recover comes before that.",
        low=0,
        high=86400,
        per_node=True,
    )
    silence: float = setting(
        "devicePlugin.healthSilenceSeconds",
        60.0,
        "Seconds for which a driver that does not answer leaves its last answer standing. Then its devices carry nothing new.",
        low=1,
        high=86400,
        per_node=True,
    )
    discover_every: float = setting(
        "devicePlugin.discoverySeconds",
        60.0,
        "Seconds between two looks for devices that have come or gone.",
        low=0.05,
        high=86400,
        per_node=True,
    )
