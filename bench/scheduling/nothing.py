"""An extender that does nothing: it says yes to the first 16 nodes, and binds by one write. It is not asked to prioritize.

``python -m bench.scheduling.nothing PORT KUBECONFIG``: in a process of its own, by the same server and client as ours.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from hami_core.kube import writes
from hami_core.kube.connection import connect
from hami_core.serving.exchange import Answer, Routes
from hami_core.serving.server import Address, Server, ending
from hami_scheduler import protocol

KEPT, THREADS = 16, 16
LARGEST = 64 << 20  # bytes of a request
MODULE = "bench.scheduling.nothing"


def command(port: int, kubeconfig: Path) -> tuple[str, ...]:
    """What starts it."""
    return sys.executable, "-m", MODULE, str(port), str(kubeconfig)


async def _serve(port: int, kubeconfig: Path) -> None:
    connection, threads = connect(kubeconfig), ThreadPoolExecutor(THREADS)

    async def filtered(body: bytes) -> Answer:
        request = protocol.asked(body)
        return Answer(protocol.kept(request, request.names[:KEPT], {}))

    async def bound(body: bytes) -> Answer:
        one = protocol.binding(body)
        words: dict[str, Any] = {"namespace": one.namespace, "name": one.name, "uid": one.uid, "node": one.node}
        write = partial(writes.bind, connection, **words, annotations={})
        await asyncio.get_running_loop().run_in_executor(threads, write)
        return Answer(msgspec.json.encode({"Error": ""}))

    app = Routes({"/filter": {"POST": filtered}, "/bind": {"POST": bound}}, LARGEST)
    await Server(app, Address("127.0.0.1", port)).start()
    await ending().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
