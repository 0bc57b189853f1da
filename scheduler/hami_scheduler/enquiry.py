"""Asking a running scheduler about one pod: the pod from a file or from the cluster, the answer from the scheduler's own port.

Without a URL the way is the API server's proxy to the scheduler's Service: whoever may reach the cluster needs no other way.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hami_core.errors import ManifestError, UserError
from hami_core.kube.errors import NotFound, Refused, Unavailable

if TYPE_CHECKING:
    from hami_core.kube.connection import Connection

SERVICE = "hami-scheduler"
PORT = "info"
TIMEOUT = 15.0

Document = dict[str, Any]


def of_file(name: str) -> Document:
    """The Pod of a manifest, or the one that its template makes; "-" is standard input. ManifestError: there is none."""
    import yaml

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(name, "", " ".join(str(error).split())) from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ManifestError(name, "", "one manifest is asked about at a time")
    return _pod(name, documents[0])


def _pod(name: str, manifest: Document) -> Document:
    """A pod that something else makes has no name yet: here it is called after its maker, deployment/web."""
    metadata, kind = _metadata(name, manifest, "metadata"), manifest.get("kind")
    if kind == "Pod":
        return manifest
    spec = manifest.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        raise ManifestError(name, "kind", f"{kind} is neither a Pod nor something that makes Pods of spec.template")
    made = {"namespace": metadata.get("namespace", ""), **_metadata(name, template, "spec.template.metadata")}
    if metadata.get("name"):
        made["name"] = f"{str(kind).lower()}/{metadata['name']}"
    return {"metadata": made, "spec": template["spec"]}


def _metadata(name: str, of: Document, where: str) -> Document:
    found = of.get("metadata") or {}
    if not isinstance(found, dict):
        raise ManifestError(name, where, f"{found} is no mapping; give at least name")
    return found


def of_cluster(connection: Connection, namespace: str, name: str) -> Document:
    """A pod that exists. UserError: there is none of this name."""
    try:
        pod: Document = json.loads(connection.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}", timeout=TIMEOUT))
    except NotFound as error:
        raise UserError(f"there is no pod {name} in the namespace {namespace}") from error
    return pod


def ask_service(connection: Connection, namespace: str, pod: Document) -> Document:
    """What the scheduler of this namespace says. UserError: it says that the pod cannot be meant, or is not there."""
    path = f"/api/v1/namespaces/{namespace}/services/{SERVICE}:{PORT}/proxy/explain"
    try:
        return _answer(connection.request("POST", path, json.dumps(pod).encode(), timeout=TIMEOUT))
    except (NotFound, Unavailable) as error:  # without anybody behind a Service the API server says 503
        hint = "is it in another namespace (namespaceOverride), or elsewhere (--scheduler URL)?"
        raise UserError(f"no scheduler answers as {namespace}/{SERVICE}; {hint} {error}") from error
    except Refused as error:
        raise UserError(_sentence(error.message) or str(error)) from error


def ask_url(url: str, pod: Document) -> Document:
    """The same by its own address."""
    if not url.startswith(("http://", "https://")):
        raise UserError(f"the scheduler {url}: give a URL like http://127.0.0.1:9395")
    request = urllib.request.Request(  # noqa: S310  # the scheme was looked at
        f"{url.rstrip('/')}/explain", json.dumps(pod).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
            return _answer(response.read())
    except urllib.error.HTTPError as error:
        raise UserError(_sentence(error.read().decode(errors="replace")) or f"the scheduler {url}: {error}") from error
    except (OSError, HTTPException) as error:
        raise UserError(f"the scheduler {url}: {error}") from error


def _answer(body: bytes) -> Document:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise UserError(f"that is no scheduler of hami: {error}") from error
    if not isinstance(document, dict) or "answer" not in document:
        raise UserError("that is no scheduler of hami: its answer has another form")
    return document


def _sentence(text: str) -> str:
    """What a refusal of the scheduler says; empty: it is somebody else's."""
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    return str(found.get("error") or "") if isinstance(found, dict) else ""
