"""Judges on the driver API, unchanged: cuda-bindings, cuda-core and numba-cuda, on a bare simulated machine and under a share.

What they print is the same on both, and is kept: in the folder that HAMI_TRANSCRIPTS names, else in pytest's own.
What cannot run: whatever needs NVIDIA's runtime library, which authenticates the driver (cuda-core's
``Device.pci_bus_id``), and compilers that are not installed here (NVRTC, NVVM: numba's own kernels, cuda-core's
``Program``); kernels are given as PTX.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from hami_mock import machine

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).with_name("programs")
HAMI = Path(sysconfig.get_path("scripts")) / "hami"
SHARE = 3000
EXPECTED = {
    "cuda_core_program": """on Tesla T4 7.5
copied back: [7, 7, 7, 7]
pool: used 5 reserved 32
mapped: 4
managed: host True device True
kernel: 3 arguments, 1024 threads at most
launched: True
graph launched
too much: CUDA_ERROR_OUT_OF_MEMORY
""",
    "numba_program": """on Tesla T4
copied back: True
slices: [10.0, 11.0, 12.0, 13.0]
managed and mapped: 30 40
launched: True
module: 1024 threads at most
memory: True
too much: True
""",
    "cuda_bindings_program": """on Tesla T4
virtual memory: 2 mapped exported True
pool: 32 then 0
shared: from the child
array: True
graph: 4 nodes, 0101
too much: CUDA_ERROR_OUT_OF_MEMORY
""",
}


def keep(tmp_path: Path, name: str, done: subprocess.CompletedProcess[str]) -> str:
    """The program's output without its version, after writing all of it down."""
    folder = Path(os.environ.get("HAMI_TRANSCRIPTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout[done.stdout.index("on Tesla") :]


@pytest.mark.parametrize("program", EXPECTED)
def test_it_runs_on_the_bare_machine(tmp_path: Path, program: str) -> None:
    node = machine.install("t4-node", tmp_path / "t4-node")
    env = {**os.environ, "LD_LIBRARY_PATH": str(node.libraries)}

    done = subprocess.run([sys.executable, PROGRAMS / f"{program}.py"], env=env, capture_output=True, text=True, check=False)

    assert keep(tmp_path, f"{program}-bare", done) == EXPECTED[program]
    device = machine.truth(node.folder).devices[0]
    assert device.physical == 0, "and everything came back"
    assert device.requested_peak > 0


@pytest.mark.parametrize("program", EXPECTED)
def test_it_runs_the_same_under_a_share(tmp_path: Path, program: str) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    env = {**os.environ, "HAMI_STATE_DIR": str(state), "HAMI_MACHINE": "t4-node"}
    words = [str(HAMI), "run", "--gpumem", str(SHARE), "--", sys.executable, str(PROGRAMS / f"{program}.py")]

    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)

    assert keep(tmp_path, f"{program}-under-a-share", done) == EXPECTED[program]
    (folder,) = state.glob("t4-node/driver")
    assert 0 < machine.truth(folder).devices[0].physical_peak <= SHARE << 20
