"""``make cluster``, by its command: what docs/cluster.md shows of it is what it gives, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hami_core
from hami_core.testing.cluster.folders import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(hami_core.__file__).parents[1]
PAGE = (ROOT / "docs/cluster.md").read_text()
COMMAND = [sys.executable, "-m", "hami_core.testing.cluster"]
SECONDS = 60.0

# What differs from run to run, and what stands for it.
VARYING = {
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "UUID",
    r"\w+, \d+ \w+ \d{4} \d\d:\d\d:\d\d [+-]\d{4}": "TIME",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ": "TIME",
    r"kube-api-access-\w{5}": "ACCESS",
    r"hami\.io/term: \S+": "TERM",
    r"node-\d": "NODE",
    r"  \d+s  ": "  AGE  ",
    r"[ \t]+": " ",
    r" \n": "\n",
}


def masked(text: str) -> str:
    for pattern, word in VARYING.items():
        text = re.sub(pattern, word, text)
    return text.strip()


def shown() -> list[tuple[str, str]]:
    """Every command of the page's console blocks, and what it is shown to say."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, said = part.partition("\n")
            found.append((command, said))
    return found


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a shell in which the ``export`` line was typed, while the cluster runs."""
    folder = tmp_path_factory.mktemp("command")
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run([*COMMAND, "--detach"], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (pid,) = re.findall(r"^kill (\d+) ends it", done.stdout, re.MULTILINE)
    (export,) = re.findall(r"^ +export (.*)$", done.stdout, re.MULTILINE)
    exported = dict(word.split("=", 1) for word in export.split())
    yield {**os.environ, **exported, "PATH": exported["PATH"].replace("$PATH", os.environ["PATH"]), "COLUMNS": "200"}
    os.kill(int(pid), signal.SIGTERM)
    end = time.monotonic() + SECONDS
    while Path(f"/proc/{pid}").exists() or list(folder.glob(f"{PREFIX}*")):
        assert time.monotonic() < end, f"{pid} was told to end, and {list(folder.iterdir())} is left"
        time.sleep(0.05)


def said(command: str, shell: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=shell, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return done.stdout + done.stderr


def test_the_page_shows_what_the_commands_say(shell: dict[str, str]) -> None:
    """Some of it comes a moment later: a command is tried again until it says so. None of them changes what it finds done."""
    for command, expected in shown():
        end = time.monotonic() + SECONDS
        while masked(found := said(command, shell)) != masked(expected) and "apply" not in command and time.monotonic() < end:
            time.sleep(0.5)
        assert masked(found) == masked(expected), command


def test_a_wrong_version_ends_with_one_sentence() -> None:
    done = subprocess.run([*COMMAND, "--version", "1.2.3"], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert re.fullmatch(r"Error: Kubernetes 1\.2\.3: there is no module file to build it from; there are .*\n", done.stderr)


def test_a_detached_one_that_cannot_start_says_so_and_fails() -> None:
    done = subprocess.run([*COMMAND, "-d", "--kind", "no-such"], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 1
    assert "no-such" in done.stdout
    assert "ends it" not in done.stdout


def test_ctrl_c_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "--nodes", "0"], env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if "Ctrl-C" in line:
                process.send_signal(signal.SIGINT)

    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []
