"""Images as OCI archives, from a few files or from a whole root file system: layers, and what the runtime has to know."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MEDIA = "application/vnd.oci.image"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@frozen
class Image:
    """An image by its full name: ``localhost/busybox:hami``, ``docker.io/library/ubuntu:18.04``."""

    name: str
    layers: tuple[Path, ...]  # tars, not compressed, the lowest first
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)

    def write(self, archive: Path) -> Path:
        """As a file that ``ctr images import`` and ``docker load`` take."""
        layers = {_digest(path): path for path in self.layers}
        config = _json(self._config(list(layers)))
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": f"{MEDIA}.manifest.v1+json",
                "config": _described("config.v1+json", config),
                "layers": [
                    {"mediaType": f"{MEDIA}.layer.v1.tar", "digest": digest, "size": path.stat().st_size}
                    for digest, path in layers.items()
                ],
            }
        )
        named = {**_described("manifest.v1+json", manifest), "annotations": {"io.containerd.image.name": self.name}}
        with tarfile.open(archive, "w") as tar:
            _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [named]}))
            for content in (config, manifest):
                _add(tar, _blob(_sha(content)), content)
            for digest, path in layers.items():
                tar.add(path, _blob(digest))
        return archive

    def _config(self, layers: list[str]) -> dict[str, Any]:
        return {
            "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine),
            "os": "linux",
            "config": {"Cmd": list(self.command), "Env": list(self.env)},
            "rootfs": {"type": "layers", "diff_ids": layers},
        }


def layer(path: Path, files: Mapping[str, Path], links: Mapping[str, str] | None = None, folders: Iterable[str] = ()) -> Path:
    """A tar of these files (place in the image -> file here), links and empty folders; executable, root's."""
    with tarfile.open(path, "w") as tar:
        for name in folders:
            entry = tarfile.TarInfo(name.strip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name.strip("/") == "tmp" else 0o755
            tar.addfile(entry)
        for name, source in files.items():
            entry = tarfile.TarInfo(name.strip("/"))
            entry.size, entry.mode = source.stat().st_size, 0o755
            with source.open("rb") as content:
                tar.addfile(entry, content)
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name.strip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return path


def busybox(program: Path, folder: Path) -> list[Image]:
    """A shell and its tools in 2 MB, and the image of the pods' own first container, which only waits."""
    folder.mkdir(parents=True, exist_ok=True)
    tools = "sh cat echo env false grep head id ls mkdir mount ps rm sed sleep stat tail test touch tr true wget".split()
    layer_of = layer(
        folder / "busybox-layer.tar",
        {"bin/busybox": program},
        {f"bin/{tool}": "busybox" for tool in tools},
        ("bin", "etc", "tmp", "var", "root"),
    )
    return [
        Image("localhost/busybox:hami", (layer_of,), ("sh",)),
        Image("localhost/pause:hami", (layer_of,), ("/bin/sleep", "infinity")),
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _sha(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _described(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": f"{MEDIA}.{kind}", "digest": _sha(content), "size": len(content)}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
