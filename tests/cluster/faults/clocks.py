"""Runs ``hami`` under a wall clock that is wrong by as many seconds as a file says at the moment; the monotonic one is right.

python clocks.py FILE scheduler serve ...
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from pathlib import Path
from typing import Any


def wrong(file: Path) -> None:
    """Everything in this process that asks for the time of day gets a wrong one."""
    right = time.time

    def offset() -> float:
        try:
            return float(file.read_text() or 0)
        except OSError:
            return 0.0

    class Wrong(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(time.time(), tz)

    time.time = lambda: right() + offset()
    time.time_ns = lambda: int(time.time() * 1e9)
    dt.datetime = Wrong  # type: ignore[misc]


if __name__ == "__main__":
    wrong(Path(sys.argv[1]))
    sys.argv[1:2] = []
    from hami_core.cli import main

    main()
