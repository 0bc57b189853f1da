"""``python -m bench [NAME...]``: every bench module of this folder, or those named, in one table."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from bench.interleave import table

NO_BENCH = {"__main__", "interleave"}


def main() -> None:
    """Run them one after the other, each alone on the machine as far as that goes."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NO_BENCH)
    chosen = sys.argv[1:] or names
    if unknown := set(chosen) - set(names):
        sys.exit(f"no bench of the name {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    print(table([row for name in chosen for row in import_module(f"bench.{name}").rows()]))


main()
