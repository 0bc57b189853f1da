"""Every setting takes effect: one proof for each, and no setting without one. On simulated machines, from the command on."""

from __future__ import annotations

import json
import re
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from hami_core import decision, plugins, settings, table
from hami_core.cli.session import Session
from hami_core.errors import ValidationError
from hami_core.model import Capacity
from hami_core.serving.certificates import Lives, renewed
from hami_mock import machine
from hami_scheduler import auth
from hami_scheduler.settings import SchedulerSettings
from hami_webhook import guard
from hami_webhook.manifests import manifests
from hami_webhook.registration import registration
from tests.cli.command import MIB, PROBE, a_container, a_pod, room, seen
from tests.node import effects
from tests.scheduler import daemons as schedulers
from tests.scheduler.world import a_node, a_world
from tests.scheduler.world import a_pod as a_waiting_pod
from tests.webhook import daemons, door

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_scheduler.daemon import Running
    from tests.cli.command import Ended, Node, OnMachine


class Proof(Protocol):
    """Shows the effect of one or more settings on machines that it makes."""

    __name__: str

    def __call__(self, on: OnMachine) -> None: ...


OURS = ("core", "mock", "node", "nvidia", "scheduler", "webhook")
T4 = 15360
LIMITS = ("sh", "-c", "cat $HAMI_LIMITS")
PROOFS: dict[str, Proof] = {}


def proves(*paths: str) -> Callable[[Proof], Proof]:
    """This function shows the effect of the settings of these paths."""

    def register(proof: Proof) -> Proof:
        PROOFS.update(dict.fromkeys(paths, proof))
        return proof

    return register


def test_every_setting_has_a_proof_of_its_effect() -> None:
    declared = {entry.declaration.path for entry in Session().settings.entries if entry.owner in OURS}

    assert set(PROOFS) == declared


def run(node: Node, assignment: str, *words: str) -> Ended:
    """``hami --set ASSIGNMENT run ...``, which has to end well."""
    done = node.hami("--set", assignment, "run", *words)
    assert done.status == 0, done.stderr
    return done


def shares(node: Node, assignment: str, *options: str) -> list[dict[str, Any]]:
    """What a run is granted under a setting."""
    done = run(node, assignment, *options, "-o", "json", "--", "true")
    found: list[dict[str, Any]] = done.document["pods"][0]["shares"]
    return found


def devices(node: Node, assignment: str, kind: str = "nvidia") -> list[dict[str, Any]]:
    """What a machine offers under a setting."""
    done = node.hami("--set", assignment, "devices", "-o", "json")
    assert done.status == 0, done.stderr
    return [one for one in done.document["devices"] if one["kind"] == kind]


def together(node: Node, assignment: str, number: int, **limits: object) -> list[dict[str, Any]]:
    """What so many pods saw that all held their shares at one moment: a pod that had to wait would keep them from it."""
    (node.folder / "meeting").mkdir()
    command = [PROBE, "--json", "--barrier", str(node.folder / "meeting"), str(number)]
    manifests = [a_pod(a_container("main", command, **limits), name=f"p{n}") for n in range(number)]
    done = node.hami("--set", assignment, "play", "-", stdin="\n---\n".join(map(json.dumps, manifests)))
    assert done.status == 0, done.stderr
    return seen(done.stdout)


# --- How a device is shared -------------------------------------------------------------------------------------------


@proves("devicePlugin.deviceSplitCount")
def as_many_tasks_as_the_split_count_run_at_once_and_one_more_waits(on: OnMachine) -> None:
    node = on("t4-node")
    (node.folder / "meeting").mkdir()
    command = [PROBE, "--barrier", str(node.folder / "meeting"), "5"]
    pods = node.write("pods.yaml", "\n---\n".join(json.dumps(a_pod(a_container(command=command, gpumem=1000))) for _ in "abcd"))
    four = node.start("--set", "devicePlugin.deviceSplitCount=4", "play", pods)
    (node.folder / "meeting/held.test").touch()
    for _ in "abcd":
        four.until("all 5 hold")

    fifth = node.start("--set", "devicePlugin.deviceSplitCount=4", "run", "--gpumem", "1000", "--", "true")
    why = fifth.until("waits")
    (node.folder / "meeting/seen.test").touch()

    assert "a device carries at most 4, or one that has it for itself (nvidia.com/gpu)" in why
    assert (four.end().status, fifth.end().status) == (0, 0)


@proves("devicePlugin.deviceMemoryScaling")
def shares_pass_the_card_together_and_a_full_card_refuses_within_the_share(on: OnMachine) -> None:
    """Two of 12000 MiB on a T4 of 15360. The second to come gets what is left; both see their own share."""
    found = together(on("t4-node"), "devicePlugin.deviceMemoryScaling=5", 2, gpumem=12000)

    filled = [one["filled"][0] for one in found]
    assert [one["cuda"][0]["total"] for one in found] == [12000 * MIB] * 2
    assert {one["refusal_name"] for one in filled} == {"CUDA_ERROR_OUT_OF_MEMORY"}
    assert max(one["held"] for one in filled) <= room(12000)
    assert 12000 * MIB < sum(one["held"] for one in filled) < T4 * MIB


@pytest.mark.slow
def test_with_room_on_the_card_a_share_of_scaled_memory_is_had_in_full(on: OnMachine) -> None:
    node = on("t4-node")

    (offered,) = devices(node, "devicePlugin.deviceMemoryScaling=5")
    done = run(node, "devicePlugin.deviceMemoryScaling=5", "--gpumem", "12000", "--", PROBE, "--json")
    half = shares(node, "devicePlugin.deviceMemoryScaling=5", "--gpumem-percentage", "50")
    too_large = node.hami("--set", "devicePlugin.deviceMemoryScaling=5", "run", "--gpumem", "15361", "--", "true")

    assert offered["memory"] == 5 * T4
    assert seen(done.stdout)[0]["filled"][0]["held"] == room(12000)
    assert half[0]["memory"] == T4 // 2, "percent is of the metal"
    assert "15361 MiB asked, 15360 in all on the largest of 1 device (nvidia.com/gpumem)" in too_large.stderr


@proves("devicePlugin.deviceCoreScaling")
def reservations_of_compute_pass_the_device(on: OnMachine) -> None:
    """100 would mean the device for oneself, whatever the scaling."""
    found = together(on("t4-node"), "devicePlugin.deviceCoreScaling=2", 2, gpumem=1000, gpucores=99)

    assert len(found) == 2


@proves("devicePlugin.disablecorelimit")
def no_grant_limits_compute_and_every_one_limits_memory(on: OnMachine) -> None:
    node = on("t4-node")
    forced = {"env": [{"name": "GPU_CORE_UTILIZATION_POLICY", "value": "force"}]}
    pod = json.dumps(a_pod(a_container(command=LIMITS, gpumem=3000, gpucores=30) | forced))
    for spelling in ("'true'", "true"):
        values = node.write("values.yaml", f"devicePlugin: {{disablecorelimit: {spelling}}}")

        done = node.hami("--config", values, "play", "-", stdin=pod)

        assert "policy=disable\n" in done.stdout
        assert f"memory={3000 * MIB}" in done.stdout
        assert "GPU_CORE_UTILIZATION_POLICY: force has no effect, devicePlugin.disablecorelimit is true" in done.stderr


@proves("devices.nvidia.gpuCorePolicy")
def a_container_that_names_no_policy_gets_the_clusters(on: OnMachine) -> None:
    assert "policy=force\n" in run(on("t4-node"), "devices.nvidia.gpuCorePolicy=force", "--", *LIMITS).stdout


@proves("devices.nvidia.libCudaLogLevel")
def the_interposer_says_as_much_as_the_level_asks(on: OnMachine) -> None:
    quiet = run(on("t4-node"), "devices.nvidia.libCudaLogLevel=1", "--", PROBE)
    loud = run(on("t4-node"), "devices.nvidia.libCudaLogLevel=3", "--", PROBE)

    assert "[HAMI-core" not in quiet.stderr
    assert "[HAMI-core" in loud.stderr


@proves("devices.nvidia.contextMemory")
def what_is_charged_for_a_context_is_what_the_setting_says(on: OnMachine) -> None:
    held = {}
    for charge in (0, 500):
        charged = f"devices.nvidia.contextMemory.Tesla T4={charge}"
        done = run(on("t4-node"), charged, "--gpumem", "3000", "--", PROBE, "--json")
        held[charge] = seen(done.stdout)[0]["filled"][0]["held"]

    assert held == {0: 3000 * MIB, 500: 2500 * MIB}


# --- Which devices ----------------------------------------------------------------------------------------------------


@proves("devicePlugin.nvidiaDriverRoot")
def the_driver_is_found_under_its_root(on: OnMachine) -> None:
    node = on(None)
    root = machine.install("t4x4", node.folder / "driver").folder

    assert len(devices(node, f"devicePlugin.nvidiaDriverRoot={root}")) == 4


UNIFIED = """\
schema = "hami-mock/v1"
machine = "unified"
driver = {version = "580.65.06", nvml = "13.580.65.06", cuda = 13000}
defaults = {profile = "t4"}

[[gpus]]
index = 0
bus = "0000:3B:00.0"

[[faults]]
kind = "error"
code = 3                                         # NVML_ERROR_NOT_SUPPORTED
when = {call = "nvmlDeviceGetMemoryInfo*"}
"""


@proves("devicePlugin.preConfiguredDeviceMemory")
def a_gpu_whose_driver_does_not_tell_its_memory_has_what_is_configured(on: OnMachine) -> None:
    node = on("unified.toml")
    node.write("unified.toml", UNIFIED)

    (unsaid,) = devices(node, "devicePlugin.preConfiguredDeviceMemory=0")
    (configured,) = devices(node, "devicePlugin.preConfiguredDeviceMemory=8000")

    assert (unsaid["memory"], unsaid["sick"]) == (
        0,
        "does not say how much memory it has; set devicePlugin.preConfiguredDeviceMemory",
    )
    assert (configured["memory"], configured["sick"]) == (8000, "")
    assert [one["memory"] for one in shares(node, "devicePlugin.preConfiguredDeviceMemory=8000", "--gpumem", "3000")] == [3000]


@proves("devicePlugin.migStrategy")
def a_values_file_without_mig_shares_whole_gpus_and_one_with_it_is_refused(on: OnMachine) -> None:
    """That `none` hands out no GPU in MIG mode is in tests/nvidia: the simulated chips have theirs off."""
    node = on("dgx-a100")
    none, mixed, single = (
        node.write(f"{word}.yaml", f"devicePlugin: {{migStrategy: {word}}}") for word in ("none", "mixed", "single")
    )

    offered = node.ask("--config", none, "devices")["devices"]
    refused = [node.hami("--config", values, "devices") for values in (mixed, single)]

    assert [(one["splitting"], one["sick"]) for one in offered] == [("share", "")] * 8
    needs = "is not none; mixed needs the plugin hami-mig, which this build does not have\n"
    assert [(done.status, done.stderr.partition("devicePlugin.migStrategy: ")[2]) for done in refused] == [
        (2, f"'mixed' {needs}"),
        (2, f"'single' {needs}"),
    ]


@proves("devicePlugin.filterDevices.uuid", "devicePlugin.filterDevices.index")
def a_device_that_is_filtered_out_is_not_offered(on: OnMachine) -> None:
    node = on("t4x4")
    uuids = [one["device"] for one in devices(node, "devicePlugin.filterDevices.index=[]")]

    assert [one["index"] for one in devices(node, "devicePlugin.filterDevices.index=[0, 2]")] == [1, 3]
    assert [one["index"] for one in devices(node, f"devicePlugin.filterDevices.uuid=[{uuids[3]}]")] == [0, 1, 2]


@proves("nodes")
def an_entry_for_nodes_changes_the_nodes_that_match(on: OnMachine) -> None:
    entries = (
        "nodes=[{match: t4-*, devicePlugin.deviceSplitCount: 4}, {match: t4-node, devicePlugin: {deviceMemoryScaling: 2}}]"
    )

    found = {name: devices(on(name), entries)[0] for name in ("t4-node", "t4x4")}

    assert (found["t4-node"]["slots"], found["t4-node"]["memory"]) == (4, 2 * T4)
    assert (found["t4x4"]["slots"], found["t4x4"]["memory"]) == (10, T4)


@proves("devicePlugin.nodeConfiguration.config")
def hamis_own_spelling_of_an_entry_for_nodes_is_read(on: OnMachine) -> None:
    node = on("t4-node")
    entry = {"name": "t4-node", "operatingmode": "hami-core", "devicesplitcount": 3, "filterdevices": {"uuid": [], "index": []}}
    config = json.dumps({"nodeconfig": [entry, {"name": "elsewhere", "devicesplitcount": 7}]})
    values = node.write("values.yaml", f"devicePlugin:\n  nodeConfiguration:\n    config: |\n      {config}\n")

    assert [one["slots"] for one in node.ask("--config", values, "devices")["devices"]] == [3]


@proves("mock.devices", "mock.memory", "mock.splitCount")
def the_mock_vendor_has_what_its_settings_say(on: OnMachine) -> None:
    found = devices(on("t4-node"), "mock.devices=2,mock.memory=5000,mock.splitCount=3", "mock")

    assert [(one["memory"], one["slots"]) for one in found] == [(5000, 3)] * 2


# --- What a container gets that does not say --------------------------------------------------------------------------


@proves("scheduler.defaultMem")
def who_names_no_memory_gets_the_default(on: OnMachine) -> None:
    node = on("t4-node")

    assert [one["memory"] for one in shares(node, "scheduler.defaultMem=4000")] == [4000]
    assert [one["memory"] for one in shares(node, "scheduler.defaultMem=0")] == [T4]
    assert [one["memory"] for one in shares(node, "scheduler.defaultMem=4000", "--gpumem", "2000")] == [2000]
    refused = node.hami("--set", "scheduler.defaultMem=20000", "run", "--", "true")
    assert "20000 MiB asked (the default, none was given), 15360 in all on the largest of 1 device" in refused.stderr


@proves("scheduler.defaultCores")
def who_names_no_cores_gets_the_default(on: OnMachine) -> None:
    assert [one["cores"] for one in shares(on("t4-node"), "scheduler.defaultCores=40")] == [40]


@proves("scheduler.defaultGPUNum")
def who_names_no_count_gets_the_default(on: OnMachine) -> None:
    node = on("t4x4")

    assert len(shares(node, "scheduler.defaultGPUNum=2", "--gpumem", "1000")) == 2
    refused = node.hami("--set", "scheduler.defaultGPUNum=0", "run", "--gpumem", "1000", "--", "true")
    assert (refused.status, "nvidia.com/gpu: missing" in refused.stderr) == (125, True)


# --- Names and policies -----------------------------------------------------------------------------------------------

RENAMED: dict[str, tuple[str, int, dict[str, object]]] = {
    "resourceName": ("nvidia.com/gpu", 1, {}),
    "resourceMem": ("nvidia.com/gpumem", 2000, {"memory": 2000}),
    "resourceMemPercentage": ("nvidia.com/gpumem-percentage", 50, {"memory": T4 // 2}),
    "resourceCores": ("nvidia.com/gpucores", 20, {"cores": 20}),
    "resourcePriority": ("nvidia.com/priority", 0, {"options": {"priority": "0", "policy": "default", "oom": "refuse"}}),
}

OPTIONS = dict(zip(RENAMED, ("--gpus", "--gpumem", "--gpumem-percentage", "--gpucores", "--priority"), strict=True))


@proves(*RENAMED)
def a_renamed_resource_is_asked_for_by_its_new_name_alone(on: OnMachine) -> None:
    node = on("t4-node")
    for path, (old, value, granted) in RENAMED.items():
        new = f"example.com/{path.lower()}"
        count = {} if path == "resourceName" else {"nvidia.com/gpu": 1}
        outcomes = {name: node_plays(node, f"{path}={new}", {name: value, **count}) for name in (new, old)}

        assert outcomes[new].status == 0, outcomes[new].stderr
        (share,) = outcomes[new].document["pods"][0]["shares"]
        assert {key: share[key] for key in granted} == granted
        by_option = shares(node, f"{path}={new}", OPTIONS[path], str(value))
        assert {key: by_option[0][key] for key in granted} == granted, "the options of `hami run` mean roles, not names"
        assert outcomes[old].status == 125
        assert re.search(f"{old}: no plugin that is loaded owns this resource", outcomes[old].stderr), outcomes[old].stderr


def node_plays(node: Node, assignment: str, limits: dict[str, int]) -> Ended:
    """A pod with just these limits, under a setting."""
    pod = a_pod({"name": "main", "command": ["true"], "resources": {"limits": limits}})
    return node.hami("--set", assignment, "play", "-o", "json", "-", stdin=json.dumps(pod))


@proves("scheduler.defaultSchedulerPolicy.gpuSchedulerPolicy")
def a_pod_without_a_policy_is_placed_by_the_default_of_devices(on: OnMachine) -> None:
    pod = json.dumps(a_pod(a_container("a", gpumem=1000), a_container("b", gpumem=1000)))
    used = {
        policy: {
            share["device"]
            for share in on("t4x4")
            .hami(
                "--set", f"scheduler.defaultSchedulerPolicy.gpuSchedulerPolicy={policy}", "play", "-o", "json", "-", stdin=pod
            )
            .document["pods"][0]["shares"]
        }
        for policy in ("binpack", "spread")
    }

    assert {policy: len(devices) for policy, devices in used.items()} == {"binpack": 1, "spread": 2}


@proves("scheduler.defaultSchedulerPolicy.nodeSchedulerPolicy")
def a_pod_without_a_policy_is_placed_by_the_default_of_nodes(on: OnMachine) -> None:
    """One machine has no choice of nodes: the same decision over a table of two, of which the second is busier."""
    loaded = plugins.load()
    pod = a_pod(a_container(gpumem=1000))
    chosen = {}
    for policy in ("binpack", "spread"):
        layer = {"scheduler.defaultSchedulerPolicy.nodeSchedulerPolicy": policy}
        in_force = settings.resolve(plugins.settings_classes(loaded), [("test", layer)])
        catalogue = plugins.catalogue(loaded, in_force)
        rows = table.build([(name, [Capacity(name, "Tesla T4", 10, T4, T4)]) for name in ("idle", "busy")])
        rows.take(1, 0, 1, 5000, 0)
        asked = decision.ask(loaded.hook, catalogue, in_force, pod)
        chosen[policy] = decision.choose(loaded.hook, asked, {("nvidia", "share"): rows}).node

    assert chosen == {"binpack": 1, "spread": 0}


# --- How a driver is asked, and when a device is sick -------------------------------------------------------------------


@proves("schedulerName", "scheduler.forceOverwriteDefaultScheduler")
def a_pod_that_leaves_its_scheduler_open_goes_to_the_one_of_this_name(on: OnMachine) -> None:
    pod = door.asking(gpumem=3000)

    named = door.prepared(pod, {"schedulerName": "gpu-scheduler"})
    left = door.prepared(pod, {"scheduler.forceOverwriteDefaultScheduler": False})

    assert (named["spec"]["schedulerName"], left["spec"]["schedulerName"]) == ("gpu-scheduler", "default-scheduler")


@proves("scheduler.admissionWebhook.refusePrivileged")
def a_privileged_pod_with_a_share_is_admitted_where_that_is_allowed(on: OnMachine) -> None:
    pod = door.asking(gpumem=3000)
    pod["spec"]["hostPID"] = True

    with pytest.raises(ValidationError, match="hostPID"):
        door.review(pod)
    assert door.review(pod, {"scheduler.admissionWebhook.refusePrivileged": False}).patch


@proves("namespaceOverride")
def hamis_own_parts_are_in_this_namespace(on: OnMachine) -> None:
    found = manifests(*door.world({"namespaceOverride": "gpu-system"}))

    account = next(one for one in found if one["kind"] == "ServiceAccount")
    assert account["metadata"]["namespace"] == "gpu-system"
    assert "system:serviceaccount:gpu-system:hami-scheduler" in json.dumps(found)


@proves("scheduler.admissionWebhook.whitelistNamespaces")
def pods_of_these_namespaces_are_not_sent_to_admission(on: OnMachine) -> None:
    found = registration(*door.world({"scheduler.admissionWebhook.whitelistNamespaces": ("kube-system",)}), b"PEM")

    selector = found["webhooks"][0]["namespaceSelector"]["matchExpressions"]
    assert {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]} in selector


@proves("scheduler.admissionWebhook.url")
def a_webhook_outside_of_the_cluster_is_found_by_its_url(on: OnMachine) -> None:
    url = "https://192.0.2.7:9443/admit"

    found = registration(*door.world({"scheduler.admissionWebhook.url": url}), b"PEM")

    assert found["webhooks"][0]["clientConfig"]["url"] == url


@proves("scheduler.admissionWebhook.trustedUsers")
def another_user_may_write_what_hami_writes(on: OnMachine) -> None:
    assert "carol" in guard.trusted(door.world({"scheduler.admissionWebhook.trustedUsers": ("carol",)})[1])


@proves("scheduler.admissionWebhook.bindAddress", "scheduler.admissionWebhook.certificateHours")
def the_webhook_listens_there_with_certificates_of_this_life(on: OnMachine) -> None:
    with socket.create_server((daemons.HOST, 0)) as free:
        port = free.getsockname()[1]
    webhook = "scheduler.admissionWebhook"
    values = {f"{webhook}.bindAddress": f"{daemons.HOST}:{port}", f"{webhook}.certificateHours": 48}

    listened, life, _ = daemons.served(values)

    assert (listened, round(life / timedelta(hours=1))) == (port, 48)


@proves("scheduler.admissionWebhook.certificateFolder")
def certificates_of_somebody_else_are_served(on: OnMachine) -> None:
    made = renewed(datetime.now(UTC), [daemons.HOST], None, Lives(leaf=timedelta(hours=7)))
    folder = on("t4-node").folder
    for name, content in (("tls.crt", made.leaf.certificate), ("tls.key", made.leaf.key), ("ca.crt", made.bundle)):
        (folder / name).write_bytes(content)
    values = {"scheduler.admissionWebhook.bindAddress": ":0", "scheduler.admissionWebhook.certificateFolder": str(folder)}

    _, life, _ = daemons.served(values)

    assert round(life / timedelta(hours=1)) == 7


@proves("scheduler.admissionWebhook.drainSeconds")
def the_webhook_goes_on_for_so_long_after_it_is_told_to_end(on: OnMachine) -> None:
    webhook = "scheduler.admissionWebhook"

    *_, seconds = daemons.served({f"{webhook}.bindAddress": ":0", f"{webhook}.drainSeconds": 0.5})

    assert seconds >= 0.5


@proves("scheduler.extender.bindAddress", "scheduler.extender.httpTimeoutSeconds")
def kube_scheduler_finds_the_extender_there_and_waits_so_long(on: OnMachine) -> None:
    values = {"scheduler.extender.bindAddress": "127.0.0.7:1234", "scheduler.extender.httpTimeoutSeconds": 9}

    (extender,) = schedulers.configuration(values)["extenders"]

    assert (extender["urlPrefix"], extender["httpTimeout"]) == ("http://127.0.0.7:1234", "9s")


@proves("scheduler.extender.auth", "scheduler.extender.tokenFile")
def the_secret_word_is_a_part_of_the_url(on: OnMachine) -> None:
    word = on("t4-node").folder / "word"
    word.write_text("0123456789abcdef")
    values = {"scheduler.extender.auth": "token", "scheduler.extender.tokenFile": str(word)}

    (extender,) = schedulers.configuration(values)["extenders"]

    assert extender["urlPrefix"] == "http://127.0.0.1:9396/0123456789abcdef"


@proves(
    *(f"scheduler.extender.{name}" for name in ("certFile", "keyFile", "clientCAFile")),
    *(f"scheduler.kubeScheduler.{name}" for name in ("clientCertFile", "clientKeyFile", "extenderCAFile")),
)
def the_extender_and_kube_scheduler_show_each_other_these_certificates(on: OnMachine) -> None:
    names = ("certFile", "keyFile", "clientCAFile"), ("clientCertFile", "clientKeyFile", "extenderCAFile")
    files = {name: on("t4-node").folder / name for name in (*names[0], *names[1])}
    for file in files.values():
        file.write_text("")
    values: dict[str, object] = {f"scheduler.extender.{name}": str(files[name]) for name in names[0]}
    values |= {f"scheduler.kubeScheduler.{name}": str(files[name]) for name in names[1]}
    values["scheduler.extender.auth"] = "mtls"

    (extender,) = schedulers.configuration(values)["extenders"]
    tls = auth.access(schedulers.decided(values)[SchedulerSettings]).tls

    assert tls == auth.Tls(*(files[name] for name in names[0]))
    assert list(extender["tlsConfig"].values()) == [str(files[name]) for name in ("extenderCAFile", *names[1][:2])]


@proves("scheduler.extender.nodesReturned")
def kube_scheduler_gets_so_many_nodes(on: OnMachine) -> None:
    nodes = [f"n{n}" for n in range(5)]
    world = a_world(*map(a_node, nodes), scheduler_extender_nodesReturned=2)

    assert len(world.filter(a_waiting_pod(), *nodes)) == 2


@proves("scheduler.extender.holdSeconds")
def room_is_kept_so_long_for_a_pod_that_is_not_bound(on: OnMachine) -> None:
    world = a_world(a_node("n0", 8000), scheduler_extender_holdSeconds=3)
    world.filter(a_waiting_pod(memory=8000), "n0")

    world.clock.time += 2.9
    held = world.cluster.expire()
    world.clock.time += 0.2

    assert (held, world.cluster.expire()) == (0, 1)


@proves("scheduler.metricsBindAddress", "scheduler.identity")
def metrics_are_there_and_the_lease_of_this_name_is_ours(on: OnMachine) -> None:
    with socket.create_server((daemons.HOST, 0)) as free:
        port = free.getsockname()[1]
    values = {"scheduler.metricsBindAddress": f"127.0.0.1:{port}", "scheduler.identity": "gpu-7"}

    async def told(running: Running) -> tuple[int, str]:
        return running.info.address.port, running.follower.state.identity

    assert schedulers.at(values, told) == (port, "gpu-7")


@proves("scheduler.extender.logLevel")
def the_scheduler_logs_from_this_level_on(on: OnMachine) -> None:
    told = {}
    for level in ("info", "error"):
        with schedulers.serving({"scheduler.extender.logLevel": level}, on("t4-node").folder / f"{level}.log") as log:
            pass
        told[level] = log()  # by its end it has said that it serves, which it says after it does

    assert ('"serving"' in told["info"], told["error"]) == (True, "")


@proves("scheduler.kubeScheduler.percentageOfNodesToScore")
def kube_scheduler_looks_at_this_part_of_the_nodes(on: OnMachine) -> None:
    told = schedulers.configuration({"scheduler.kubeScheduler.percentageOfNodesToScore": 100})

    assert told["percentageOfNodesToScore"] == 100


@proves("driver.deadlineSeconds")
def a_driver_that_hangs_is_given_up_after_the_deadline(on: OnMachine) -> None:
    node = on("t4-node")
    node.hami("mock", "fault", "add", "hang", "--call", "nvmlInit*")

    done = node.hami("--set", "driver.deadlineSeconds=0.4", "devices")

    assert done.stderr.splitlines()[0] == "hami: nvidia: hami_discover gave no answer within 0.4 s, and was given up"


@proves("devicePlugin.disableHealthChecks", "devicePlugin.enableHealthChecks", "devicePlugin.healthRecoverySeconds")
def the_xids_that_settings_name_count_or_not_and_as_long_as_they_say(on: OnMachine) -> None:
    """Of four GPUs each reports one Xid: 48 counts unless it is left out, 13 counts if it is asked for; and then no more."""
    node = on("t4x4")
    rules = (
        "devicePlugin.disableHealthChecks=48",
        "devicePlugin.enableHealthChecks=13",
        "devicePlugin.healthRecoverySeconds=1",
    )
    sets = [word for rule in rules for word in ("--set", rule)]
    watching = node.start(*sets, "health", "--watch", "--every", "0.1")
    watching.until("nvidia 3")
    for gpu, xid in enumerate((48, 31, 13, 79)):
        node.hami("mock", "xid", str(gpu), str(xid))

    changes = [watching.until("nvidia").split("  ", 3)[1:4:2] for _ in range(4)]

    assert [words for gpu, words in changes if gpu == "nvidia 2"] == ["sick: Xid 13", "well"]
    assert [words for gpu, words in changes if gpu == "nvidia 3"] == ["sick: Xid 79: the GPU has fallen off the bus", "well"]


FOLDERS = ("pluginPath", "hostFolder", "podResourcesPath", "metricsBindAddress")
LOOKS = ("healthCheckSeconds", "healthSettleSeconds", "healthSilenceSeconds", "discoverySeconds")
proves(*(f"devicePlugin.{name}" for name in FOLDERS))(effects.the_agent_finds_the_kubelet_and_keeps_its_files_in_these_folders)
proves(*(f"devicePlugin.{name}" for name in LOOKS))(effects.the_agent_looks_so_often_and_waits_so_long)
proves("devicePlugin.logLevel")(effects.the_agent_logs_from_this_level_on)

EACH = list(dict.fromkeys(PROOFS.values()))


@pytest.mark.slow
@pytest.mark.parametrize("proof", EACH, ids=[proof.__name__ for proof in EACH])
def test_a_setting_takes_effect(on: OnMachine, proof: Proof) -> None:
    proof(on)
