"""The scheduler's process without a cluster: all that ``hami scheduler serve`` starts; the API server is gone."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hami_core import plugins
from hami_core.kube.errors import Unavailable
from hami_core.settings import resolve
from hami_scheduler import auth
from hami_scheduler.config import kube_scheduler
from hami_scheduler.daemon import Running, Scheduler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

    from hami_core.kube.connection import Connection
    from hami_core.settings import Settings

HAMI = str(Path(sys.executable).with_name("hami"))
HERE = {"scheduler.extender.bindAddress": "127.0.0.1:0", "scheduler.metricsBindAddress": "127.0.0.1:0"}


class Gone:
    """An API server that nobody reaches."""

    def request(self, *_: Any, **__: Any) -> bytes:
        raise Unavailable("gone")

    stream = request


def decided(values: Mapping[str, object]) -> Settings:
    """Settings of every plugin that is installed."""
    return resolve(plugins.settings_classes(plugins.load(block="")), [("test", values)])


def configuration(values: Mapping[str, object]) -> dict[str, Any]:
    """kube-scheduler's, under these settings."""
    found = decided(values)
    return kube_scheduler(plugins.catalogue(plugins.load(block=""), found), found)


@asynccontextmanager
async def running(values: Mapping[str, object]) -> AsyncIterator[Running]:
    """All parts, listening."""
    loaded, found = plugins.load(block=""), decided({**HERE, **values})
    scheduler = Scheduler(loaded.hook, plugins.catalogue(loaded, found), found, cast("Connection", Gone()))
    with ThreadPoolExecutor(2) as writing, ThreadPoolExecutor(1) as noticing:
        made = Running(scheduler, auth.access(scheduler.own), writing, noticing, asyncio.Event())
        await made.start()
        yield made
        await made.stop()


def at(values: Mapping[str, object], act: Callable[[Running], Coroutine[Any, Any, Any]]) -> Any:
    """What ``act`` gives, while all parts listen."""

    async def acting() -> Any:
        async with running(values) as made:
            return await act(made)

    return asyncio.run(acting())


KUBECONFIG = """
clusters: [{name: gone, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: nobody, user: {}}]
contexts: [{name: gone, context: {cluster: gone, user: nobody}}]
current-context: gone
"""


@contextmanager
def serving(values: Mapping[str, object], log: Path) -> Iterator[Callable[[], str]]:
    """The command itself, until its port answers. Gives what it has logged so far."""
    config = log.with_suffix(".kubeconfig")
    config.write_text(KUBECONFIG)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sets = {**HERE, "scheduler.metricsBindAddress": f"127.0.0.1:{port}", **values}
    command = [HAMI, *(word for path, value in sets.items() for word in ("--set", f"{path}={value}")), "scheduler", "serve"]
    with log.open("w") as errors:
        process = subprocess.Popen([*command, "--kubeconfig", str(config)], stderr=errors)
    try:
        _wait(port)
        yield log.read_text
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nobody listens")
