"""HAMi's settings by node, ``devicePlugin.nodeConfiguration.config``, read as entries of ``nodes`` under other names.

Kept because it stands in the values of existing installations. Every key is translated to the path of a setting, and checked
by that setting; nothing is decided here. Source of the keys: HAMi 2.10's chart and its /config/config.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hami_core.errors import SettingsError
from hami_core.settings import NodeOverride

PATHS = {
    "devicesplitcount": "devicePlugin.deviceSplitCount",
    "devicememoryscaling": "devicePlugin.deviceMemoryScaling",
    "devicecorescaling": "devicePlugin.deviceCoreScaling",
    "preconfigureddevicememory": "devicePlugin.preConfiguredDeviceMemory",
    "libcudaloglevel": "devices.nvidia.libCudaLogLevel",
    "migstrategy": "devicePlugin.migStrategy",
}
FILTERS = {"uuid": "devicePlugin.filterDevices.uuid", "index": "devicePlugin.filterDevices.index"}
ONLY = {  # words that HAMi knows more of: the one that says what this build does, and who would bring the others
    "operatingmode": ("hami-core", "GPUs cut by MIG need the plugin hami-mig, which this build does not have"),
}
KEYS = (*PATHS, "filterdevices", *ONLY)


def overrides(value: Mapping[str, object], source: str) -> list[NodeOverride]:
    """The entries of ``nodeconfig``. SettingsError names the entry, the key, and what would be right."""
    unknown = [key for key in value if key != "nodeconfig"]
    entries = value.get("nodeconfig", [])
    if unknown or not isinstance(entries, Sequence) or isinstance(entries, str):
        wrong = repr(unknown[0]) if unknown else repr(entries)
        raise SettingsError("devicePlugin.nodeConfiguration.config", f'{wrong} is not {{"nodeconfig": [entries]}}', source)
    return [_override(number, entry, source) for number, entry in enumerate(entries)]


def _override(number: int, entry: object, source: str) -> NodeOverride:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(name, str) or not name:
        raise SettingsError(f"nodeconfig[{number}]", f'{entry!r} is no mapping with "name": NODE and settings', source)
    label = f'nodeconfig[{number}] "{name}"'
    return NodeOverride(label, name, dict(_values(entry, f"{source}, {label}")))


def _values(entry: Mapping[str, object], source: str) -> Iterator[tuple[str, Any]]:
    """Path -> value as it was written."""
    for key, value in entry.items():
        if key in PATHS:
            yield PATHS[key], value
        elif key == "filterdevices":
            yield from _filters(value, source)
        elif key in ONLY:
            word, reason = ONLY[key]
            if value != word:
                raise SettingsError(key, f"{value!r} is not {word}: {reason}", source)
        elif key != "name":
            raise SettingsError(key, f"unknown key (known are name, {', '.join(KEYS)})", source)


def _filters(value: object, source: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or set(value) - set(FILTERS):
        raise SettingsError("filterdevices", f'{value!r} is not {{"uuid": [...], "index": [...]}}', source)
    for key, members in value.items():
        yield FILTERS[key], members
