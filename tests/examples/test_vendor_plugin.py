"""The stranger's vendor: installed as a stranger would, into an environment that has never seen this workspace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "examples" / "vendor-plugin"


def third_party(folder: Path) -> Path:
    """A folder with other people's packages of our own environment: no network is needed, and nothing of ours is in it."""
    folder.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "hami" not in entry.name and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


def wheel(project: Path, into: Path) -> Path:
    """The wheel of a project, built from a copy of it."""
    copy = shutil.copytree(project, into / "source" / project.name, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    return max(into.glob("*.whl"), key=lambda path: path.stat().st_mtime_ns)


class Fresh:
    """A fresh virtual environment with the wheels of hami-core and hami-acme, and a machine with two cards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.cards = folder / "dev"
        self.environment = {
            "PATH": f"{self.bin}{os.pathsep}{os.defpath}",
            "HAMI_STATE_DIR": str(folder / "state"),
            "HAMI_SET": f"acme.cards={self.cards}/acme[0-9]",
            "HOME": str(folder),
        }
        venv.create(folder / "venv", symlinks=True)
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "third-party.pth").write_text(f"{third_party(folder / 'third-party')}\n")
        self.cards.mkdir()
        for name in ("acme0", "acme1"):
            (self.cards / name).touch()

    def install(self, *wheels: Path) -> None:
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
        subprocess.run([*uv, "--python", str(self.bin / "python"), *map(str, wheels)], check=True)

    def run(self, program: str, *arguments: str, fails: bool = False) -> str:
        """What the program says, on both streams. Run outside the workspace: Python looks for modules where it is started."""
        command = [str(self.bin / program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        told = done.stdout + done.stderr
        assert bool(done.returncode) == fails, told
        return told


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    folder = tmp_path_factory.mktemp("fresh")
    environment = Fresh(folder)
    core = folder / "core"
    core.mkdir()
    for part in ("pyproject.toml", "README.md", "LICENSE", "hami_core"):
        source = ROOT / part
        shutil.copytree(source, core / part) if source.is_dir() else shutil.copy(source, core / part)
    environment.install(wheel(core, folder), wheel(VENDOR, folder))
    return environment


def test_nothing_of_this_workspace_is_in_the_fresh_environment(fresh: Fresh) -> None:
    code = "import hami_core, hami_acme; print(hami_core.__file__); print(hami_acme.__file__)"

    assert str(ROOT) not in fresh.run("python", "-c", code)


@pytest.mark.slow
def test_the_contract_suite_passes_there(fresh: Fresh, tmp_path: Path) -> None:
    shutil.copy(VENDOR / "test_acme.py", tmp_path)

    told = fresh.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path))

    assert " passed" in told
    assert "skipped" not in told


def test_the_plugin_is_listed_with_its_kind(fresh: Fresh) -> None:
    told = fresh.run("hami", "plugins")

    assert "hami-acme" in told
    assert "acme" in told


def test_play_gives_a_pod_its_card(fresh: Fresh) -> None:
    assert "card acme0" in fresh.run("hami", "play", str(VENDOR / "pod.yaml"))


def test_play_says_why_three_cards_are_too_many(fresh: Fresh, tmp_path: Path) -> None:
    pod = tmp_path / "pod.yaml"
    pod.write_text((VENDOR / "pod.yaml").read_text().replace("card: 1", "card: 3"))

    told = fresh.run("hami", "play", str(pod), fails=True)

    assert "3 devices asked, there are 2 (acme.example/card)" in told


def test_the_whole_plugin_is_at_most_thirty_lines_of_code() -> None:
    lines = (VENDOR / "hami_acme" / "plugin.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", '"""'))]

    assert 10 <= len(code) <= 30
