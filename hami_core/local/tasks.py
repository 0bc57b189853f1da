"""Work that must not be left half done when somebody cancels it: stopping a process, giving back a holding."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work. To cancel this meanwhile has no effect; so it stands where we are ending already."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    return task.result()


async def together(tasks: Sequence[asyncio.Task[int]]) -> None:
    """Wait for all. Cancelled, or if one raises, it cancels them, once, and returns only when every one has ended."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await ended(tasks)
    for task in tasks:
        task.result()


async def ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel those that still run, and wait until they have stopped."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await to_the_end(asyncio.wait(running))
