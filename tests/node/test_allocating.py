"""What any container of a kind is prepared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_core.model import Kind, Mount, Mounts, Resources
from hami_core.node.allocating import Unprepared, collisions, response

if TYPE_CHECKING:
    from hami_core.node.api.deviceplugin_pb2 import ContainerAllocateResponse

ACME = Kind("acme", Resources(count="acme.example/chip"), visible_env="ACME_VISIBLE")
MOUNTS = Mounts(
    files=(
        Mount("/opt/hami/1/acme.so", "/usr/lib/acme.so"),
        Mount("/opt/hami/regions/7", "/var/lib/hami/region", read_only=False),
    ),
    devices=("/dev/acme0",),
    env=(("ACME_VISIBLE", "none"), ("ACME_LOG", "3")),
)


def prepared(mounts: Mounts, kind: Kind = ACME) -> ContainerAllocateResponse:
    return response(kind, mounts, is_there=lambda _: True)


def test_a_container_gets_the_files_the_device_nodes_and_the_variables() -> None:
    answer = prepared(MOUNTS)

    assert [(one.host_path, one.container_path, one.read_only) for one in answer.mounts] == [
        ("/opt/hami/1/acme.so", "/usr/lib/acme.so", True),
        ("/opt/hami/regions/7", "/var/lib/hami/region", False),
    ]
    assert [(one.host_path, one.container_path, one.permissions) for one in answer.devices] == [("/dev/acme0",) * 2 + ("rw",)]
    assert dict(answer.envs) == {"ACME_VISIBLE": "void", "ACME_LOG": "3"}
    assert (dict(answer.annotations), list(answer.cdi_devices)) == ({}, [])


@pytest.mark.parametrize("said", [(), (("ACME_VISIBLE", "all"),)], ids=["nothing", "all"])
def test_no_device_is_visible_whatever_a_plugin_says(said: tuple[tuple[str, str], ...]) -> None:
    assert dict(prepared(Mounts(env=said)).envs) == {"ACME_VISIBLE": "void"}


@pytest.mark.parametrize("missing", ["/opt/hami/1/acme.so", "/opt/hami/regions/7", "/dev/acme0"])
def test_without_something_to_mount_nothing_starts(missing: str) -> None:
    with pytest.raises(Unprepared) as refused:
        response(ACME, MOUNTS, is_there=lambda path: path != missing)

    assert str(refused.value) == f"acme: {missing} must be mounted, and is not on the node"


def test_without_an_installed_interposer_nothing_starts() -> None:
    with pytest.raises(Unprepared) as refused:
        prepared(Mounts(preload=("/srv/acme.so",)))

    assert str(refused.value) == "acme: /srv/acme.so is not installed on the node, so that nothing would hold a limit"


def test_two_kinds_that_say_different_things_under_one_name_are_told() -> None:
    other = Kind("other", Resources(count="other.example/chip"), visible_env="OTHER_VISIBLE")
    theirs = Mounts(files=(Mount("/opt/other.so", "/usr/lib/acme.so"),), devices=("/dev/acme0",), env=(("ACME_LOG", "1"),))

    assert sorted(collisions({"acme": prepared(MOUNTS), "other": prepared(theirs, other)})) == [
        "/usr/lib/acme.so: acme and other both set it in a container, differently; which of them wins is chance",
        "ACME_LOG: acme and other both set it in a container, differently; which of them wins is chance",
    ]
