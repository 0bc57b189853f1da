"""Fresh environments: what a stranger has who installed our wheels and has never seen this workspace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ("pyproject.toml", "README.md", "LICENSE", "hami_core")


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


def core_wheel(into: Path) -> Path:
    """That of hami-core, whose project is the root of this repository."""
    core = into / "core"
    core.mkdir()
    for part in CORE:
        source = ROOT / part
        shutil.copytree(source, core / part) if source.is_dir() else shutil.copy(source, core / part)
    return wheel(core, into)


class Fresh:
    """A fresh virtual environment in a folder of its own, with third-party packages and nothing of ours yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.environment = {"PATH": f"{self.bin}{os.pathsep}{os.defpath}", "HOME": str(folder)}
        venv.create(folder / "venv", symlinks=True)
        (self.site,) = (folder / "venv").glob("lib/python*/site-packages")
        (self.site / "third-party.pth").write_text(f"{third_party(folder / 'third-party')}\n")

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
