"""The kubelet's Allocate: how any container of a kind is prepared, in the interface's own fields. Pure but for one question.

The answer is the same for every pod: it says what is mounted, and that no device is visible. Which devices a container may
see is told by its pod, whose variables come after these and win.

The kubelet merges the answers of all resources of a container, in random order, and the first to name a variable or a path in
the container wins. So two kinds must not say different things under one name (``collisions``).
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from hami_core.errors import HamiError
from hami_core.node.api.deviceplugin_pb2 import ContainerAllocateResponse, DeviceSpec, Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hami_core.model import Kind, Mounts

PERMISSIONS = "rw"
"""Of device nodes. Making nodes of its own is nothing that a container needs."""


class Unprepared(HamiError):
    """A container of the kind cannot be started as it must be; the kubelet fails the pod with this sentence."""


def response(kind: Kind, mounts: Mounts, is_there: Callable[[str], bool]) -> ContainerAllocateResponse:
    """The answer for one container. ``is_there``: whether the host has a file, folder or device node of that path.

    Unprepared: something to mount is missing, for which the runtime would make an empty folder; or a library is still to be
    preloaded as a path of the agent's own, which a container does not have.
    """
    if mounts.preload:
        raise Unprepared(f"{kind.name}: {mounts.preload[0]} is not installed on the node, so that nothing would hold a limit")
    missing = [path for path in (*(mount.source for mount in mounts.files), *mounts.devices) if not is_there(path)]
    if missing:
        raise Unprepared(f"{kind.name}: {', '.join(missing)} must be mounted, and is not on the node")
    return ContainerAllocateResponse(
        envs={
            **dict(mounts.env),
            kind.visible_env: kind.hidden,
        },  # whatever a plugin says: until the pod says otherwise, nothing
        mounts=[Mount(container_path=one.target, host_path=one.source, read_only=one.read_only) for one in mounts.files],
        devices=[DeviceSpec(container_path=node, host_path=node, permissions=PERMISSIONS) for node in mounts.devices],
    )


def collisions(responses: Mapping[str, ContainerAllocateResponse]) -> list[str]:
    """A sentence for each name under which two kinds say different things to one container. ``responses``: by kind."""
    said = {kind: dict(_says(one)) for kind, one in responses.items()}
    return [
        f"{name}: {a} and {b} both set it in a container, differently; which of them wins is chance"
        for a, b in combinations(said, 2)
        for name in said[a].keys() & said[b].keys()
        if said[a][name] != said[b][name]
    ]


def _says(one: ContainerAllocateResponse) -> Iterator[tuple[str, object]]:
    yield from one.envs.items()
    yield from ((mount.container_path, (mount.host_path, mount.read_only)) for mount in one.mounts)
    yield from ((node.container_path, (node.host_path, node.permissions)) for node in one.devices)
    yield from one.annotations.items()
