"""Requests that are read wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from attrs import evolve

from hami_core import requests
from hami_core.errors import UserError
from hami_core.model import Policy
from tests.core.contract.plugins import Case, a_plugin
from tests.core.fleet import ACME

if TYPE_CHECKING:
    from collections.abc import Callable


def own_parse(answer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda kind, pod: answer(pod) if kind.name == "acme" else None


def parsed(pod: Any) -> Any:
    return requests.parse(ACME, pod, Policy())


def changes_the_pod(pod: Any) -> Any:
    pod["seen"] = True
    return parsed(pod)


def raises_a_value_error(pod: Any) -> Any:
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    return parsed(pod) if int(limits.get("acme.example/card", 0)) else ()


def raises_a_user_error(pod: Any) -> NoReturn:
    raise UserError("no")


def _asking() -> dict[str, Any]:
    return {"name": "main", "resources": {"limits": {"acme.example/card": 1}}}


CASES: dict[str, Case] = {
    "requests from nowhere": (
        "test_a_pod_that_names_none_of_its_resources_asks_nothing",
        a_plugin(hami_parse=own_parse(lambda pod: parsed({"spec": {"containers": [_asking()]}}))),
        "hami_parse finds a request for acme in a pod that names none of its resources",
    ),
    "deaf": (
        "test_a_pod_that_names_its_count_asks_for_as_many",
        a_plugin(hami_parse=own_parse(lambda pod: ())),
        "hami_parse reads acme.example/card: 2 as []",
    ),
    "parse changes the pod": (
        "test_parsing_is_pure_and_refuses_garbage_with_a_validation_error",
        a_plugin(hami_parse=own_parse(changes_the_pod)),
        "hami_parse changes the pod",
    ),
    "parse raises anything": (
        "test_parsing_is_pure_and_refuses_garbage_with_a_validation_error",
        a_plugin(hami_parse=own_parse(raises_a_value_error)),
        "hami_parse raised",
    ),
    "parse raises another error of ours": (
        "test_parsing_is_pure_and_refuses_garbage_with_a_validation_error",
        a_plugin(hami_parse=own_parse(raises_a_user_error)),
        "with a ValidationError, not UserError('no')",
    ),
    "parse speaks for others": (
        "test_parsing_is_pure_and_refuses_garbage_with_a_validation_error",
        a_plugin(hami_parse=own_parse(lambda pod: [evolve(one, container="other") for one in parsed(pod)])),
        "hami_parse speaks for a container or kind that is not in the pod",
    ),
}
