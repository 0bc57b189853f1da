"""Ports of a control plane: free when they are taken, and its own until it ends, whether or not a part listens.

A socket that is bound and does not listen keeps everybody else off the port: the kernel gives it neither to who asks for any
port nor to an outgoing connection. Go, asyncio and uvicorn listen with SO_REUSEADDR, which lets them past it, as it has the
option too. So a part that is killed comes back on its port, and two control planes never meet.
"""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


class Ports:
    """Ports by name, reserved on first use."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}

    def __getitem__(self, name: str) -> int:
        if name not in self._held:
            self._held[name] = _reserved()
        port: int = self._held[name].getsockname()[1]
        return port

    def release(self) -> None:
        """Give all of them back."""
        for held in self._held.values():
            held.close()
        self._held.clear()


def _reserved() -> socket.socket:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.bind((LOOPBACK, 0))  # without the option, or the kernel could give one port to two who both have it
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return held
