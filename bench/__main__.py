"""``python -m bench [NAME...] [SIZE=NUMBER...]``: every bench module of this folder, or those named, in one table.

Sizes are arguments of a module's ``rows``, for who wants others than those of the table.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bench.interleave import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.interleave import Row

NO_BENCH = {"__main__", "interleave"}


def main(words: Sequence[str]) -> None:
    """Run them one after the other, each alone on the machine as far as that goes."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NO_BENCH)
    sizes = dict(word.split("=", 1) for word in words if "=" in word)
    chosen = [word for word in words if "=" not in word] or names
    if unknown := set(chosen) - set(names):
        sys.exit(f"no bench of the name {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    measures: list[Callable[..., Iterable[Row]]] = [import_module(f"bench.{name}").rows for name in chosen]
    numbers = {name: _number(name, text) for name, text in sizes.items()}
    for name, rows in zip(chosen, measures, strict=True):
        if unknown := numbers.keys() - inspect.signature(rows).parameters.keys():
            sys.exit(f"bench {name} has no size of the name {', '.join(sorted(unknown))}")
    print(table([row for rows in measures for row in rows(**numbers)]))


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        sys.exit(f"{name}={text}: a size is a whole number from 1")
    return int(text)


main(sys.argv[1:])
