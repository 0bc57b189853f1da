"""The kubelet's messages, read a second time and independently of hami_core: so that no misreading agrees with itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

DEVICE_PLUGIN = """
Empty
RegisterRequest: version=1 string, endpoint=2 string, resource_name=3 string, options=4 DevicePluginOptions
DevicePluginOptions: pre_start_required=1 bool, get_preferred_allocation_available=2 bool
ListAndWatchResponse: devices=1 repeated Device
Device: ID=1 string, health=2 string, topology=3 TopologyInfo
TopologyInfo: nodes=1 repeated NUMANode
NUMANode: ID=1 int64
PreferredAllocationRequest: container_requests=1 repeated ContainerPreferredAllocationRequest
ContainerPreferredAllocationRequest: available_deviceIDs=1 repeated string, must_include_deviceIDs=2 repeated string, \
allocation_size=3 int32
PreferredAllocationResponse: container_responses=1 repeated ContainerPreferredAllocationResponse
ContainerPreferredAllocationResponse: deviceIDs=1 repeated string
AllocateRequest: container_requests=1 repeated ContainerAllocateRequest
ContainerAllocateRequest: devices_ids=1 repeated string
AllocateResponse: container_responses=1 repeated ContainerAllocateResponse
ContainerAllocateResponse: envs=1 map, mounts=2 repeated Mount, devices=3 repeated DeviceSpec, annotations=4 map, \
cdi_devices=5 repeated CDIDevice
Mount: container_path=1 string, host_path=2 string, read_only=3 bool
DeviceSpec: container_path=1 string, host_path=2 string, permissions=3 string
CDIDevice: name=1 string
PreStartContainerRequest: devices_ids=1 repeated string
PreStartContainerResponse
"""

POD_RESOURCES = """
ListPodResourcesRequest
ListPodResourcesResponse: pod_resources=1 repeated PodResources
AllocatableResourcesRequest
AllocatableResourcesResponse: devices=1 repeated ContainerDevices, cpu_ids=2 repeated int64, memory=3 repeated ContainerMemory
GetPodResourcesRequest: pod_name=1 string, pod_namespace=2 string
GetPodResourcesResponse: pod_resources=1 PodResources
PodResources: name=1 string, namespace=2 string, containers=3 repeated ContainerResources, cpu_ids=4 repeated int64, \
memory=5 repeated ContainerMemory
ContainerResources: name=1 string, devices=2 repeated ContainerDevices, cpu_ids=3 repeated int64, \
memory=4 repeated ContainerMemory, dynamic_resources=5 repeated DynamicResource
ContainerDevices: resource_name=1 string, device_ids=2 repeated string, topology=3 TopologyInfo
TopologyInfo: nodes=1 repeated NUMANode
NUMANode: ID=1 int64
ContainerMemory: memory_type=1 string, size=2 uint64, topology=3 TopologyInfo
DynamicResource: claim_name=2 string, claim_namespace=3 string, claim_resources=4 repeated ClaimResource
ClaimResource: cdi_devices=1 repeated CDIDevice, driver_name=2 string, pool_name=3 string, device_name=4 string, \
share_id=5 string
CDIDevice: name=1 string
"""

PLUGIN_REGISTRATION = """
InfoRequest
PluginInfo: type=1 string, name=2 string, endpoint=3 string, supported_versions=4 repeated string
RegistrationStatus: plugin_registered=1 bool, error=2 string
RegistrationStatusResponse
"""

FIELD = re.compile(r"(?P<name>\w+)=(?P<number>\d+) (?P<repeated>repeated )?(?P<type>\w+)")


class Messages:
    """The classes of one table, by name, apart from everybody else's."""

    def __init__(self, package: str, table: str) -> None:
        self.package = package
        self._pool = descriptor_pool.DescriptorPool()
        self._pool.Add(_file(package, table))
        self.names = re.findall(r"^\w+", table, re.MULTILINE)

    def __getattr__(self, name: str) -> Any:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{self.package}.{name}"))

    def reads(self, name: str) -> Callable[[bytes], Any]:
        """A reader of that message which takes no field that the interface does not have."""

        def read(data: bytes) -> Any:
            message = getattr(self, name).FromString(data)
            refuse_unknown(message)
            return message

        return read


def _file(package: str, table: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"second/{package}.proto", package=package, syntax="proto3")
    for line in filter(None, table.splitlines()):
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for field in FIELD.finditer(fields):
            _add(message, f".{package}", field)
    return file


def _add(message: descriptor_pb2.DescriptorProto, package: str, found: re.Match[str]) -> None:
    field = message.field.add(name=found["name"], number=int(found["number"]))
    field.label = field.LABEL_REPEATED if found["repeated"] or found["type"] == "map" else field.LABEL_OPTIONAL
    if found["type"] == "map":
        entry = message.nested_type.add(name=f"{found['name'].capitalize()}Entry")
        entry.options.map_entry = True
        for number, part in enumerate(("key", "value"), 1):
            entry.field.add(name=part, number=number, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
        field.type, field.type_name = field.TYPE_MESSAGE, f"{package}.{message.name}.{entry.name}"
    elif found["type"][0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f"{package}.{found['type']}"
    else:
        field.type = getattr(field, f"TYPE_{found['type'].upper()}")


def refuse_unknown(message: Message) -> None:
    """AssertionError: a field, however deep, that the interface does not have."""
    assert len(UnknownFieldSet(message)) == 0, f"{type(message).__name__} has fields of nobody's"
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for one in value if field.is_repeated else [value]:
                refuse_unknown(one)


device_plugin = Messages("v1beta1", DEVICE_PLUGIN)
pod_resources = Messages("v1", POD_RESOURCES)
plugin_registration = Messages("pluginregistration", PLUGIN_REGISTRATION)
