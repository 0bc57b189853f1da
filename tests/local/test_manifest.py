from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hami_core.errors import ManifestError
from hami_core.local import manifest
from hami_core.plugins import Catalogue
from tests.local.acme import KIND, a_container, a_manifest

if TYPE_CHECKING:
    from pathlib import Path

CATALOGUE = Catalogue((KIND,), {"acme": "acme"}, {"acme": ()})


def read(document: object) -> manifest.PodSpec:
    return manifest.pod(document, "pod.yaml", CATALOGUE)


def refusal(document: object) -> str:
    with pytest.raises(ManifestError) as caught:
        read(document)
    return str(caught.value)


def with_container(**fields: Any) -> dict[str, Any]:
    return a_manifest({**a_container(), **fields})


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("hello", "pod.yaml: is not a Pod but a plain value; write a Pod (apiVersion: v1, kind: Pod)"),
        ({"kind": "Deployment"}, "pod.yaml: kind: Deployment is not a Pod; write its pods as kind: Pod"),
        ({"kind": "Pod"}, "pod.yaml: apiVersion: missing: a Pod has apiVersion: v1"),
        (
            {**a_manifest(), "metadata": {}},
            "pod.yaml: metadata.name: missing; give a name of small letters, digits and hyphens",
        ),
        (
            {**a_manifest(), "metadata": {"generateName": "x-"}},
            "pod.yaml: metadata.generateName: not possible on one host: give metadata.name",
        ),
        (a_manifest(containers=[]), "pod.yaml: spec.containers: missing; a Pod has at least one container"),
        (
            a_manifest(a_container(), a_container()),
            'pod.yaml: spec: 2 containers have the name "main"; names are unique within a pod',
        ),
        (
            a_manifest(a_container(name="../up")),
            'pod.yaml: spec.containers[0].name: "../up": give a name of small letters, digits and hyphens',
        ),
        (
            with_container(command=None),
            "pod.yaml: spec.containers[0].command: missing; what the image would run is not known here, so say it",
        ),
        (with_container(command="ls"), "pod.yaml: spec.containers[0].command: 'ls' where a list belongs"),
        (
            with_container(command=["sleep", 5]),
            'pod.yaml: spec.containers[0].command[1]: 5 is no text; write it in quotes ("5")',
        ),
        (
            with_container(env=[{"name": "A", "value": True}]),
            'pod.yaml: spec.containers[0].env[0].value: True is no text; write it in quotes ("true")',
        ),
        (
            with_container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
            (
                "pod.yaml: spec.containers[0].env[0].valueFrom.secretKeyRef: not possible on one host: "
                "there are no ConfigMaps and Secrets here; give the value itself"
            ),
        ),
        (
            with_container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
            (
                "pod.yaml: spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: status.podIP: possible here are "
                "metadata.name, .namespace, .uid, .labels['key'] and .annotations['key']"
            ),
        ),
        (
            with_container(volumeMounts=[{"name": "v", "mountPath": "/data"}]),
            (
                "pod.yaml: spec.containers[0].volumeMounts: not possible on one host: volumes are not mounted here; "
                "let the command use paths of this host, and remove this field"
            ),
        ),
        (
            with_container(restartPolicy="Always"),
            (
                "pod.yaml: spec.containers[0].restartPolicy: Always: "
                "only Always, on an init container (a sidecar), is possible here"
            ),
        ),
        (with_container(comand=["ls"]), "pod.yaml: spec.containers[0].comand: unknown field (did you mean command?)"),
        (
            with_container(resources={"limits": {"acme.dev/men": 1}}),
            (
                "pod.yaml: spec.containers[0].resources.limits.acme.dev/men: no plugin that is loaded owns this resource "
                '(did you mean "acme.dev/mem"?)'
            ),
        ),
        (a_manifest(restartPolicy="Once"), "pod.yaml: spec.restartPolicy: Once: give Never, OnFailure or Always"),
        (
            a_manifest(activeDeadlineSeconds=0),
            "pod.yaml: spec.activeDeadlineSeconds: 0: give a whole number of at least 1",
        ),
        (
            a_manifest(securityContext={"runAsUser": 1}),
            (
                "pod.yaml: spec.securityContext: not possible on one host: processes run with the rights of the user who "
                "called hami; remove this field, or run the pod on a cluster"
            ),
        ),
    ],
)
def test_a_bad_manifest_is_told_in_one_sentence(document: object, sentence: str) -> None:
    assert refusal(document) == sentence


def test_a_harmless_field_gives_a_note() -> None:
    pod = read(a_manifest({**a_container(), "image": "cuda:12", "imagePullPolicy": "Always"}, nodeSelector={"gpu": "t4"}))

    assert pod.notes == (
        "spec.nodeSelector has no effect here: there is one host to run on, this one",
        "spec.containers[0].imagePullPolicy has no effect here: no image is pulled",
        'the image cuda:12 is not pulled: container "main" runs programs of this host',
    )


def test_what_is_empty_or_false_says_nothing() -> None:
    document = a_manifest({**a_container(), "volumeMounts": [], "tty": False}, volumes=[], securityContext={}, hostPID=False)

    assert read(document).notes == ()


def test_cpu_and_memory_are_told_not_to_be_limited() -> None:
    assert read(with_container(resources={"requests": {"cpu": 1}})).notes == ("cpu: not limited here; devices alone are",)


def test_a_missing_restart_policy_is_read_as_never_and_told() -> None:
    document = a_manifest()
    del document["spec"]["restartPolicy"]

    pod = read(document)

    assert [container.restart for container in pod.containers] == ["Never"]
    assert pod.notes == (
        "spec.restartPolicy is missing: a cluster would restart them for ever (Always); here they run once (Never)",
    )


def test_init_containers_are_tried_again_but_never_after_success_and_sidecars_always() -> None:
    inits = [a_container(name="prepare"), a_container(name="watch", restartPolicy="Always")]

    pod = read(a_manifest(initContainers=inits, restartPolicy="Always"))

    assert [(one.name, one.role, one.restart) for one in pod.containers] == [
        ("prepare", "init", "OnFailure"),
        ("watch", "sidecar", "Always"),
        ("main", "main", "Always"),
    ]


def test_command_args_and_variables_are_expanded_in_order() -> None:
    variables = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(C)"},
        {"name": "C", "value": "3"},
        {"name": "N", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['team']"}}},
    ]
    document = with_container(command=["echo", "$(B)"], args=["$(N)", "$$(N)"], env=variables)
    document["metadata"]["labels"] = {"team": "vision"}

    (container,) = read(document).containers

    assert container.argv == ("echo", "1$(C)", "vision", "$(N)")


def test_a_pod_knows_its_own_uid() -> None:
    document = with_container(env=[{"name": "U", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}])

    pod = read(document)

    assert pod.containers[0].env == (("U", pod.uid),)
    assert pod.manifest["metadata"]["uid"] == pod.uid


def test_every_document_of_every_file_is_a_pod_and_equal_names_get_labels(tmp_path: Path) -> None:
    path = tmp_path / "pods.yaml"
    path.write_text(yaml.safe_dump_all([a_manifest(), a_manifest(name="other")]) + "---\n")

    pods = manifest.read([str(path), str(path)], CATALOGUE)

    assert [pod.label for pod in pods] == ["pod", "other", "pod#2", "other#2"]
    assert len({pod.uid for pod in pods}) == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty; write a Pod (apiVersion: v1, kind: Pod)"),
        ("a: [", "no YAML: "),
        ("kind: Pod\nkind: Pod\n", 'the key "kind" is written 2 times'),
    ],
)
def test_a_bad_file_is_told_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(text)

    with pytest.raises(ManifestError) as caught:
        manifest.read([str(path)], CATALOGUE)

    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file or directory; give the path of a Pod manifest"):
        manifest.read([str(tmp_path / "none.yaml")], CATALOGUE)


KEYS = st.sampled_from(
    ["apiVersion", "kind", "metadata", "name", "spec", "containers", "initContainers", "command", "env", "resources", "limits"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.sampled_from(["Pod", "v1", "main", "ls", "acme.dev/mem"]) | st.text()
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5))


@given(spec=TREES, container=TREES)
def test_whatever_a_manifest_holds_the_error_is_ours(spec: object, container: object) -> None:
    for document in (
        spec,
        {**a_manifest(), "spec": spec},
        a_manifest(containers=[container]),
        {**a_manifest(), "metadata": container},
    ):
        try:
            read(document)
        except ManifestError as error:
            assert str(error).startswith("pod.yaml: ")
