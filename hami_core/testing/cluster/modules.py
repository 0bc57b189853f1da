"""The Go modules that the programs are built from: their versions are data, in the folders of ``go/``, with a go.sum each.

``k8s.io/kubernetes`` cannot be installed by name, as it replaces its own modules. So each folder is a small module of ours that
requires one of theirs; ``parts.go`` imports what go.sum has to cover. To take another version of Kubernetes: a folder with
another go.mod, every ``./staging`` line of theirs replaced by the version 0.x.y, and ``go mod tidy``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

NEWEST = "1.37.2"
VERSION = "HAMI_TEST_KUBERNETES"  # the environment's word for the version where none is asked for
FOLDER = Path(__file__).with_name("go")
PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
COMPONENT = "k8s.io/component-base/version"


@frozen
class Module:
    """Programs of one project in one version, built together."""

    name: str
    version: str
    packages: Mapping[str, str] = {}  # program -> the package that is its main
    stamps: tuple[tuple[str, str], ...] = ()  # variables that the linker sets

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"

    @property
    def folder(self) -> Path:
        """go.mod, go.sum and parts.go."""
        return FOLDER / str(self)

    @property
    def go(self) -> tuple[int, int]:
        """The oldest Go that can build it."""
        found = re.search(r"^go (\d+)\.(\d+)", (self.folder / "go.mod").read_text(), re.MULTILINE)
        if not found:
            raise ValueError(f"{self.folder / 'go.mod'} has no line `go X.Y`")
        return int(found[1]), int(found[2])


def kubernetes(version: str) -> Module:
    """Without the stamps its programs call themselves v0.0.0, and clients that look at versions misbehave."""
    major, minor, _ = version.split(".")
    stamps = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    return Module(
        "kubernetes",
        version,
        {part: f"k8s.io/kubernetes/cmd/{part}" for part in PARTS},
        tuple((f"{COMPONENT}.{name}", value) for name, value in stamps.items()),
    )


ETCD = Module("etcd", "3.6.16", {"etcd": "go.etcd.io/etcd/server/v3"})
KWOK = Module("kwok", "0.8.0", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"})


def versions() -> list[str]:
    """Of Kubernetes, those that there is a folder for, the newest last."""
    names = (folder.name.removeprefix("kubernetes-") for folder in FOLDER.glob("kubernetes-*"))
    return sorted(names, key=lambda version: [int(number) for number in version.split(".")])


def meant(version: str) -> str:
    """The version that a word means: ``newest``, ``oldest``, itself; an empty one: what the environment says, or newest."""
    word = version or os.environ.get(VERSION) or "newest"
    return {"newest": NEWEST, "oldest": versions()[0]}.get(word, word)
