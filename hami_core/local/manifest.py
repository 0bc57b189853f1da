"""Pod manifests: YAML in, checked values out. What cannot be carried out on this host is named, never left out in silence.

The core's own reading of the same manifest (``requests``: what is asked of devices) takes ``PodSpec.manifest`` and is not here;
which fields there are, and what becomes of each, is in ``fields``. ``run`` makes the manifest of a single command itself.
"""

from __future__ import annotations

import difflib
import re
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from hami_core import requests
from hami_core.errors import ManifestError, QuantityError
from hami_core.local import fields
from hami_core.local.fields import Refused
from hami_core.local.variables import expand
from hami_core.quantity import whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hami_core.local.fields import Fields
    from hami_core.model import Pod
    from hami_core.plugins import Catalogue

NEVER, ON_FAILURE, ALWAYS = "Never", "OnFailure", "Always"
INIT, SIDECAR, MAIN = "init", "sidecar", "main"
GRACE = 30  # seconds; Kubernetes' default of terminationGracePeriodSeconds

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_REFERENCE = re.compile(r"metadata\.(name|namespace|uid|labels\['(.+)'\]|annotations\['(.+)'\])")
_KUBERNETES = ("cpu", "memory", "ephemeral-storage", "storage")


@frozen
class Container:
    """One container, ready to be started on this host."""

    name: str
    role: str  # INIT, SIDECAR or MAIN
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    folder: str  # "": that of the caller
    restart: str  # NEVER, ON_FAILURE or ALWAYS


@frozen
class PodSpec:
    """One pod, checked. ``label`` is its name, made unique where several of a command are called the same."""

    label: str
    name: str
    namespace: str
    uid: str  # new for every run: one manifest may run several times at once
    containers: tuple[Container, ...]  # in the order of the manifest, init containers and sidecars first
    grace: int  # seconds between SIGTERM and SIGKILL
    deadline: int | None  # seconds that it may run
    notes: tuple[str, ...]  # what has no effect here, one sentence each
    manifest: Pod  # as written, with the uid


def read(sources: Iterable[str], catalogue: Catalogue) -> tuple[PodSpec, ...]:
    """The pods of these files ("-": standard input), in order.

    ManifestError: no YAML, not a Pod, or a field that is missing, misspelt, of the wrong form or not possible here.
    """
    pods = []
    for source in sources:
        documents = [document for document in _documents(source) if document is not None]
        if not documents:
            raise ManifestError(_shown(source), "", "is empty; write a Pod (apiVersion: v1, kind: Pod)")
        pods += [pod(document, _shown(source), catalogue) for document in documents]
    return _unique(pods)


def pod(document: object, source: str, catalogue: Catalogue) -> PodSpec:
    """One checked pod. ``source`` names the manifest in messages."""
    return _Reader(source, tuple(catalogue.resources())).pod(document)


def _shown(source: str) -> str:
    return "standard input" if source == "-" else source


def _documents(source: str) -> Iterator[Any]:
    import yaml

    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        yield from yaml.load_all(text, _strict_loader())
    except OSError as error:
        raise ManifestError(
            source, "", f"{error.strerror}; give the path of a Pod manifest, or - for standard input"
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(_shown(source), "", "is not UTF-8 text; give a Pod manifest in YAML or JSON") from error
    except yaml.MarkedYAMLError as error:
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if (mark := error.problem_mark) else ""
        raise ManifestError(_shown(source), "", f"no YAML: {error.problem}{place}") from error
    except yaml.YAMLError as error:
        raise ManifestError(_shown(source), "", f"no YAML: {' '.join(str(error).split())}") from error


def _strict_loader() -> Any:
    """PyYAML's safe loader, less its silence about a key that is written twice: the last would win, and a limit be lost."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]  # the C loader is there or not
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for key, count in Counter(map(str, keys)).items():
                if count > 1 and key != "<<":
                    raise yaml.constructor.ConstructorError(
                        None, None, f'the key "{key}" is written {count} times', node.start_mark
                    )
            return super().construct_mapping(node, deep)

    return Loader


def _unique(pods: Sequence[PodSpec]) -> tuple[PodSpec, ...]:
    """Pods of one name get labels gpu-pod, gpu-pod#2, ...: nobody here keeps names unique, as an API server would."""
    seen: Counter[str] = Counter()
    labelled = []
    for one in pods:
        seen[one.name] += 1
        labelled.append(evolve(one, label=one.name if seen[one.name] == 1 else f"{one.name}#{seen[one.name]}"))
    return tuple(labelled)


class _Reader:
    """Reads one manifest; knows where it came from, for messages, and collects notes."""

    def __init__(self, source: str, known: Sequence[str]) -> None:
        self.source, self.known = source, known
        self.notes: list[str] = []

    def pod(self, document: object) -> PodSpec:
        tree = self.a_pod(document)
        metadata = self.mapping(tree.get("metadata"), "metadata", fields.METADATA)
        name = self.name(metadata.get("name"), "metadata.name", _SUBDOMAIN)
        uid = str(uuid.uuid4())
        metadata = {**metadata, "namespace": self.text(metadata.get("namespace", "default"), "metadata.namespace"), "uid": uid}
        for which in ("labels", "annotations"):
            metadata[which] = self.texts(metadata.get(which), f"metadata.{which}")
        spec = self.mapping(tree.get("spec"), "spec", fields.SPEC)
        containers = self.containers(spec, metadata)
        grace = self.seconds(spec, "terminationGracePeriodSeconds", 0)
        return PodSpec(
            label=name,
            name=name,
            namespace=str(metadata["namespace"]),
            uid=uid,
            containers=containers,
            grace=GRACE if grace is None else grace,
            deadline=self.seconds(spec, "activeDeadlineSeconds", 1),
            notes=tuple(dict.fromkeys(self.notes)),
            manifest={**tree, "metadata": metadata},
        )

    def fault(self, path: str, message: str) -> ManifestError:
        return ManifestError(self.source, path, message)

    # --- What is read -------------------------------------------------------------------------------------------------

    def a_pod(self, document: object) -> dict[str, Any]:
        if not isinstance(document, dict):
            raise self.fault("", "is not a Pod but a plain value; write a Pod (apiVersion: v1, kind: Pod)")
        if document.get("kind") != "Pod":
            raise self.fault("kind", f"{document.get('kind', 'missing')} is not a Pod; write its pods as kind: Pod")
        if document.get("apiVersion") != "v1":
            raise self.fault("apiVersion", f"{document.get('apiVersion', 'missing')}: a Pod has apiVersion: v1")
        return self.mapping(document, "", fields.DOCUMENT)

    def containers(self, spec: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[Container, ...]:
        policy = self.restart_policy(spec)
        found = []
        for which in ("initContainers", "containers"):
            for number, item in enumerate(self.items(spec.get(which), f"spec.{which}")):
                path = f"spec.{which}[{number}]"
                found.append(self.container(self.mapping(item, path, fields.CONTAINER), path, policy, metadata))
        if not any(container.role == MAIN for container in found):
            raise self.fault("spec.containers", "missing; a Pod has at least one container")
        for name, count in Counter(container.name for container in found).items():
            if count > 1:
                raise self.fault("spec", f'{count} containers have the name "{name}"; names are unique within a pod')
        return tuple(found)

    def restart_policy(self, spec: Mapping[str, Any]) -> str:
        policy = spec.get("restartPolicy")
        if policy is None:
            self.notes.append(
                "spec.restartPolicy is missing: a cluster would restart them for ever (Always); here they run once (Never)"
            )
            return NEVER
        if policy not in {NEVER, ON_FAILURE, ALWAYS}:
            raise self.fault("spec.restartPolicy", f"{policy}: give Never, OnFailure or Always")
        return str(policy)

    def container(self, spec: Mapping[str, Any], path: str, policy: str, metadata: Mapping[str, Any]) -> Container:
        name = self.name(spec.get("name"), f"{path}.name", _LABEL)
        role = self.role(spec, path)
        env = self.env(spec, path, metadata)
        self.resources(spec, path)
        if image := spec.get("image"):
            self.notes.append(f'the image {image} is not pulled: container "{name}" runs programs of this host')
        return Container(
            name=name,
            role=role,
            argv=self.argv(spec, path, env),
            env=tuple(env.items()),
            folder=self.text(spec.get("workingDir", ""), f"{path}.workingDir"),
            restart=_restart(role, policy),
        )

    def role(self, spec: Mapping[str, Any], path: str) -> str:
        policy = spec.get("restartPolicy")
        if policy is not None and not (path.startswith("spec.init") and policy == ALWAYS):
            raise self.fault(
                f"{path}.restartPolicy", f"{policy}: only Always, on an init container (a sidecar), is possible here"
            )
        if requests.is_sidecar(spec):
            return SIDECAR
        return INIT if path.startswith("spec.init") else MAIN

    def argv(self, spec: Mapping[str, Any], path: str, env: Mapping[str, str]) -> tuple[str, ...]:
        if not spec.get("command"):
            raise self.fault(f"{path}.command", "missing; what the image would run is not known here, so say it")
        words = [
            self.text(word, f"{path}.{which}[{number}]")
            for which in ("command", "args")
            for number, word in enumerate(self.items(spec.get(which), f"{path}.{which}"))
        ]
        return tuple(expand(word, env) for word in words)

    def env(self, spec: Mapping[str, Any], path: str, metadata: Mapping[str, Any]) -> dict[str, str]:
        env: dict[str, str] = {}
        for number, item in enumerate(self.items(spec.get("env"), f"{path}.env")):
            here = f"{path}.env[{number}]"
            variable = self.mapping(item, here, fields.VARIABLE)
            name = self.text(variable.get("name"), f"{here}.name")
            if not name or "=" in name:
                raise self.fault(f"{here}.name", f'"{name}": give the name of a variable')
            if variable.get("valueFrom") is not None:
                env[name] = self.referred(variable["valueFrom"], f"{here}.valueFrom", metadata)
            else:
                env[name] = expand(self.text(variable.get("value", ""), f"{here}.value"), env)
        return env

    def referred(self, source: object, path: str, metadata: Mapping[str, Any]) -> str:
        reference = self.mapping(self.mapping(source, path, fields.SOURCE).get("fieldRef"), f"{path}.fieldRef")
        wanted = self.text(reference.get("fieldPath"), f"{path}.fieldRef.fieldPath")
        match = _REFERENCE.fullmatch(wanted)
        if match is None:
            hint = "possible here are metadata.name, .namespace, .uid, .labels['key'] and .annotations['key']"
            raise self.fault(f"{path}.fieldRef.fieldPath", f"{wanted}: {hint}")
        plain, label, annotation = match.groups()
        if label or annotation:
            return str(metadata["labels" if label else "annotations"].get(label or annotation, ""))
        return str(metadata[plain])

    def resources(self, spec: Mapping[str, Any], path: str) -> None:
        found = self.mapping(spec.get("resources"), f"{path}.resources", fields.RESOURCES)
        for which in ("limits", "requests"):
            for name in self.mapping(found.get(which), f"{path}.resources.{which}"):
                if name in _KUBERNETES or name.startswith("hugepages-"):
                    self.notes.append(f"{name}: not limited here; devices alone are")
                elif name not in self.known:
                    raise self.fault(f"{path}.resources.{which}.{name}", self.unknown_resource(name))

    def unknown_resource(self, name: str) -> str:
        near = difflib.get_close_matches(name, [*self.known, *_KUBERNETES], n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else "`hami plugins` shows whose names are known"
        return f"no plugin that is loaded owns this resource ({hint})"

    # --- Forms --------------------------------------------------------------------------------------------------------

    def mapping(self, value: object, path: str, known: Fields | None = None) -> dict[str, Any]:
        """The fields that are there, less those that say nothing; each of them known, if ``known`` is given."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.fault(path, f"{_brief(value)} where names and values belong")
        found = {str(key): item for key, item in value.items() if item is not None}
        if known is not None:
            for key, item in found.items():
                self.known_field(f"{path}.{key}" if path else key, key, item, known)
        return found

    def known_field(self, path: str, key: str, item: object, known: Fields) -> None:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise self.fault(path, f"unknown field{f' (did you mean {near[0]}?)' if near else ''}")
        verdict = known[key]
        if verdict is None or not _says_something(key, item):
            return
        if isinstance(verdict, Refused):
            raise self.fault(path, f"not possible on one host: {verdict.instead}")
        self.notes.append(f"{path} has no effect here: {verdict.why}")

    def items(self, value: object, path: str) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.fault(path, f"{_brief(value)} where a list belongs")
        return value

    def texts(self, value: object, path: str) -> dict[str, str]:
        return {key: self.text(item, f"{path}.{key}") for key, item in self.mapping(value, path).items()}

    def text(self, value: object, path: str) -> str:
        if not isinstance(value, str):
            missing = "missing" if value is None else f'{_brief(value)} is no text; write it in quotes ("{_plain(value)}")'
            raise self.fault(path, missing)
        if "\0" in value:
            raise self.fault(path, "holds a zero byte, which no process can be given")
        return value

    def name(self, value: object, path: str, form: re.Pattern[str]) -> str:
        if value is None:
            raise self.fault(path, "missing; give a name of small letters, digits and hyphens")
        text = self.text(value, path)
        if not form.fullmatch(text):
            raise self.fault(path, f'"{text}": give a name of small letters, digits and hyphens')
        return text

    def seconds(self, spec: Mapping[str, Any], key: str, least: int) -> int | None:
        if key not in spec:
            return None
        try:
            number = whole(spec[key], "seconds")
        except QuantityError as error:
            raise self.fault(f"spec.{key}", f"{error.value}: {error.hint}") from error
        if number < least:
            raise self.fault(f"spec.{key}", f"{number}: give a whole number of at least {least}")
        return number


def _restart(role: str, policy: str) -> str:
    """Sidecars always; an init container never after it succeeded."""
    if role == SIDECAR:
        return ALWAYS
    return ON_FAILURE if role == INIT and policy == ALWAYS else policy


def _says_something(key: str, item: object) -> bool:
    """An empty list, an empty mapping and a false flag are what most fields are without being written."""
    return item is False if key == "hostUsers" else bool(item)


def _brief(value: object) -> str:
    if isinstance(value, bool | int | float | str):
        return repr(value)
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a value of another form"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
