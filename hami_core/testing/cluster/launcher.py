"""Becomes another program that dies with its parent: ``python launcher.py PARENT HOST INSIDE COMMAND...``.

PARENT is the pid of who started it, 0 if that is in another PID namespace; HOST, if not empty, a host name for this program
alone (a UTS namespace of its own); INSIDE, if not empty, the pid of a process whose mounts, host name and IPC it is to share.
Standard library alone.
"""

import ctypes
import os
import signal
import socket
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWUTS, CLONE_NEWUSER = 0x04000000, 0x10000000

libc = ctypes.CDLL(None, use_errno=True)


def must(status: int, what: str) -> None:
    """Leave, with the reason, if a call of libc failed."""
    if status != 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def main(parent: str, host: str, inside: str, *command: str) -> None:
    """Take what this program is to have, then become it."""
    must(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):  # it died before the line above
        sys.exit(1)
    if inside:
        for descriptor in [os.open(f"/proc/{inside}/ns/{kind}", os.O_RDONLY) for kind in ("uts", "ipc", "mnt")]:
            must(libc.setns(descriptor, 0), f"the namespaces of process {inside}")
            os.close(descriptor)
    if host:
        own_user = 0 if os.geteuid() == 0 else CLONE_NEWUSER  # who is not root may do this in a user namespace only
        must(libc.unshare(CLONE_NEWUTS | own_user), f"a UTS namespace for the host name {host}")
        socket.sethostname(host)
    os.execvp(command[0], command)  # noqa: S606  # a program, no shell


if __name__ == "__main__":
    main(*sys.argv[1:])
