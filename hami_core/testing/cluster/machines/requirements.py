"""What a machine has to have so that nodes can run on it; each thing that is missing is named, with what it is for."""

from __future__ import annotations

import re
from pathlib import Path

from hami_core.errors import UserError
from hami_core.testing.cluster import cgroups
from hami_core.testing.cluster.machines import packages

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}  # by their bits
NAMESPACES = ("ipc", "mnt", "net", "pid", "uts")


def check() -> None:
    """UserError: all that is missing, in one sentence."""
    if missing := lacks():
        raise UserError(f"nodes cannot run on this machine, it lacks {', '.join(missing)}")


def lacks() -> list[str]:
    """Empty where nodes can run."""
    spaces = [f"{name} namespaces" for name in NAMESPACES if not Path("/proc/self/ns", name).exists()]
    return [*_rights(), *spaces, *cgroups.lacks(), *packages.lacks()]


def _rights() -> list[str]:
    """Root in a container may have less than it seems; who is not root has none of them."""
    found = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    held = int(found[1], 16) if found else 0
    missing = [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]
    return [f"root's rights ({', '.join(missing)})"] if missing else []
