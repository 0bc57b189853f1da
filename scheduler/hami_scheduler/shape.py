"""The shape of a pod that somebody sends: fields that we read are of the types that Kubernetes gives them.

A pod of another shape comes from no API server. What its words and numbers mean is not looked at here.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

Texts = dict[str, str]


class _Object(Struct, gc=False):
    """What is in it is looked at where it is read."""


class _Meta(Struct, gc=False, rename="camel"):
    uid: str | None = None
    name: str | None = None
    namespace: str | None = None
    resource_version: str | None = None
    labels: Texts | None = None
    annotations: Texts | None = None


class _Resources(Struct, gc=False):
    limits: _Object | None = None
    requests: _Object | None = None


class _Container(Struct, gc=False, rename="camel"):
    name: str | None = None
    env: list[_Object] | None = None
    resources: _Resources | None = None
    restart_policy: str | None = None


class _Spec(Struct, gc=False, rename="camel"):
    node_name: str | None = None
    scheduler_name: str | None = None
    init_containers: list[_Container] | None = None
    containers: list[_Container] | None = None


class _Status(Struct, gc=False):
    phase: str | None = None
    conditions: list[_Object] | None = None


class _Pod(Struct, gc=False):
    metadata: _Meta | None = None
    spec: _Spec | None = None
    status: _Status | None = None


def fault(pod: dict[str, Any]) -> str:
    """What is wrong, and where in the pod; empty: it has the shape of one."""
    try:
        msgspec.convert(pod, _Pod)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
