"""What NVML's judges print on a simulated machine, bare and under a share, as their users see it:

python -m tests.mock.transcript t4x4

A share of 3000 MiB of the first GPU, and a process that holds all of it; beside it one that holds 500 MiB and is nobody's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import hami_native
from hami_mock import machine
from tests import judges
from tests.mock import monitors
from tests.mock.conftest import Program, environment
from tests.native.harness import Frame, device

MIB = 1 << 20
SMI = (
    (),
    ("-L",),
    ("-q", "-d", "MEMORY,UTILIZATION,ECC,PIDS"),
    ("--query-gpu=index,name,uuid,memory.total,memory.used,utilization.gpu", "--format=csv"),
    ("--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv"),
    ("topo", "-m"),
    ("nvlink", "-s"),
    ("dmon", "-c", "1"),
    ("pmon", "-c", "1"),
)


def commands() -> list[tuple[str, ...]]:
    smi = str(judges.program(judges.SMI, "nvidia-smi"))
    gpustat = (monitors.GPUSTAT[0], "--no-color", "-cp")
    return [*((smi, *arguments) for arguments in SMI), gpustat, monitors.NVITOP, monitors.NVITOP_API]


def show(title: str, command: tuple[str, ...], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    words = " ".join([Path(command[0]).name, *command[1:]]) if len(command[-1]) < 100 else "nvitop's Python API"
    sys.stdout.write(f"\n$ {words}    # {title}, exit status {done.returncode}\n{done.stdout}{done.stderr}")


def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        on = machine.install(name, Path(folder) / "machine")
        stranger = Program(on)
        stranger.start().alloc(500 * MIB)
        share = Frame(on.libraries, Path(folder)).grants(device(name=on.uuids[0], memory=3000 * MIB))
        with share.start(hami_native.probe(), "--hold") as holder:
            assert holder.stdout is not None
            while "one byte more" not in holder.stdout.readline():
                pass
            for command in commands():
                show(f"{name}, bare", command, environment(on))
                show(f"{name}, under a share", command, share.environment())
            holder.communicate("")
        stranger.end()


if __name__ == "__main__":
    main(sys.argv[1])
