"""What a pod that asks for a share has when it leaves admission, and that all others leave as they came."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core import decision
from hami_core.errors import ValidationError
from hami_webhook import admission
from tests.webhook.door import (
    CARD,
    CORES,
    GPU,
    MEMORY,
    PERCENT,
    PRIORITY,
    a_container,
    a_pod,
    applied,
    asking,
    installed,
    prepared,
    review,
    world,
)


def container(pod: dict[str, Any], name: str = "main") -> dict[str, Any]:
    return next(one for which in ("initContainers", "containers") for one in pod["spec"].get(which, []) if one["name"] == name)


def limits(pod: dict[str, Any], name: str = "main") -> dict[str, str]:
    found: dict[str, str] = container(pod, name)["resources"]["limits"]
    return found


def env(name: str, kind: str = "nvidia") -> dict[str, Any]:
    path = f"metadata.annotations['{kind}.hami.io/{name}']"
    return {"name": f"{kind.upper()}_VISIBLE_DEVICES", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def volume(name: str) -> dict[str, Any]:
    path = f"metadata.annotations['grant.hami.io/{name}']"
    item = {"path": "limits", "fieldRef": {"apiVersion": "v1", "fieldPath": path}}
    return {"name": f"hami-grant-{name}", "downwardAPI": {"defaultMode": 0o444, "items": [item]}}


def mount(name: str) -> dict[str, Any]:
    return {"name": f"hami-grant-{name}", "mountPath": "/etc/hami/grant", "readOnly": True}


# --- What is prepared. ---


def test_a_pod_that_asks_gets_label_scheduler_variable_volume_and_mount() -> None:
    pod = prepared(asking(gpumem=3000, gpucores=30))

    assert pod == a_pod(
        a_container(limits={GPU: "1", MEMORY: "3000", CORES: "30"}, env=[env("main")], volumeMounts=[mount("main")]),
        metadata={"labels": {"hami.io/prepared": "true"}},
        schedulerName="hami-scheduler",
        volumes=[volume("main")],
    )


def test_the_patch_names_nothing_but_what_it_changes() -> None:
    admitted = review(asking(gpumem=3000, gpucores=30))

    assert [(one["op"], one["path"]) for one in admitted.patch] == [
        ("add", "/spec/containers/0/env"),
        ("add", "/spec/volumes"),
        ("add", "/spec/containers/0/volumeMounts"),
        ("add", "/metadata/labels"),
        ("replace", "/spec/schedulerName"),
    ]


def test_a_pod_that_asks_for_nothing_stays_as_it_is() -> None:
    assert review(a_pod(a_container(limits={"cpu": "1"}))) == admission.Admitted()
    assert review(a_pod(a_container(limits={GPU: "0"}))) == admission.Admitted()


def test_a_container_that_asks_for_nothing_is_not_touched() -> None:
    beside = a_container("beside", {"cpu": "1"}, env=[{"name": "A", "value": "1"}], unheard={"of": [1]})
    pod = prepared(a_pod(beside, a_container("train", {GPU: "1", MEMORY: "3000"})))

    assert container(pod, "beside") == beside


def test_every_container_has_a_file_of_its_own() -> None:
    pod = prepared(
        a_pod(
            a_container("one", {GPU: "1", MEMORY: "1000"}),
            a_container("two", {GPU: "2", MEMORY: "2000"}),
            initContainers=[
                a_container("fetch", {GPU: "1", MEMORY: "500"}),
                a_container("watch", {GPU: "1", MEMORY: "700"}, restartPolicy="Always"),
            ],
        )
    )

    assert pod["spec"]["volumes"] == [volume(name) for name in ("fetch", "watch", "one", "two")]
    assert all(container(pod, name)["volumeMounts"] == [mount(name)] for name in ("fetch", "watch", "one", "two"))
    assert all(container(pod, name)["env"] == [env(name)] for name in ("fetch", "watch", "one", "two"))


def test_several_vendors_serve_one_container() -> None:
    pod = prepared(a_pod(a_container("main", {GPU: "1", MEMORY: "3000", CARD: "1"}), a_container("other", {CARD: "1"})))

    assert sorted(container(pod)["env"], key=lambda one: one["name"]) == [env("main", "mock"), env("main")]
    assert container(pod)["volumeMounts"] == [mount("main")]
    assert container(pod, "other")["env"] == [env("other", "mock")]


def test_a_long_container_name_gives_a_volume_name_that_kubernetes_takes() -> None:
    name = "a" * 63

    found = prepared(a_pod(a_container(name, {GPU: "1"})))["spec"]["volumes"][0]

    assert found["name"] == "hami-grant-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-7d3e74a0"
    assert len(found["name"]) == 63
    assert found["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"] == f"metadata.annotations['grant.hami.io/{name}']"


def test_the_variable_stands_beside_the_user_s_own_and_envfrom_stays() -> None:
    own = {"name": "NCCL_DEBUG", "value": "INFO"}
    pod = prepared(a_pod(a_container(limits={GPU: "1"}, env=[own], envFrom=[{"configMapRef": {"name": "c"}}])))

    assert container(pod)["env"] == [own, env("main")]
    assert container(pod)["envFrom"] == [{"configMapRef": {"name": "c"}}]


# --- Amounts. ---


def test_defaults_are_written_where_the_user_gave_nothing() -> None:
    pod = prepared(asking(), {"scheduler.defaultCores": 20})

    assert limits(pod) == {GPU: "1", MEMORY: "5000", CORES: "20"}


def test_a_default_of_zero_is_not_written() -> None:
    pod = prepared(asking(), {"scheduler.defaultMem": 0})

    assert limits(pod) == {GPU: "1"}


def test_a_percentage_leaves_the_default_memory_out() -> None:
    assert limits(prepared(asking(**{"gpumem-percentage": 50}))) == {GPU: "1", PERCENT: "50"}


def test_the_count_is_added_to_a_container_that_names_only_a_share() -> None:
    assert limits(prepared(a_pod(a_container(limits={CORES: "30"})))) == {CORES: "30", GPU: "1", MEMORY: "5000"}


def test_what_is_named_in_requests_alone_is_copied_to_the_limits() -> None:
    resources = {"requests": {"cpu": "1", GPU: "1", MEMORY: "3k"}}

    pod = prepared(a_pod(a_container(resources=resources)))

    assert container(pod)["resources"] == {"requests": resources["requests"], "limits": {GPU: "1", MEMORY: "3k"}}


def test_what_was_written_by_default_is_recorded_and_still_counts_as_default() -> None:
    pod = prepared(asking(), {"scheduler.defaultCores": 20})

    asks = decision.ask(installed().hook, *world(), pod)

    assert pod["metadata"]["annotations"] == {"hami.io/defaulted": "main:nvidia.com/gpumem=5000,main:nvidia.com/gpucores=20"}
    assert asks[0].requests[0].defaulted == {"memory", "cores"}


def test_a_record_of_a_default_that_was_changed_since_is_taken_away() -> None:
    pod = prepared(asking())
    limits(pod)[MEMORY] = "8000"

    assert "hami.io/defaulted" not in prepared(pod)["metadata"]["annotations"]


def test_the_author_is_told_of_defaults_and_of_what_is_ignored() -> None:
    assert review(asking()).warnings == ('container "main" names no nvidia.com/gpumem: it gets 5000 MiB, the default',)
    assert review(asking(**{"gpumem": 3000, "gpumem-percentage": 50})).warnings == (
        "nvidia.com/gpumem: 3000 is used; nvidia.com/gpumem-percentage beside it is ignored",
    )


def test_the_author_is_told_once_of_a_key_that_is_misspelt() -> None:
    two = [a_container(name, {GPU: "1", MEMORY: "3000"}) for name in ("one", "two")]
    admitted = review(a_pod(*two, metadata={"annotations": {"nvidia.com/use-gputypes": "A100"}}))

    assert admitted.warnings == ("the annotation nvidia.com/use-gputypes has no effect; did you mean nvidia.com/use-gputype?",)


# --- The scheduler. ---


@pytest.mark.parametrize("named", ["", "default-scheduler", "hami-scheduler"])
def test_a_pod_that_leaves_its_scheduler_open_goes_to_ours(named: str) -> None:
    pod = asking(gpumem=3000)
    pod["spec"]["schedulerName"] = named

    assert prepared(pod)["spec"]["schedulerName"] == "hami-scheduler"


def test_a_pod_that_names_another_scheduler_keeps_it_is_prepared_and_its_author_is_told() -> None:
    pod = asking(gpumem=3000)
    pod["spec"]["schedulerName"] = "volcano"

    admitted = review(pod)

    assert applied(pod, admitted)["spec"]["schedulerName"] == "volcano"
    assert applied(pod, admitted)["metadata"]["labels"] == {"hami.io/prepared": "true"}
    assert admitted.warnings == (
        'spec.schedulerName: volcano grants no shares, so the containers will see no device; "hami-scheduler" does',
    )


def test_the_default_scheduler_is_left_where_the_operator_wants_that() -> None:
    values = {"scheduler.forceOverwriteDefaultScheduler": False}

    assert prepared(asking(), values)["spec"]["schedulerName"] == "default-scheduler"
    assert "default-scheduler grants no shares" in review(asking(), values).warnings[-1]


def test_the_scheduler_s_name_is_a_setting() -> None:
    assert prepared(asking(), {"schedulerName": "gpu-scheduler"})["spec"]["schedulerName"] == "gpu-scheduler"


# --- Copies of live pods. ---


def test_a_container_that_was_renamed_gets_references_of_its_own() -> None:
    pod = prepared(asking(gpumem=3000))
    container(pod)["name"] = "train"

    again = prepared(pod)

    assert container(again, "train")["env"] == [env("train")]
    assert container(again, "train")["volumeMounts"] == [mount("train")]
    assert again["spec"]["volumes"] == [volume("train")]


def test_a_container_that_asks_no_more_loses_what_was_ours() -> None:
    pod = prepared(a_pod(a_container("one", {GPU: "1"}), a_container("two", {GPU: "1"})))
    del container(pod, "two")["resources"]

    again = prepared(pod)

    assert (container(again, "two")["env"], container(again, "two")["volumeMounts"]) == ([], [])
    assert again["spec"]["volumes"] == [volume("one")]


def test_a_volume_of_ours_that_somebody_edited_is_put_right() -> None:
    pod = prepared(asking(gpumem=3000))
    pod["spec"]["volumes"][0]["downwardAPI"]["items"][0]["path"] = "elsewhere"

    assert prepared(pod)["spec"]["volumes"] == [volume("main")]


def test_a_mount_of_ours_that_somebody_edited_is_put_right() -> None:
    pod = prepared(asking(gpumem=3000))
    container(pod)["volumeMounts"][0]["subPath"] = "limits"

    assert container(prepared(pod))["volumeMounts"] == [mount("main")]


def test_the_limits_file_of_a_neighbour_is_not_taken_for_one_s_own() -> None:
    pod = prepared(a_pod(a_container("one", {GPU: "1"}), a_container("two", {GPU: "1"})))
    container(pod, "two")["volumeMounts"] = [mount("one")]

    assert container(prepared(pod), "two")["volumeMounts"] == [mount("two")]


# --- Left out. ---


def test_a_pod_that_opts_out_is_not_prepared_and_its_author_is_told_what_that_means() -> None:
    pod = asking()
    pod["metadata"]["labels"] = {"hami.io/webhook": "ignore"}

    assert review(pod) == admission.Admitted(
        (), ("hami.io/webhook: ignore: the pod is not prepared, so nothing is granted and its containers see no device",)
    )


def test_opting_out_is_no_way_to_choose_one_s_own_devices() -> None:
    pod = a_pod(a_container(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]))
    pod["metadata"]["labels"] = {"hami.io/webhook": "ignore"}

    with pytest.raises(ValidationError, match="NVIDIA_VISIBLE_DEVICES: all"):
        review(pod)


# --- Ephemeral containers. ---


def with_ephemeral(**fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    old = prepared(asking(gpumem=3000))
    new = {**old, "spec": {**old["spec"], "ephemeralContainers": [{"name": "debug", **fields}]}}
    return old, new


def test_an_ephemeral_container_changes_nothing() -> None:
    old, new = with_ephemeral(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}])

    assert review(new, operation="UPDATE", old=old) == admission.Admitted()


def test_one_that_is_there_already_is_not_judged_again() -> None:
    _, new = with_ephemeral(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}])

    assert review(new, operation="UPDATE", old=new) == admission.Admitted()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]},
            (
                'NVIDIA_VISIBLE_DEVICES: all in container "debug": an ephemeral container is granted no device; '
                "remove the variable, or set it to void"
            ),
        ),
        (
            {"volumeMounts": [{"name": "x", "mountPath": "/etc/hami/grant"}]},
            'volumeMounts.mountPath: /etc/hami/grant in container "debug": this path is hami\'s own; mount it at another',
        ),
        (
            {"securityContext": {"privileged": True}},
            (
                'securityContext.privileged: true in container "debug": a privileged container reaches every device '
                "of its node, whatever it is granted; debug with another profile"
            ),
        ),
    ],
)
def test_an_ephemeral_container_is_no_way_to_a_device(fields: dict[str, Any], sentence: str) -> None:
    old, new = with_ephemeral(**fields)

    with pytest.raises(ValidationError) as refused:
        review(new, operation="UPDATE", old=old)

    assert str(refused.value) == sentence


# --- Again and again. ---

AMOUNTS = st.fixed_dictionaries(
    {},
    optional={
        GPU: st.sampled_from(["0", "1", "2", "1k"]),
        MEMORY: st.sampled_from(["3000", "3k", "1"]),
        PERCENT: st.sampled_from(["1", "50"]),
        CORES: st.sampled_from(["0", "30", "100"]),
        PRIORITY: st.sampled_from(["0", "1"]),
        CARD: st.sampled_from(["0", "1"]),
        "cpu": st.just("1"),
    },
)
RESOURCES = AMOUNTS.flatmap(
    lambda amounts: st.sampled_from([{"limits": amounts}, {"requests": amounts}, {"limits": amounts, "requests": amounts}, {}])
)
STALE = st.sampled_from(["gone", "c0", "c1"])
FIELDS = st.fixed_dictionaries(
    {"resources": RESOURCES},
    optional={
        "env": st.lists(st.just({"name": "A", "value": "1"}) | STALE.map(env), max_size=3),
        "volumeMounts": st.lists(st.just({"name": "data", "mountPath": "/data"}) | STALE.map(mount), max_size=2),
        "restartPolicy": st.just("Always"),
        "unheard": st.just({"of": [1]}),
    },
)


@st.composite
def pods(draw: st.DrawFn, first: int = 0) -> dict[str, Any]:
    inits, ordinary = draw(st.lists(FIELDS, max_size=2)), draw(st.lists(FIELDS, min_size=1, max_size=3))
    named = [{"name": f"c{number}", **fields} for number, fields in enumerate([*inits, *ordinary], start=first)]
    spec = {"initContainers": named[: len(inits)], "containers": named[len(inits) :]}
    volumes = draw(st.lists(st.just({"name": "data", "emptyDir": {}}) | STALE.map(volume), max_size=3))
    optional = {"volumes": volumes, "schedulerName": draw(st.sampled_from(["", "default-scheduler", "volcano"]))}
    chosen = draw(st.lists(st.sampled_from(sorted(optional)), unique=True))
    metadata = draw(st.sampled_from([{}, {"labels": None}, {"labels": {"app": "x"}, "annotations": {"a": "b"}}]))
    return {"metadata": metadata, "spec": {**spec, **{name: optional[name] for name in chosen}}}


def reviewed(pod: dict[str, Any]) -> dict[str, Any] | None:
    """None: refused, as chance would have it."""
    try:
        return prepared(pod)
    except ValidationError:
        return None


@settings(max_examples=300)
@given(pods())
def test_reviewing_a_reviewed_pod_changes_nothing(pod: dict[str, Any]) -> None:
    once = reviewed(pod)

    assert once is None or review(once).patch == ()


@settings(max_examples=300)
@given(pods())
def test_all_that_asks_is_prepared_and_nothing_else_is_changed(pod: dict[str, Any]) -> None:
    once = reviewed(pod)
    if once is None:
        return

    asks = decision.ask(installed().hook, *world(), once)

    wanted = {(request.container, asked.kind.name) for asked in asks for request in asked.requests}
    containers = [*once["spec"]["initContainers"], *once["spec"]["containers"]]
    assert {(c["name"], k) for c in containers for k in ("nvidia", "mock") if env(c["name"], k) in c.get("env", [])} == wanted
    asking_ones = {container for container, _ in wanted}
    assert {c["name"] for c in containers if mount(c["name"]) in c.get("volumeMounts", [])} >= asking_ones
    assert all(volume(name) in once["spec"]["volumes"] for name in asking_ones)
    assert bool(wanted) == ("hami.io/prepared" in (once["metadata"].get("labels") or {}))
    assert [c.get("unheard") for c in containers] == [
        c.get("unheard") for c in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    ]


@settings(max_examples=200)
@given(pods(), pods(first=10))
def test_what_another_webhook_adds_is_completed_and_the_rest_is_left(pod: dict[str, Any], more: dict[str, Any]) -> None:
    once = reviewed(pod)
    if once is None:
        return
    added = {**once["spec"], "containers": [*more["spec"]["containers"], *once["spec"]["containers"]]}
    grown = {**once, "spec": added}

    twice = reviewed(grown)

    if twice is not None:
        kept = twice["spec"]["containers"][len(more["spec"]["containers"]) :]
        assert [c["name"] for c in kept] == [c["name"] for c in once["spec"]["containers"]]
        assert all(after == before for after, before in zip(kept, once["spec"]["containers"], strict=True))
        assert review(twice).patch == ()
