"""The way to the API server: where it is, who we are, and requests over a pool of connections that are kept.

The official client finds the configuration and applies the credentials to each request by its own hooks, so exec plugins and
tokens that are renewed work as they do for it. Answers are raw bytes. Nothing is tried twice and no redirect is followed: what
may be done again is known only to the caller.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from hami_core.errors import UserError
from hami_core.kube.answers import no_answer, refusal
from hami_core.kube.errors import Unauthorized, Unavailable
from hami_core.kube.transport import POOLS, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from urllib3 import BaseHTTPResponse, HTTPConnectionPool, PoolManager

    from hami_core.kube.errors import KubeError

log: Final = logging.getLogger(__name__)

POOL: Final = 32  # connections kept for the next request: more than any thread pool of ours has threads
CONNECTING: Final = 5.0  # seconds to connect, handshake included; also how long a thread in it does not hear that it is to stop
PIECE: Final = 1 << 20  # bytes of a body read at once
RENEWAL: Final = 5.0  # seconds between two attempts to find better credentials than those that were refused
NOWHERE: Final[Mapping[str, str]] = {}
FAILURES: Final = (HTTPError, HTTPException, OSError, ValueError)  # urllib3's, and what it lets through


class Connection:
    """Requests to one API server as one user. Any thread may use it."""

    def __init__(self, load: Callable[[], Any]) -> None:
        """``load`` gives the official client with its configuration; again when the credentials are refused."""
        self._load = load
        self._lock = threading.Lock()  # the client's hooks change its configuration, and an exec plugin is to run once
        self._way: tuple[PoolManager | HTTPConnectionPool, str] | None = None
        self._client = self._loaded()
        self._renewal = 0.0
        self._refused = False

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        query: Mapping[str, str] = NOWHERE,
        content_type: str = "application/json",
        timeout: float = 10.0,
    ) -> bytes:
        """The body of a 2xx answer, the whole of which must be there within ``timeout`` seconds. Raises KubeError."""
        headers = {"Content-Type": content_type} if body is not None else {}
        try:
            response = self._send(method, path, body, query, headers, _within(timeout))
            answer = _read(response)
        except FAILURES as error:
            raise no_answer(method, error) from error
        if not 200 <= response.status < 300:
            raise self._refusal(method, response, answer)
        return answer

    def stream(self, path: str, query: Mapping[str, str], timeout: float) -> Iterator[bytes]:
        """The body of a GET in pieces, each all that has arrived; b"" every quarter of a second in which nothing does.

        ``timeout``: seconds until the first and between any two bytes. Ends when the server ends it properly. Raises KubeError.
        """
        try:
            response = self._send("GET", path, None, query, {}, _within(timeout))
            if not 200 <= response.status < 300:
                raise self._refusal("GET", response, _read(response))
            try:
                yield from _answer(response).arriving(timeout)
            finally:
                response.close()
                response.release_conn()
        except FAILURES as error:
            raise no_answer("GET", error) from error

    def close(self) -> None:
        """Close the connections that are kept. A later request opens new ones."""
        with self._lock:
            self._way = None
            self._client.rest_client.close()

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        query: Mapping[str, str],
        headers: dict[str, str],
        timeout: Timeout,
    ) -> BaseHTTPResponse:
        pool, prefix, credentials = self._authenticated(method, path)
        return pool.urlopen(
            method,
            f"{prefix}{path}?{urlencode(query)}" if query else f"{prefix}{path}",
            body=body,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": _agent(),
                **headers,
                **credentials,
            },
            timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
        )

    def _authenticated(self, method: str, path: str) -> tuple[PoolManager | HTTPConnectionPool, str, dict[str, str]]:
        headers: dict[str, str] = {}
        with self._lock:
            if self._refused and time.monotonic() >= self._renewal:
                self._renew()
            client = self._client
            try:
                client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
            except Exception as error:  # whatever a plugin or a token's file may bring about; nothing has been sent
                raise Unavailable(f"no credentials: {error}") from error
            if self._way is None:
                self._way = _way(client)
            pool, prefix = self._way
        return pool, prefix, headers

    def _renew(self) -> None:
        """Find the credentials again: a file has new ones, or a plugin. Old connections end with their requests."""
        self._renewal, self._refused = time.monotonic() + RENEWAL, False
        try:
            old, self._client = self._client, self._loaded()
        except UserError as error:
            log.warning("the refused credentials stay: %s", error)
        else:
            old.rest_client.close()

    def _loaded(self) -> Any:
        client = self._load()
        client.rest_client.pool_manager.pool_classes_by_scheme = POOLS
        self._way = None
        return client

    def _refusal(self, method: str, response: BaseHTTPResponse, answer: bytes) -> KubeError:
        error = refusal(method, response.status, response.reason or "", answer, response.headers)
        self._refused = self._refused or isinstance(error, Unauthorized)
        return error


def _way(client: Any) -> tuple[PoolManager | HTTPConnectionPool, str]:
    """Who sends, and what it wants before a path. The manager looks for the pool of each URL, and there is but one host.

    A proxy may have to be given whole URLs: that is the manager's to know.
    """
    manager: PoolManager = client.rest_client.pool_manager
    host: str = client.configuration.host
    if manager.proxy is not None:
        return manager, host
    return manager.connection_from_url(host), urlsplit(host).path.rstrip("/")


def connect(kubeconfig: Path | None = None, context: str | None = None) -> Connection:
    """The API server that a file names (given, or by KUBECONFIG, or ~/.kube/config), else the one whose pod this is.

    Nothing is sent yet. UserError: there is no configuration, or it cannot be used.
    """
    return Connection(lambda: _configured(_files(kubeconfig), context))


def namespace(kubeconfig: Path | None = None, context: str | None = None) -> str:
    """The namespace that a kubeconfig's context names for what is asked without one; "default" where none does."""
    files = _files(kubeconfig)
    if not files:
        return "default"
    import yaml
    from kubernetes import config

    try:
        contexts, active = config.list_kube_config_contexts(files)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise UserError(_unusable(files, error)) from error
    chosen = next((one for one in contexts if one["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")


def _files(kubeconfig: Path | None) -> str:
    """Files as KUBECONFIG has them, or "": there are none."""
    if kubeconfig is not None:
        return str(kubeconfig)
    usual = Path.home() / ".kube" / "config"
    return os.environ.get("KUBECONFIG") or (str(usual) if usual.is_file() else "")


def _configured(files: str, context: str | None) -> Any:
    import yaml
    from kubernetes import client, config

    configuration = client.Configuration()
    configuration.connection_pool_maxsize = POOL
    configuration.keep_alive = True  # a peer that vanished without a word is noticed by the kernel
    try:
        if files:
            config.load_kube_config(files, context, configuration)  # type: ignore[no-untyped-call]
        else:
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        return client.ApiClient(configuration)
    except (config.ConfigException, OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise UserError(_unusable(files, error)) from error


def _unusable(files: str, error: Exception) -> str:
    why = " ".join(str(error).split()) or type(error).__name__
    if files:
        return f"kubeconfig {files}: {why}"
    return f"no API server: there is no kubeconfig (give one, or set KUBECONFIG), and this is no pod of a cluster ({why})"


def _within(seconds: float) -> Timeout:
    return Timeout(total=seconds, connect=min(CONNECTING, seconds))


def _answer(response: BaseHTTPResponse) -> Answer:
    answer = response._original_response  # type: ignore[attr-defined]
    assert isinstance(answer, Answer)
    return answer


def _read(response: BaseHTTPResponse) -> bytes:
    pieces = []
    while piece := response.read1(PIECE):
        pieces.append(piece)
    response.release_conn()
    return b"".join(pieces)


_AGENT: list[str] = []


def _agent() -> str:
    """Who asks, in the API server's logs; read once, since finding a distribution takes a millisecond."""
    if not _AGENT:
        _AGENT.append(f"hami/{version('hami-core')}")
    return _AGENT[0]
