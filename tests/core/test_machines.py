"""What nodes are made of, without a node: images, what containerd and the kubelet are told, what a machine lacks."""

from __future__ import annotations

import hashlib
import json
import tarfile
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from hami_core.errors import UserError
from hami_core.testing.cluster import cgroups
from hami_core.testing.cluster.machines import configuration, requirements
from hami_core.testing.cluster.machines.images import Image, layer

if TYPE_CHECKING:
    from pathlib import Path

CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    program = tmp_path / "program"
    program.write_bytes(b"#!")
    made = layer(tmp_path / "layer.tar", {"/bin/run": program}, {"bin/go": "run"}, ("tmp",))
    return Image("localhost/x:1", (made,), ("/bin/run", "now")).write(tmp_path / "image.tar")


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {entry.name: file.read() for entry in tar if (file := tar.extractfile(entry))}


def test_an_image_is_found_by_its_name_and_every_blob_is_what_its_digest_says(archive: Path) -> None:
    files = contents(archive)

    (manifest,) = json.loads(files["index.json"])["manifests"]
    assert manifest["annotations"] == {"io.containerd.image.name": "localhost/x:1"}
    blobs = {name: content for name, content in files.items() if name.startswith("blobs/sha256/")}
    assert {hashlib.sha256(content).hexdigest() for content in blobs.values()} == {name.rpartition("/")[2] for name in blobs}


def test_an_image_leads_from_its_name_to_its_command_and_its_files(archive: Path, tmp_path: Path) -> None:
    files = contents(archive)

    def blob(described: dict[str, str]) -> bytes:
        return files["blobs/" + described["digest"].replace(":", "/")]

    manifest = json.loads(blob(json.loads(files["index.json"])["manifests"][0]))
    config = json.loads(blob(manifest["config"]))
    (tmp_path / "found.tar").write_bytes(blob(manifest["layers"][0]))
    assert config["config"]["Cmd"] == ["/bin/run", "now"]
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    with tarfile.open(tmp_path / "found.tar") as tar:
        assert {(entry.name, entry.mode, entry.linkname) for entry in tar} == {
            ("tmp", 0o1777, ""),
            ("bin/run", 0o755, ""),
            ("bin/go", 0o644, "run"),
        }


def test_the_pods_of_two_nodes_share_no_address() -> None:
    ports = range(32768, 61000)  # those that Linux gives to who asks for any
    networks = {json.loads(configuration.cni(port))["plugins"][0]["ipam"]["ranges"][0][0]["subnet"] for port in ports}

    assert len(networks) == len(ports)
    assert all(IPv4Network(network).subnet_of(IPv4Network("100.64.0.0/10")) for network in networks)


def test_what_a_test_wants_of_the_kubelet_stands_over_ours(tmp_path: Path) -> None:
    settings = configuration.kubelet_settings(1, 2, tmp_path, "/group", {"maxPods": 5})

    assert (settings["maxPods"], settings["cgroupRoot"]) == (5, "/group")


# -------------------------------------------------------------------------------------------- what a machine lacks


@pytest.mark.parametrize("named", ["unified", "each"])
def test_a_controller_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    if named == "unified":
        (tmp_path / "cgroup.controllers").write_text("cpu cpuset pids io\n")
    for name in CONTROLLERS if named == "each" else ():
        if name != "memory":
            (tmp_path / name).mkdir()
            (tmp_path / name / "cgroup.procs").touch()

    assert cgroups.lacks() == ["the cgroup controller memory"]


def test_rights_and_programs_that_are_missing_are_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "CAPABILITIES", {"CAP_OF_NOBODY": 63})
    monkeypatch.setattr(cgroups, "lacks", list)
    monkeypatch.setattr("shutil.which", lambda program: None if program == "dpkg" else program)

    with pytest.raises(UserError, match=r"it lacks root's rights \(CAP_OF_NOBODY\), dpkg \(of Debian or Ubuntu\)$"):
        requirements.check()


# ---------------------------------------------------------------------------------------------- control groups


def test_groups_are_made_and_removed_in_every_hierarchy_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
        (tmp_path / name / "another").mkdir()

    cgroups.make("/mine/n1")
    assert all((tmp_path / name / "mine/n1").is_dir() for name in ("cpu", "memory"))

    (tmp_path / "cpu/mine/n1/pod").mkdir()
    cgroups.remove("/mine/n1")
    assert all((tmp_path / name / "mine").exists() for name in ("cpu", "memory"))
    assert not any((tmp_path / name / "mine/n1").exists() for name in ("cpu", "memory"))

    cgroups.remove("mine")
    assert [sorted(entry.name for entry in (tmp_path / name).iterdir()) for name in ("cpu", "memory")] == [
        ["another", "cgroup.procs"],
        ["another", "cgroup.procs"],
    ]
