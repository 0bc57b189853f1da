"""Every mistake that a user can make ends in one sentence that says where it is, what it is, and what would be right.

Each row is the whole message. 2: a question could not be answered; 125: a workload was not started.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import HAMI, PATIENCE, a_container, a_pod

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.command import Ended, Node

pytestmark = pytest.mark.slow


def refused(done: Ended, status: int, sentence: str) -> None:
    """One line on stderr, nothing on stdout."""
    assert (done.status, done.stdout, done.stderr) == (status, "", f"hami: {sentence}\n")


LIMITS: dict[str, tuple[dict[str, Any], str]] = {
    "a binary suffix": (
        {"gpumem": "3Gi"},
        'nvidia.com/gpumem: 3Gi in container "main": give MiB as a plain number (3072)',
    ),
    "a negative size": (
        {"gpumem": -3},
        'nvidia.com/gpumem: -3 in container "main": must not be negative; give a plain number of MiB',
    ),
    "negative cores": (
        {"gpucores": -1},
        'nvidia.com/gpucores: -1 in container "main": must not be negative; give a plain number',
    ),
    "more than all in percent": (
        {"gpumem_percentage": 101},
        'nvidia.com/gpumem-percentage: 101 in container "main": give a whole number from 1 to 100',
    ),
    "more cores than a device has": (
        {"gpucores": 101},
        'nvidia.com/gpucores: 101 in container "main": give a whole number from 0 to 100',
    ),
    "more memory than any device has": (
        {"gpumem": 99999},
        (
            'pod "pod" can never run on t4-node: container "main": '
            "99999 MiB asked, 15360 in all on the largest of 1 device (nvidia.com/gpumem)"
        ),
    ),
    "more devices than there are": (
        {"gpu": 99},
        'pod "pod" can never run on t4-node: container "main": 99 devices asked, there is 1 (nvidia.com/gpu)',
    ),
    "megabytes of mebibytes": (
        {"gpumem": "3000M"},
        (
            'nvidia.com/gpumem: 3000M in container "main": that is 3000000000 MiB, more than any device has; '
            "the unit is MiB already, so 3 GB are written 3000"
        ),
    ),
    "a share of nothing": (
        {"gpu": 0, "gpumem": 3000},
        'nvidia.com/gpu: 0 in container "main": a share of no device; give 1 or more, or remove nvidia.com/gpumem',
    ),
    "a misspelt name": (
        {"gpumen": 3000},
        (
            "standard input: spec.containers[0].resources.limits.nvidia.com/gpumen: "
            'no plugin that is loaded owns this resource (did you mean "nvidia.com/gpumem"?)'
        ),
    ),
}


@pytest.mark.parametrize(("limits", "sentence"), LIMITS.values(), ids=LIMITS)
def test_a_limit_that_cannot_be_meant(t4: Node, limits: dict[str, Any], sentence: str) -> None:
    refused(t4.play(a_pod(a_container(**limits))), 125, sentence)


MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "the user's own visible devices": (
        a_pod(a_container(gpu=1) | {"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}),
        (
            'NVIDIA_VISIBLE_DEVICES: all in container "main": devices are chosen by hami; '
            "ask for them by nvidia.com/gpu and remove the variable"
        ),
    ),
    "the user's own grant": (
        a_pod() | {"metadata": {"name": "pod", "annotations": {"grant.hami.io/main": "all of it"}}},
        "grant.hami.io/main: set by the pod: this annotation is written by hami alone; remove it",
    ),
    "not a Pod": (
        a_pod() | {"kind": "Deployment"},
        "standard input: kind: Deployment is not a Pod; write its pods as kind: Pod",
    ),
    "an unknown field": (
        a_pod(restartpolicy="Never"),
        "standard input: spec.restartpolicy: unknown field (did you mean restartPolicy?)",
    ),
    "a field that one host cannot carry out": (
        a_pod(a_container(gpu=1) | {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}),
        (
            "standard input: spec.containers[0].volumeMounts: not possible on one host: volumes are not mounted here; "
            "let the command use paths of this host, and remove this field"
        ),
    ),
    "a word that is no policy": (
        a_pod(a_container(gpu=1) | {"env": [{"name": "GPU_CORE_UTILIZATION_POLICY", "value": "farce"}]}),
        'GPU_CORE_UTILIZATION_POLICY: farce in container "main": give one of default, force, disable',
    ),
}


@pytest.mark.parametrize(("pod", "sentence"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_cannot_be_carried_out(t4: Node, pod: dict[str, Any], sentence: str) -> None:
    refused(t4.play(pod), 125, sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello", "is not a Pod but a plain value; write a Pod (apiVersion: v1, kind: Pod)"),
        ("", "is empty; write a Pod (apiVersion: v1, kind: Pod)"),
        ("kind: [Pod", "no YAML: did not find expected ',' or ']' (line 2, column 1)"),
    ],
)
def test_a_text_that_is_no_manifest(t4: Node, text: str, sentence: str) -> None:
    refused(t4.hami("play", "-", stdin=text), 125, f"standard input: {sentence}")


def test_nothing_is_started_or_held_when_one_of_several_pods_is_wrong(t4: Node) -> None:
    done = t4.play(a_pod(a_container(command=["touch", "started"], gpumem=1000)), a_pod(a_container(gpumem="1Gi")))

    refused(done, 125, 'nvidia.com/gpumem: 1Gi in container "main" of pod "pod#2": give MiB as a plain number (1024)')
    assert not (t4.folder / "started").exists()


WORDS = "binpack, spread, mutex, topology-aware, numa"
SETTINGS = {
    "an unknown path": (
        "scheduler.defaultMen=3",
        'scheduler.defaultMen: unknown setting (did you mean "scheduler.defaultMem"?)',
    ),
    "out of range": ("scheduler.defaultCores=101", "scheduler.defaultCores: '101' is not a whole number from 0 to 100"),
    "a word that is none of the choices": (
        "scheduler.defaultSchedulerPolicy.nodeSchedulerPolicy=best",
        "scheduler.defaultSchedulerPolicy.nodeSchedulerPolicy: 'best' is not binpack or spread",
    ),
    "a word that is none of a list": (
        "scheduler.defaultSchedulerPolicy.gpuSchedulerPolicy=best",
        f"scheduler.defaultSchedulerPolicy.gpuSchedulerPolicy: 'best' is not one or more of {WORDS}, separated by commas",
    ),
    "no assignment": (
        "scheduler.defaultMem",
        "scheduler.defaultMem: write path=value, as in devicePlugin.deviceSplitCount=4",
    ),
}


@pytest.mark.parametrize(("assignment", "sentence"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_that_is_wrong_in_the_environment(t4: Node, assignment: str, sentence: str) -> None:
    refused(t4.hami("config", env={"HAMI_SET": assignment}), 2, f"settings (HAMI_SET): {sentence}")


def test_a_setting_that_is_wrong_is_named_with_its_file(t4: Node) -> None:
    t4.write("values.yaml", "scheduler: {defaultMen: 3}")

    done = t4.hami("--config", "values.yaml", "run", "--", "true")

    refused(done, 125, 'settings (values.yaml): scheduler.defaultMen: unknown setting (did you mean "scheduler.defaultMem"?)')


def test_a_settings_file_that_is_no_yaml(t4: Node) -> None:
    t4.write("values.yaml", "scheduler: [1")

    done = t4.hami("--config", "values.yaml", "config")

    place = "line 1, column 14"
    refused(done, 2, f"settings (values.yaml): $: is no YAML: expected ',' or ']', but got '<stream end>' ({place})")


def test_a_machine_that_nobody_knows(host: Node) -> None:
    done = host.hami("--machine", "t4-nod", "devices")

    refused(done, 2, 'machine "t4-nod": no plugin that is loaded knows it; did you mean t4-node?')
    assert "knows it; known are " in host.hami("devices", "--machine", "zzz").stderr


def test_a_state_folder_that_the_loader_would_cut_in_two(t4: Node) -> None:
    done = t4.hami("run", "--", "true", env={"HAMI_STATE_DIR": f"{t4.folder}/a:b"})

    fault = "its path holds ':', at which the dynamic loader cuts paths in two; name another one by HAMI_STATE_DIR"
    refused(done, 125, f"state folder {t4.folder}/a:b: {fault}")
    assert not (t4.folder / "a:b").exists()


@pytest.mark.parametrize("command", [["devices"], ["ps", "-o", "json"], ["--help"], ["devices", "--help"]])
def test_a_full_disk_behind_standard_output(t4: Node, command: list[str]) -> None:
    script = f'"{HAMI}" --machine t4-node {" ".join(command)} > /dev/full'

    done = subprocess.run(["sh", "-c", script], env=t4.env, capture_output=True, text=True, check=False, timeout=PATIENCE)

    assert (done.returncode, done.stderr) == (1, "hami: standard output: No space left on device\n")


def test_a_description_of_a_machine_with_a_misspelt_key(host: Node) -> None:
    host.write("mine.toml", MACHINE.replace("bus =", "bsu ="))

    done = host.hami("--machine", "mine.toml", "devices")

    refused(done, 2, "mine.toml: gpus[0].bsu: is no key of this table; did you mean bus?")


def test_neither_a_gpu_nor_a_machine(host: Node) -> None:
    hint = "name a simulated machine by --machine t4-node or HAMI_MACHINE=t4-node, or see `hami plugins`"

    refused(host.hami("devices"), 2, f"this host has no device that a loaded plugin knows; {hint}")
    refused(host.hami("run", "--", "true"), 125, f"this host has no nvidia device; {hint}")


def test_a_misspelt_option_of_run_is_no_command(t4: Node) -> None:
    done = t4.hami("run", "--gpumme", "3000", "--", "true")

    assert (done.status, done.stdout) == (2, "")
    assert "No such option '--gpumme'" in done.stderr
    assert "--gpumem" in done.stderr


def test_the_options_of_the_workload_are_its_own(t4: Node) -> None:
    assert (
        t4.hami("run", "--gpumem", "1000", "echo", "--gpumem", "--debug", "-o", "json").stdout == "--gpumem --debug -o json\n"
    )


def test_debug_shows_where_a_mistake_was_found(t4: Node) -> None:
    done = t4.hami("--debug", "run", "--gpumem", "3Gi", "--", "true")

    assert done.status == 125
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("give MiB as a plain number (3072)\n")


def test_a_state_folder_that_others_may_write_to_is_not_trusted(t4: Node, tmp_path: Path) -> None:
    (tmp_path / "state").chmod(0o777)

    done = t4.hami("run", "--", "true")

    state = tmp_path / "state"
    fault = "can be written by others (mode 0777); chmod 700 puts it right; or name another one by HAMI_STATE_DIR"
    refused(done, 125, f"state folder {state}: {fault}")


MACHINE = """\
schema = "hami-mock/v1"
machine = "mine"
driver = {version = "580.65.06", nvml = "13.580.65.06", cuda = 13000}
defaults = {profile = "t4"}

[[gpus]]
index = 0
bus = "0000:3B:00.0"
"""


def test_the_description_of_a_machine_without_the_mistake_is_taken(host: Node) -> None:
    host.write("mine.toml", MACHINE)

    done = host.hami("--machine", "mine.toml", "devices", "-o", "json")

    assert [one["model"] for one in json.loads(done.stdout)["devices"]] == ["Tesla T4"]
