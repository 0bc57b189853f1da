"""The generated messages are those of the .proto files that stand beside them, and the kubelet's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hami_core
from hami_core.node.api import deviceplugin_pb2, pluginregistration_pb2, podresources_pb2
from tests.node import interface

ROOT = Path(hami_core.__file__).parents[1]
PROTOS = sorted((ROOT / "hami_core" / "node" / "api").glob("*.proto"))
GENERATED = "hami_core/node/api/*_pb2.py*"


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.glob(GENERATED)}


def test_what_is_generated_is_what_is_checked_in(tmp_path: Path) -> None:
    sources = [str(path.relative_to(ROOT)) for path in PROTOS]
    outputs = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]

    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, *sources], cwd=ROOT, check=True)

    assert texts(ROOT) == texts(tmp_path), "run `make api`"


def shape(descriptor: Any) -> list[tuple[object, ...]]:
    return sorted(
        (one.name, one.number, one.type, one.is_repeated, one.message_type and one.message_type.full_name)
        for one in descriptor.fields
    )


@pytest.mark.parametrize(
    ("generated", "second"),
    [
        (deviceplugin_pb2, interface.device_plugin),
        (podresources_pb2, interface.pod_resources),
        (pluginregistration_pb2, interface.plugin_registration),
    ],
    ids=["device plugin", "pod resources", "plugin registration"],
)
def test_two_readings_of_the_interface_agree(generated: Any, second: interface.Messages) -> None:
    ours = {name: shape(one) for name, one in generated.DESCRIPTOR.message_types_by_name.items()}

    assert ours == {name: shape(getattr(second, name).DESCRIPTOR) for name in second.names}
    assert generated.DESCRIPTOR.package == second.package
