"""What only hami writes nobody else writes, by any door of a real API server; and only the scheduler that leads binds."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from hami_core import names
from hami_core.testing.cluster.api import APPLY, ApiRefused
from hami_core.testing.cluster.control_plane import KubectlFailed
from hami_core.testing.cluster.nodes import NODES
from tests.cluster.admitting import (
    EDITOR,
    LEASE,
    NODE_AGENT,
    OURS,
    SCHEDULER,
    binding,
    installed,
    lease,
    message,
    pod,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.api import Api

HOLDER, WORD, TERM = "here_1", "a1", "here_1/7/a1"
GRANT, VISIBLE = names.grant_key("main"), names.visible_key("nvidia", "main")
PODS = "/api/v1/namespaces/team/pods"
NODE = "node-1"
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """With a Lease, a node, and policies that are in force."""
    with installed() as plane:
        begin(plane)
        yield plane


def begin(plane: ControlPlane) -> None:
    plane.make_namespace("team")
    plane.apply(lease(HOLDER, 7, WORD))
    plane.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    editor, scheduler = plane.api(EDITOR), plane.api(SCHEDULER)
    wait_for(lambda: refused(editor, new(annotations={GRANT: "all"})), "guarded")
    editor.create(PODS, pod("first", schedulerName="ours"))
    wait_for(lambda: refused_binding(scheduler, "first", {names.TERM: "nobody/0"}), "fenced")


def new(**more: Any) -> dict[str, Any]:
    return pod(f"pod-{next(_NUMBERS)}", schedulerName="ours", **more)


def refused(api: Api, manifest: Mapping[str, Any]) -> str:
    """Why a new pod is refused, or ""."""
    try:
        api.create(f"{PODS}?dryRun=All", manifest)
    except ApiRefused as error:
        return message(error.text)
    return ""


def refused_binding(api: Api, name: str, annotations: Mapping[str, str], labels: Mapping[str, str] | None = None) -> str:
    try:
        api.create(f"{PODS}/{name}/binding?dryRun=All", binding(name, NODE, annotations, labels or {}))
    except ApiRefused as error:
        return message(error.text)
    return ""


def granted(plane: ControlPlane) -> str:
    """The name of a pod as it is after admission and the scheduler."""
    manifest = new(labels={names.PREPARED: "true"})
    name: str = plane.api(EDITOR).create(PODS, manifest)["metadata"]["name"]
    grant = {names.TERM: TERM, GRANT: "hami-limits 1\nend\n", VISIBLE: "GPU-1"}
    plane.api(SCHEDULER).create(f"{PODS}/{name}/binding", binding(name, NODE, grant))
    stored = plane.api().get(f"{PODS}/{name}")
    assert stored["metadata"]["annotations"] == grant
    assert stored["spec"]["nodeName"] == NODE
    return name


def written(
    *, annotations: Mapping[str, str | None] | None = None, labels: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    return {"metadata": {"annotations": annotations or {}, "labels": labels or {}}}


MORE: Mapping[str, dict[str, Any]] = {
    "raises his limit": written(annotations={GRANT: "hami-limits 1\ndevice GPU-2 memory=1\nend\n"}),
    "sees another device": written(annotations={VISIBLE: "all"}),
    "has a device of another kind": written(annotations={names.visible_key("mock", "main"): "0"}),
    "removes his grant": written(annotations={GRANT: None}),
    "adds a grant": written(annotations={names.grant_key("other"): "x"}),
    "says another term": written(annotations={names.TERM: "here_1/8/a1"}),
    "says why he waits": written(annotations={names.WAITING: "no"}),
    "removes the label": written(labels={names.PREPARED: None}),
    "changes the label": written(labels={names.PREPARED: "false"}),
}


@pytest.mark.parametrize("change", MORE.values(), ids=MORE)
@pytest.mark.parametrize("door", ["", "/status", "/ephemeralcontainers"])
def test_a_user_with_all_rights_on_pods_changes_no_grant_by_a_patch(
    plane: ControlPlane, door: str, change: dict[str, Any]
) -> None:
    name = granted(plane)
    before = plane.api().get(f"{PODS}/{name}")["metadata"]

    try:
        plane.api(EDITOR).merge(f"{PODS}/{name}{door}", change)
    except ApiRefused as error:
        assert error.status == 403
        assert f"written by hami alone, not by {EDITOR}; {SCHEDULER}, " in message(error.text)

    after = plane.api().get(f"{PODS}/{name}")["metadata"]
    assert [after.get(key) for key in ("annotations", "labels")] == [before[key] for key in ("annotations", "labels")]


def test_nor_by_a_resize(plane: ControlPlane) -> None:
    """Of a pod that is not bound yet: for another the API server wants to see a kubelet first that can resize it."""
    api = plane.api(EDITOR)
    name = api.create(PODS, new())["metadata"]["name"]

    api.merge(f"{PODS}/{name}/resize", written(annotations={"team": "blue"}))

    for change in (written(annotations={GRANT: "all"}), written(labels={names.PREPARED: "true"})):
        try:
            api.merge(f"{PODS}/{name}/resize", change)
        except ApiRefused as error:
            assert "written by hami alone, not by alice" in message(error.text)
        stored = api.get(f"{PODS}/{name}")["metadata"]
        assert GRANT not in stored.get("annotations", {})
        assert names.PREPARED not in stored.get("labels", {})


@pytest.mark.parametrize("how", ["replace", "apply", "kubectl annotate", "kubectl label", "kubectl patch", "status apply"])
def test_nor_by_another_way_of_writing(plane: ControlPlane, how: str) -> None:
    name = granted(plane)
    api, path = plane.api(EDITOR), f"{PODS}/{name}"
    changed = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": {GRANT: "all"}}}

    def replace() -> None:
        whole = api.get(path)
        whole["metadata"]["annotations"][GRANT] = "all"
        api.send("PUT", path, json.dumps(whole).encode())

    ways: dict[str, Callable[[], object]] = {
        "replace": replace,
        "apply": lambda: api.send("PATCH", f"{path}?fieldManager=alice&force=true", json.dumps(changed).encode(), APPLY),
        "status apply": lambda: api.send(
            "PATCH", f"{path}/status?fieldManager=alice&force=true", json.dumps(changed).encode(), APPLY
        ),
        "kubectl annotate": lambda: plane.kubectl(
            "annotate", "-n=team", "--overwrite", "pod", name, f"{GRANT}=all", user=EDITOR
        ),
        "kubectl label": lambda: plane.kubectl("label", "-n=team", "pod", name, f"{names.PREPARED}-", user=EDITOR),
        "kubectl patch": lambda: plane.kubectl(
            "patch",
            "-n=team",
            "pod",
            name,
            "--type=json",
            '-p=[{"op": "remove", "path": "/metadata/annotations"}]',
            user=EDITOR,
        ),
    }
    with pytest.raises((ApiRefused, KubectlFailed), match="written by hami alone, not by alice"):
        ways[how]()


def test_other_keys_of_a_granted_pod_are_anybodys(plane: ControlPlane) -> None:
    name = granted(plane)

    plane.kubectl("annotate", "-n=team", "pod", name, "team=blue", user=EDITOR)
    plane.kubectl("label", "-n=team", "pod", name, "team=blue", user=EDITOR)
    plane.kubectl("delete", "-n=team", "pod", name, "--wait=false", user=EDITOR)


@pytest.mark.parametrize("key", [GRANT, VISIBLE, names.TERM, names.WAITING, names.inventory_key("nvidia")])
@pytest.mark.parametrize("user", [EDITOR, SCHEDULER, "admin"])
def test_a_new_pod_has_no_grant_whoever_makes_it(plane: ControlPlane, user: str, key: str) -> None:
    why = refused(plane.api(user), new(annotations={key: "x"}))

    assert f"{key}: written by hami when a pod is granted its share, so a new pod has none; remove it from the manifest" in why


def test_a_new_pod_may_have_the_label_that_admission_gives(plane: ControlPlane) -> None:
    assert refused(plane.api(EDITOR), new(labels={names.PREPARED: "true"})) == ""


@pytest.mark.parametrize(
    ("annotations", "labels"),
    [({GRANT: "x"}, {}), ({VISIBLE: "all"}, {}), ({names.TERM: TERM}, {}), ({}, {names.PREPARED: "true"})],
)
@pytest.mark.parametrize("path", [PODS + "/{}/binding", "/api/v1/namespaces/team/bindings"])
def test_a_stranger_puts_no_grant_on_a_binding(
    plane: ControlPlane, path: str, annotations: dict[str, str], labels: dict[str, str]
) -> None:
    name = plane.api(EDITOR).create(PODS, new())["metadata"]["name"]

    with pytest.raises(ApiRefused, match="written by hami alone, not by alice"):
        plane.api(EDITOR).create(path.format(name), binding(name, NODE, annotations, labels))


def test_a_stranger_binds_what_asks_for_nothing(plane: ControlPlane) -> None:
    name = plane.api(EDITOR).create(PODS, new())["metadata"]["name"]

    plane.api(EDITOR).create(f"{PODS}/{name}/binding", binding(name, NODE, {"team": "blue"}))


# --- The fence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", ["", "here_1/6/a1", "here_1/8/a1", "there_1/7/a1", "here_1/7/b2", "here_1/7/", "here_1/7", "/7/a1"]
)
def test_a_scheduler_that_does_not_lead_binds_nothing(plane: ControlPlane, said: str) -> None:
    name = plane.api(EDITOR).create(PODS, new())["metadata"]["name"]

    why = refused_binding(plane.api(SCHEDULER), name, {names.TERM: said} if said else {GRANT: "all"})

    assert f"hami.io/term: {said or 'missing'}: the scheduler that leads is {TERM}, and only it binds" in why


def test_when_the_lead_changes_the_old_leader_binds_nothing_more(plane: ControlPlane) -> None:
    name = plane.api(EDITOR).create(PODS, new())["metadata"]["name"]
    scheduler = plane.api(SCHEDULER)
    assert refused_binding(scheduler, name, {names.TERM: TERM}) == ""

    try:
        plane.apply(lease("there_2", 8, WORD))
        wait_for(lambda: refused_binding(scheduler, name, {names.TERM: TERM}), "fenced")
        assert refused_binding(scheduler, name, {names.TERM: "there_2/8/a1"}) == ""
        plane.kubectl("delete", "lease", f"-n={OURS}", LEASE)
        wait_for(lambda: refused_binding(scheduler, name, {names.TERM: "there_2/8/a1"}), "fenced without a Lease")
    finally:
        plane.apply(lease(HOLDER, 7, WORD))
        wait_for(lambda: not refused_binding(scheduler, name, {names.TERM: TERM}), "open again")


def test_when_another_extender_leads_beside_the_same_holder_the_former_binds_nothing_more(plane: ControlPlane) -> None:
    name = plane.api(EDITOR).create(PODS, new())["metadata"]["name"]
    scheduler = plane.api(SCHEDULER)

    try:
        plane.apply(lease(HOLDER, 7, "b2"))
        wait_for(lambda: refused_binding(scheduler, name, {names.TERM: TERM}), "fenced")
        assert refused_binding(scheduler, name, {names.TERM: "here_1/7/b2"}) == ""
    finally:
        plane.apply(lease(HOLDER, 7, WORD))
        wait_for(lambda: not refused_binding(scheduler, name, {names.TERM: TERM}), "open again")


@pytest.mark.parametrize("said", ["here_1/7/", "here_1/7", "/7/a1", ""])
def test_while_no_extender_has_put_its_word_on_the_lease_nobody_binds(plane: ControlPlane, said: str) -> None:
    name = plane.api(EDITOR).create(PODS, new())["metadata"]["name"]
    scheduler = plane.api(SCHEDULER)

    try:
        plane.apply(lease(HOLDER, 7, ""))
        wait_for(lambda: refused_binding(scheduler, name, {names.TERM: TERM}), "fenced")
        assert "the scheduler that leads is nobody" in refused_binding(scheduler, name, {GRANT: "all", names.TERM: said})
    finally:
        plane.apply(lease(HOLDER, 7, WORD))
        wait_for(lambda: not refused_binding(scheduler, name, {names.TERM: TERM}), "open again")


# --- Those who do their work ------------------------------------------------------------------------------------------


def test_a_kubelet_tells_of_a_granted_pod_and_writes_no_grant(plane: ControlPlane) -> None:
    name = granted(plane)
    kubelet = plane.api(f"system:node:{NODE}", "system:nodes")
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}}

    kubelet.merge(f"{PODS}/{name}/status", status)

    assert plane.api().get(f"{PODS}/{name}")["status"]["phase"] == "Running"
    with pytest.raises(ApiRefused):
        kubelet.merge(f"{PODS}/{name}/status", written(annotations={GRANT: "all"}))


def test_what_a_node_has_is_written_by_its_agent_alone(plane: ControlPlane) -> None:
    key = names.inventory_key("nvidia")
    path, devices = f"{NODES}/{NODE}", written(annotations={key: "{}"})

    for door in ("", "/status"):
        with pytest.raises(ApiRefused, match=f"{key}: written by hami alone, not by {EDITOR}"):
            plane.api(EDITOR).merge(path + door, devices)
    with pytest.raises(ApiRefused, match="written by hami alone"):
        plane.api(EDITOR).create(NODES, {"metadata": {"name": "made-up", "annotations": {key: "{}"}}})
    plane.api(NODE_AGENT).merge(path, devices)
    plane.api(EDITOR).merge(path, written(annotations={names.DEVICE_CORDON: "GPU-1"}))
    with pytest.raises(ApiRefused, match="written by hami alone"):
        plane.api(EDITOR).merge(path, written(annotations={key: None}))


def test_controllers_make_pods_of_templates_and_none_with_a_grant(plane: ControlPlane) -> None:
    def deployment(name: str, annotations: dict[str, str]) -> dict[str, Any]:
        metadata = {"labels": {"app": name}, "annotations": annotations}
        template = {"metadata": metadata, "spec": pod(name)["spec"]}
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "team"}, "spec": spec}

    plane.apply(deployment("plain", {"team": "blue"}), deployment("greedy", {GRANT: "all"}))

    wait_for(lambda: plane.get("pods", "-n=team", "-l=app=plain")["items"], "made")
    wait_for(lambda: "so a new pod has none" in plane.kubectl("get", "events", "-n=team"), "told")
    assert not plane.get("pods", "-n=team", "-l=app=greedy")["items"]


def test_as_many_annotations_as_a_pod_can_have_are_judged(plane: ControlPlane) -> None:
    """256 KiB of short ones; an update to another of them is looked at key by key. The API server bounds the cost."""
    many = {f"a{n}": "x" for n in range(30_000)}
    api = plane.api(EDITOR)

    name = api.create(PODS, new(annotations=many))["metadata"]["name"]
    api.merge(f"{PODS}/{name}", written(annotations={"a1": "y"}))

    with pytest.raises(ApiRefused, match="written by hami alone"):
        api.merge(f"{PODS}/{name}", written(annotations={GRANT: "all"}))
