"""Policies that the API server holds by itself, whether or not the webhook runs. Data, as it is applied.

*Guard*: what only hami writes (grants, devices of a node, the label of a prepared pod) nobody else may set, change or remove,
by whatever door: a pod with its subresources, a Binding, whose annotations become the pod's, a node. Of a new pod they are
nobody's: it has no grant yet. An update that changes no annotation is not looked at closely: a kubelet's status costs nothing.

*Fence*: a Binding of the scheduler that grants something names the leadership under which that was granted, which must be the
Lease's: its holder, its transitions, and the word of the extender process that leads beside that holder. A leader that was
deposed and does not know it grants nothing, nor does what a dead process has left on its way. kube-scheduler's own Bindings, of
pods that ask for no share, carry nothing of ours and pass.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hami_core import names
from hami_core.sharing import CoreSettings
from hami_webhook import rules
from hami_webhook.registration import GROUP
from hami_webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings

GUARD, FENCE = "hami-guard", "hami-fence"
BINDINGS = ("pods/binding", "bindings")  # the second is the old way to say the same

_ANNOTATIONS = "object.metadata.?annotations.orValue({})"
_OLD_ANNOTATIONS = "(oldObject == null ? {} : oldObject.metadata.?annotations.orValue({}))"
_LABEL = f"object.metadata.?labels[?{json.dumps(names.PREPARED)}]"
_OLD_LABEL = f"(oldObject == null ? optional.none() : oldObject.metadata.?labels[?{json.dumps(names.PREPARED)}])"
_NEW_POD = 'request.operation == "CREATE" && request.resource.resource == "pods" && request.?subResource.orValue("") == ""'


def policies(catalogue: Catalogue, settings: Settings) -> tuple[Mapping[str, Any], ...]:
    """The policies and their bindings, in the order in which they are applied."""
    core = settings[CoreSettings]
    users = trusted(settings)
    lease = {"name": core.scheduler_name, "namespace": core.namespace, "parameterNotFoundAction": "Deny"}  # kube-scheduler's
    return (
        guard(catalogue, users),
        _bound(GUARD),
        fence(catalogue, users),
        _bound(FENCE, lease),
    )


def trusted(settings: Settings) -> tuple[str, ...]:
    """Users that may write what only hami writes."""
    namespace = settings[CoreSettings].namespace
    ours = (names.user(namespace, account) for account in (names.SCHEDULER, names.ADMISSION, names.NODE_AGENT))
    return (*ours, *settings[WebhookSettings].trusted_users)


def guard(catalogue: Catalogue, users: Sequence[str]) -> dict[str, Any]:
    """Who may write what only hami writes."""
    is_ours, may = _is_ours(catalogue), f"; {', '.join(users)} may"
    is_as_before = "key in variables.old && variables.old[key] == variables.new[key]"
    variables = {
        "new": _ANNOTATIONS,
        "old": _OLD_ANNOTATIONS,
        "isNewPod": _NEW_POD,
        "mayWrite": f"!variables.isNewPod && request.userInfo.username in {_texts(users)}",
        "set": f"variables.new.filter(key, ({is_ours}) && !({is_as_before}))",
        "removed": f"variables.old.filter(key, ({is_ours}) && !(key in variables.new))",
        "labels": f"variables.isNewPod || {_LABEL} == {_OLD_LABEL} ? [] : [{json.dumps(names.PREPARED)}]",
        "touched": "variables.set + variables.removed + variables.labels",
    }
    return _policy(
        GUARD,
        matched=_matched(("CREATE", "UPDATE"), ("pods", "pods/*", "nodes", "nodes/*", "bindings")),
        conditions={"changes": f"oldObject == null || {_ANNOTATIONS} != {_OLD_ANNOTATIONS} || {_LABEL} != {_OLD_LABEL}"},
        variables=variables,
        expression="variables.mayWrite || variables.touched.size() == 0",
        message=(
            f"variables.touched.join(', ') + (variables.isNewPod ? {json.dumps(_NOBODY)} : {json.dumps(_OTHERS)}"
            f" + request.userInfo.username + {json.dumps(may)})"
        ),
    )


_NOBODY = ": written by hami when a pod is granted its share, so a new pod has none; remove it from the manifest"
_OTHERS = ": written by hami alone, not by "


def fence(catalogue: Catalogue, users: Sequence[str]) -> dict[str, Any]:
    """Only the leader grants."""
    variables = {
        "said": f"object.metadata.?annotations[?{json.dumps(names.TERM)}].orValue('')",
        "holder": "params.spec.?holderIdentity.orValue('')",
        "word": f"params.metadata.?annotations[?{json.dumps(names.EXTENDER)}].orValue('')",
        "term": (
            "variables.holder == '' || variables.word == '' ? ''"
            " : variables.holder + '/' + string(params.spec.?leaseTransitions.orValue(0)) + '/' + variables.word"
        ),
    }
    policy = _policy(
        FENCE,
        matched=_matched(("CREATE",), BINDINGS),
        conditions={
            "ours": f"request.userInfo.username in {_texts(users)}",
            "grants": f"{_ANNOTATIONS}.exists(key, {_is_ours(catalogue)})",
        },
        variables=variables,
        expression="variables.term != '' && variables.said == variables.term",
        message=(
            f"'{names.TERM}: ' + (variables.said == '' ? 'missing' : variables.said) + ': the scheduler that leads is '"
            " + (variables.term == '' ? 'nobody' : variables.term) + ', and only it binds'"
        ),
    )
    policy["spec"]["paramKind"] = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return policy


def _policy(
    name: str,
    *,
    matched: Mapping[str, Any],
    conditions: Mapping[str, str],
    variables: Mapping[str, str],
    expression: str,
    message: str,
) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": matched,
            "matchConditions": _named(conditions),
            "variables": _named(variables),
            "validations": [{"expression": expression, "messageExpression": message, "reason": "Forbidden"}],
        },
    }


def _bound(policy: str, parameter: Mapping[str, str] | None = None) -> dict[str, Any]:
    """It holds everywhere."""
    return {
        "apiVersion": GROUP,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy},
        "spec": {
            "policyName": policy,
            "validationActions": ["Deny"],
            **({"paramRef": parameter} if parameter else {}),
        },
    }


def _matched(operations: Sequence[str], resources: Sequence[str]) -> Mapping[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": list(operations), "resources": list(resources)}
    return {"matchPolicy": "Equivalent", "resourceRules": [rule]}


def _named(expressions: Mapping[str, str]) -> list[Mapping[str, str]]:
    return [{"name": name, "expression": expression} for name, expression in expressions.items()]


def _is_ours(catalogue: Catalogue) -> str:
    prefixes = (*rules.ANNOTATION_PREFIXES, *(names.visible_key(kind.name, "") for kind in catalogue.kinds))
    return " || ".join((f"key in {_texts(rules.ANNOTATIONS)}", *(f"key.startsWith({json.dumps(one)})" for one in prefixes)))


def _texts(values: Iterable[str]) -> str:
    return json.dumps(list(values))  # a list of JSON texts is one in CEL, too
