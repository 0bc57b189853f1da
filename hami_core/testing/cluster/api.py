"""Raw requests to the API server over connections that stay open: for thousands of objects, where kubectl takes minutes.

Not by ``hami_core.kube``: what tests set up and look at does not depend on what they judge.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3

from hami_core.errors import HamiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
CONNECTIONS = 8
SECONDS = 60.0


class ApiRefused(HamiError):
    """An answer of 400 or more."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status, self.text = status, text

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"


class Api:
    """One user's way to the API server; may be used by several threads at once."""

    def __init__(self, url: str, ca: Path, certificate: Path, key: Path) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(
            maxsize=CONNECTIONS,
            block=True,
            ca_certs=str(ca),
            cert_file=str(certificate),
            key_file=str(key),
            retries=False,
            timeout=SECONDS,
        )

    def send(self, method: str, path: str, body: bytes | None = None, content_type: str = JSON) -> bytes:
        """The answer's bytes. ApiRefused."""
        answer = self._pool.request(method, self._url + path, body=body, headers={"Content-Type": content_type})
        if answer.status >= 400:
            raise ApiRefused(answer.status, answer.data.decode(errors="replace"))
        return answer.data

    def get(self, path: str, **query: str) -> Any:
        """An object or a list, decoded."""
        return json.loads(self.send("GET", f"{path}?{urlencode(query)}" if query else path))

    def create(self, path: str, document: Mapping[str, Any]) -> Any:
        """The object as it was stored. ``path`` is its collection's."""
        return json.loads(self.send("POST", path, json.dumps(document).encode()))

    def merge(self, path: str, patch: Mapping[str, Any]) -> Any:
        """The object after a merge patch."""
        return json.loads(self.send("PATCH", path, json.dumps(patch).encode(), MERGE))

    def delete(self, path: str, **query: str) -> None:
        """Delete an object, or all of a collection."""
        self.send("DELETE", f"{path}?{urlencode(query)}" if query else path)

    def each(self, do: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """``do`` for every item, as many at a time as there are connections; the first error ends it."""
        with ThreadPoolExecutor(CONNECTIONS) as several:
            return list(several.map(do, items))
