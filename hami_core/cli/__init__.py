"""The ``hami`` command: words, tables, exit codes. What a command does lives in the packages below; here it is asked and shown.

Exit status: 0 fine; 2 a mistake in the command, a manifest or the settings; 1 anything else that went wrong. ``play`` and
``run`` answer with their workload's own status, and with 125 where hami itself could not run it (as container tools do).
"""

from __future__ import annotations

import sys

from hami_core.cli.app import invoke

__all__ = ["main"]


def main() -> None:
    """The console script."""
    sys.exit(invoke(sys.argv[1:]))
