"""The generated messages are those of the .proto files that stand beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hami_core

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
