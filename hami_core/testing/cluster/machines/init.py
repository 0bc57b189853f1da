"""The first process of a machine: ``python init.py PLAN``. Makes its root file system, then reaps until it is killed.

PLAN is a JSON file, written by ``machine.py``. This is process 1 of a PID namespace that is there already: when it dies, the
kernel kills everything in it, and with the last of them all that was mounted here is gone. Standard library alone.
"""

import ctypes
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
READ_ONLY, REMOUNT, BIND, REC, UNBINDABLE, PRIVATE, SHARED = 0x1, 0x20, 0x1000, 0x4000, 1 << 17, 1 << 18, 1 << 20
MNT_DETACH = 2
NODES = ("full", "fuse", "kmsg", "null", "random", "tty", "urandom", "zero")  # of the machine that is here
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}

libc = ctypes.CDLL(None, use_errno=True)


def must(status: int, what: str) -> None:
    """Leave, with the reason, if a call of libc failed."""
    if status != 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    arguments = (source.encode(), str(target).encode(), kind.encode() or None, flags, data.encode() or None)
    must(libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[4]), f"mount {kind or source} on {target}")


def main(path: str) -> None:
    """Become the machine that the plan tells of."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    plan = json.loads(Path(path).read_text())
    must(libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC), "namespaces for a machine")
    mount("none", Path("/"), flags=REC | PRIVATE)
    root = Path(plan["root"])
    mount("root", root, "tmpfs", data="mode=755")
    mount("none", root, flags=UNBINDABLE)  # or the bind mount of the folder that it lies in would hold it again
    fill(root, plan["overlays"])
    devices(root / "dev", plan["devices"])
    for source, target in plan["binds"]:
        if Path(source).is_dir():
            (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        mount(source, root / target.lstrip("/"), flags=BIND)
    enter(root)
    mount("none", Path("/"), flags=REC | SHARED)  # as systemd leaves it: what is mounted in /var/lib/kubelet reaches containers
    socket.sethostname(plan["hostname"])
    Path(plan["ready"]).touch()
    reap()


def fill(root: Path, overlays: dict[str, dict[str, str]]) -> None:
    """Every entry of the root that is here: some under a layer of the machine's, /proc and /run new, the others as they are."""
    for entry in sorted(Path("/").iterdir()):
        target = root / entry.name
        if entry.is_symlink():
            target.symlink_to(entry.readlink())
        elif entry.is_dir():
            target.mkdir()
            if entry.name in overlays:
                mount(
                    "overlay", target, "overlay", data=",".join(f"{key}={value}" for key, value in overlays[entry.name].items())
                )
            elif entry.name == "proc":
                mount("proc", target, "proc")
                mount(str(target / "sys"), target / "sys", flags=BIND)
                mount("none", target / "sys", flags=REMOUNT | BIND | READ_ONLY)  # the kernel is everybody's
            elif entry.name == "run":
                mount("run", target, "tmpfs", data="mode=755")
                (target / "lock").mkdir()
            elif entry.name != "dev":
                mount(str(entry), target, flags=BIND | REC)


def devices(folder: Path, own: dict[str, str]) -> None:
    """A /dev with what every program expects, and the machine's own nodes: each a copy of one that is here."""
    mount("dev", folder, "tmpfs", data="mode=755")
    os.umask(0)
    copies = {name: f"/dev/{name}" for name in NODES if Path("/dev", name).exists()} | own
    for name, source in copies.items():
        found = os.stat(source)  # noqa: PTH116  # this file uses what is plainest
        node = folder / name
        node.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(node, stat.S_IFMT(found.st_mode) | 0o666, found.st_rdev)
    for name, to in LINKS.items():
        (folder / name).symlink_to(to)
    os.umask(0o022)
    (folder / "pts").mkdir()
    mount("devpts", folder / "pts", "devpts", data="newinstance,ptmxmode=0666,mode=620")
    (folder / "shm").mkdir()
    mount("shm", folder / "shm", "tmpfs")


def enter(root: Path) -> None:
    """Make it the root, and let go of the one before."""
    os.chdir(root)
    must(libc.pivot_root(b".", b"."), f"pivot_root to {root}")
    must(libc.umount2(b".", MNT_DETACH), "umount of the root before")
    os.chdir("/")


def reap() -> None:
    """For ever. What is started here and loses its parent is ours."""
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        signal.sigwait({signal.SIGCHLD})


if __name__ == "__main__":
    main(*sys.argv[1:])
