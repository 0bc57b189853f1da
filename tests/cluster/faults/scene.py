"""A scheduler pair whose extender reaches the API server through the proxy, fake nodes, pods, and the verdict at the end."""

from __future__ import annotations

import json
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import yaml
from attrs import define, field, frozen

from hami_core import names
from hami_core.testing.cluster import nodes
from hami_core.testing.cluster.api import ApiRefused
from hami_core.testing.cluster.commands import ADMINS
from tests.cluster.faults import audit, history
from tests.cluster.faults.history import Recorder
from tests.cluster.faults.proxy import Proxy, Upstream
from tests.cluster.scheduling import GROUPS, SECONDS, USER, Pair, a_pod, hami, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.api import Api
    from hami_core.testing.cluster.nodes import FakeNode, Simulated
    from hami_core.testing.cluster.programs import Program

OURS = "hami-system"
BACKOFF = {"podInitialBackoffSeconds": 1, "podMaxBackoffSeconds": 2}  # of ten seconds nothing would be learnt
NOW = {"gracePeriodSeconds": "0"}
Pod = dict[str, Any]


def installed(plane: ControlPlane) -> None:
    """Our namespace, rights and policies, as the commands print them."""
    plane.make_namespace(OURS)
    for words in (("scheduler", "manifests"), ("webhook", "manifests")):
        documents = [one for one in yaml.safe_load_all(hami(*words)) if "WebhookConfiguration" not in one["kind"]]
        plane.apply(*documents)


def upstream(plane: ControlPlane, user: str = USER) -> Upstream:
    """The API server, as this user."""
    return Upstream(plane.url, plane.certificates.ca, *plane.certificates.client_files(user, GROUPS))


@define(eq=False)
class Behind(Pair):
    """A pair whose extender sees the API server through a proxy only. ``runner``: a program of the test that runs ours."""

    through: Proxy | None = None
    runner: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(factory=dict)

    @property
    def proxy(self) -> Proxy:
        """Where its faults are scripted."""
        assert self.through
        return self.through

    def start(self) -> Pair:
        """Both; kube-scheduler's back-off is short, and its way to the API server is straight."""
        self.start_extender()
        configuration = {**yaml.safe_load(hami("scheduler", "config", sets=self.settings)), **BACKOFF}
        self.plane.start_scheduler(configuration, name=self.scheduler, host=self.host, user=USER, groups=GROUPS)
        return self

    def start_extender(self) -> Program:
        """The extender alone."""
        kubeconfig = self.plane.folder / f"{self.host}-through-the-proxy"
        kubeconfig.write_text(self.proxy.kubeconfig())
        program = self.runner or (sys.executable, "-m", "hami_core.cli")
        command = [*program, "scheduler", "serve", "--kubeconfig", str(kubeconfig)]
        return self.plane.run(self.extender, command, host=self.host, env={"HAMI_SET": self.settings, **self.environment})

    def ask(self, verb: str, body: Mapping[str, Any]) -> Any:
        """The extender's answer, as kube-scheduler would get it."""
        request = urllib.request.Request(f"{self.address}/{verb}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def status(self, path: str, body: bytes) -> int:
        """Of the answer to this body."""
        try:
            with urllib.request.urlopen(f"{self.address}/{path}", body, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    @property
    def address(self) -> str:
        """The extender's URL."""
        return f"http://127.0.0.1:{self.plane.ports[f'{self.host}-extender']}"

    def books(self) -> dict[audit.Where, audit.Room]:
        """What it counts as taken."""
        return audit.books(self.get("/metrics/devices").decode())

    def metric(self, sample: str) -> float:
        """One sample of /metrics, by its name and labels as they are written there; 0 if it is not there."""
        lines = self.get("/metrics").decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), 0.0)


@frozen
class Verdict:
    """What the checker found, by kind."""

    doubles: tuple[str, ...] = ()  # a device beyond its room, a pod bound or granted twice, a grant without a Binding
    leaks: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()


CLEAN = Verdict()


@define(eq=False)
class Scene:
    """One test's world on a control plane: its nodes, its namespace, and a witness."""

    plane: ControlPlane
    simulated: Simulated
    namespace: str
    recorder: Recorder
    api: Api
    agent: Api  # who may publish devices
    there: list[FakeNode] = field(factory=list)

    # --- Nodes. ---

    def add_nodes(self, count: int, **more: Any) -> list[FakeNode]:
        """So many alike."""
        made = [self.simulated.node(f"{self.namespace}-{len(self.there) + n}", **more) for n in range(count)]
        nodes.publish(self.agent, self.simulated, made)
        self.there += made
        return made

    def change(self, node: FakeNode) -> None:
        """The node publishes something else from now on."""
        nodes.update(self.agent, self.simulated, node)

    # --- Pods. ---

    @property
    def pods_path(self) -> str:
        """Of the namespace."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def create(self, *pods: Mapping[str, Any]) -> None:
        """As admission leaves them."""
        self.api.each(lambda pod: self.api.create(self.pods_path, pod), pods)

    def burst(self, count: int, limits: Mapping[str, object], prefix: str = "pod") -> None:
        """So many alike, at once."""
        self.create(*(a_pod(f"{prefix}-{n}", limits) for n in range(count)))

    def delete(self, *pods: str, grace: int = 0) -> None:
        """Gone at once, or after so many seconds of grace; who is gone already is."""
        for name in pods:
            try:
                self.api.delete(f"{self.pods_path}/{name}", gracePeriodSeconds=str(grace))
            except ApiRefused as error:
                if error.status != 404:
                    raise

    def pods(self) -> list[Pod]:
        """As they are."""
        return list(self.api.get(self.pods_path)["items"])

    def bound(self) -> int:
        """How many pods have a node."""
        return sum(bool(pod["spec"].get("nodeName")) for pod in self.pods())

    def all_bound(self, seconds: float = SECONDS) -> None:
        """Wait until no pod waits."""
        try:
            wait_for(lambda: not audit.stuck(self.pods()), "all pods bound", seconds)
        except AssertionError:
            print("--- pods that wait:", *(_why(pod) for pod in self.pods() if not pod["spec"].get("nodeName")), sep="\n")  # noqa: T201
            raise

    # --- The verdict. ---

    def verdict(self, *pairs: Behind, seconds: float = 20.0) -> Verdict:
        """Judged when the books have had time to follow: who leads must count what the pods hold, within these seconds."""
        pods = self.everybody()
        leaking: tuple[str, ...] = ()
        leader = wait_for(lambda: next((pair for pair in pairs if pair.leads()), None), "a leader", seconds) if pairs else None
        if leader:
            try:
                wait_for(lambda: not self._leaks(leader), "the books in order", seconds)
            except AssertionError:
                leaking = tuple(self._leaks(leader))
        log = [one for one in self.plane.audited() if one.namespace == self.namespace]
        bindings = list(history.bindings(log))
        cut_off = {(one.namespace, one.name) for one in self.plane.unanswered()}  # nobody knows what these said
        told = [pod for pod in pods if (pod["metadata"]["namespace"], pod["metadata"]["name"]) not in cut_off]
        there = self.recorder.there()
        doubles = (
            *audit.replay(self.recorder.steps(), there),
            *audit.replay(history.steps(log), there),
            *audit.doubles(bindings),
            *audit.unfounded(told, bindings, USER),
            *history.unreadable(pods),
        )
        return Verdict(doubles, leaking, tuple(audit.stuck(self.pods())))

    def everybody(self) -> list[Pod]:
        """All pods of the namespace that hold or may hold something."""
        return [pod for pod in self.pods() if pod["metadata"].get("labels", {}).get(names.PREPARED) == "true"]

    def _leaks(self, pair: Behind) -> list[str]:
        """What is held on devices that are not there now is not in the books: see Fleet."""
        here = {where: one for node in self.api.get(nodes.NODES)["items"] for where, one in history.offered(node).items()}
        held = audit.live(self.pods(), self.recorder.there())
        return audit.leaks(pair.books(), {where: one for where, one in held.items() if where in here})


@contextmanager
def scene(plane: ControlPlane, simulated: Simulated, namespace: str) -> Iterator[Scene]:
    """With a fresh namespace; its nodes and pods go at the end, and the witness is heard no more."""
    api, agent = plane.api(), plane.api(names.user(OURS, names.NODE_AGENT), ADMINS)
    with Recorder.of(plane) as recorder:
        made = Scene(plane, simulated, namespace, recorder, api, agent)
        yield made
    api.delete(made.pods_path, **NOW)
    nodes.remove(api, *(node.name for node in made.there))


@contextmanager
def pair(
    plane: ControlPlane, host: str = "one", *, seed: int = 0, keep: bool = True, leads: bool = True, **more: Any
) -> Iterator[Behind]:
    """A pair behind a proxy of its own; ended with the block. What it logged is shown where a test fails.

    ``keep``: a kube-scheduler that ends is started again. ``leads``: it leads before anything else happens.
    """
    with Proxy(upstream(plane), seed) as proxy:
        both = Behind(plane, host, through=proxy, **more)
        try:
            both.start()
            with _kubelet(plane[both.scheduler]) if keep else nullcontext():
                wait_for((both.leads if leads else lambda: both.state().get("ready")), f"up: {both.state()}")
                yield both
        finally:
            print(f"--- the extender of {host}, its last lines:", *both.log().splitlines()[-40:], sep="\n")  # noqa: T201
            print("--- its kube-scheduler:", plane.programs[both.scheduler].tail(10), sep="\n")  # noqa: T201
            proxy.calm()
            both.stop()


@contextmanager
def _kubelet(program: Program) -> Iterator[None]:
    """Starts a kube-scheduler again that has ended by itself: it does when it loses the Lease."""
    stop = threading.Event()

    def keep() -> None:
        while not stop.wait(0.2):
            if not program.running:
                program.start()

    keeper = threading.Thread(target=keep, name="kubelet")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _why(pod: Pod) -> str:
    """What is known of a pod that waits."""
    told = [one.get("message", "") for one in pod["status"].get("conditions", [])]
    return f"{pod['metadata']['name']}: {told} {pod['metadata'].get('annotations')}"
