"""What a pod wishes beside numbers, in its annotations: policies, weights, which devices may serve. From text to values.

Pure, and without arithmetic: what the words do is in ``choice``, ``policies`` and ``selection``. The keys of policies are the
core's own; those by which devices are selected belong to the vendor, who gives them as ``Keys``. A word that means nothing is
refused with those that do: HAMi takes it for a default in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Factory, frozen

from hami_core import names
from hami_core.errors import ValidationError
from hami_core.model import DEVICE_POLICIES, ID, MODEL, NODE_POLICIES, SPLITTING, Policy, Selector, Weights

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hami_core.model import Pod

WHERE = "the pod's annotations"
_TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}  # as Go reads a bool, in any case


_POLICY_KEYS = {names.NODE_POLICY, names.DEVICE_POLICY, names.SCORING_WEIGHTS}
_NEAR = 0.9  # of difflib's ratio: one or two letters of a key


@frozen
class Keys:
    """The annotations by which a vendor's users select devices. Empty: there is no such key."""

    use_model: str = ""
    avoid_model: str = ""
    use_id: str = ""
    avoid_id: str = ""
    numa_bind: str = ""
    splitting: str = ""
    splittings: Mapping[str, str] = Factory(dict)  # the vendor's word -> the splitting's name

    def all(self) -> tuple[str, ...]:
        """Every key in use."""
        keys = (self.use_model, self.avoid_model, self.use_id, self.avoid_id, self.numa_bind, self.splitting)
        return tuple(key for key in keys if key)


NO_KEYS = Keys()


def written(pod: Pod) -> Mapping[str, Any]:
    """The annotations of a pod; there may be none."""
    return (pod.get("metadata") or {}).get("annotations") or {}


def policy(pod: Pod, default: Policy) -> Policy:
    """The pod's own policies where it names them. ValidationError: a word or a weight that means nothing."""
    own = written(pod)
    if not _POLICY_KEYS & own.keys():
        return default
    node = str(own.get(names.NODE_POLICY, default.node)).strip()
    if node not in NODE_POLICIES:
        raise ValidationError(names.NODE_POLICY, node, f"give {' or '.join(NODE_POLICIES)}", WHERE)
    device = device_policy(str(own[names.DEVICE_POLICY])) if names.DEVICE_POLICY in own else default.device
    weights = _weights(str(own[names.SCORING_WEIGHTS])) if names.SCORING_WEIGHTS in own else default.weights
    return Policy(node, device, weights)


def device_policy(text: str, field: str = names.DEVICE_POLICY) -> tuple[str, ...]:
    """The words of a list of device policies, in their order, repeats dropped. ValidationError: one that means nothing."""
    words = _words(text)
    unknown = [word for word in words if word not in DEVICE_POLICIES]
    if unknown or not words:
        hint = f"give one or more of {', '.join(DEVICE_POLICIES)}, separated by commas"
        raise ValidationError(field, unknown[0] if unknown else '""', hint, WHERE)
    return words


def _weights(text: str) -> Weights:
    """All three, once each, as HAMi wants them: a forgotten one is a mistake and no default."""
    pairs = [tuple(map(str.strip, item.partition("=")[::2])) for item in text.split(",")]
    if sorted(name for name, _ in pairs) != ["core", "memory", "slot"]:
        raise _bad_weights(text)
    try:
        return Weights(**{name: _weight(number) for name, number in pairs})
    except ValueError:
        raise _bad_weights(text) from None


def _weight(text: str) -> float:
    """A plain decimal number; no exponents, no infinities, nothing below 0."""
    if not text.replace(".", "", 1).isdecimal() or not text.isascii() or len(text) > 9:
        raise ValueError(text)
    return float(text)


def _bad_weights(text: str) -> ValidationError:
    hint = "give slot, core and memory once each, none negative and one of them positive, as in slot=1,core=1,memory=3"
    return ValidationError(names.SCORING_WEIGHTS, text, hint, WHERE)


def selectors(pod: Pod, keys: Keys) -> tuple[Selector, ...]:
    """Which devices may serve, by the vendor's keys. ValidationError: a list without a word, a splitting that is none."""
    own = written(pod)
    if not own:
        return ()
    wanted = (
        (keys.use_model, MODEL, False),
        (keys.avoid_model, MODEL, True),
        (keys.use_id, ID, False),
        (keys.avoid_id, ID, True),
    )
    found = [Selector(key, _listed(own, key), by, out) for key, by, out in wanted if key and key in own]
    if keys.splitting and keys.splitting in own:
        found.append(Selector(keys.splitting, _splittings(keys, str(own[keys.splitting])), SPLITTING))
    return tuple(found)


def _listed(own: Mapping[str, Any], key: str) -> tuple[str, ...]:
    words = _words(str(own[key]))
    if not words:
        raise ValidationError(key, '""', "give one or more, separated by commas, or remove the annotation", WHERE)
    return words


def _splittings(keys: Keys, text: str) -> tuple[str, ...]:
    words = _words(text)
    unknown = [word for word in words if word not in keys.splittings]
    if unknown or not words:
        hint = f"give one or more of {', '.join(keys.splittings)}, separated by commas"
        raise ValidationError(keys.splitting, unknown[0] if unknown else '""', hint, WHERE)
    return tuple(keys.splittings[word] for word in words)


def numa_bind(pod: Pod, keys: Keys) -> str:
    """The key by which the pod wants its containers' devices on one NUMA node; empty if it does not. ValidationError."""
    own = written(pod)
    if not keys.numa_bind or keys.numa_bind not in own:
        return ""
    word = str(own[keys.numa_bind]).strip().lower()
    if word not in _TRUTH:
        raise ValidationError(keys.numa_bind, own[keys.numa_bind], "give true or false", WHERE)
    return keys.numa_bind if _TRUTH[word] else ""


def misspelt(pod: Pod, keys: Keys) -> tuple[str, ...]:
    """A sentence for each annotation that is almost one of ours, and therefore no wish. Others' own annotations are theirs."""
    known = (*_POLICY_KEYS, *keys.all())
    domains = tuple({f"{key.partition('/')[0]}/" for key in known})
    strange = [key for key in written(pod) if key not in known and key.startswith(domains)]
    if not strange:
        return ()
    import difflib

    near = ((key, difflib.get_close_matches(key, known, n=1, cutoff=_NEAR)) for key in strange)
    return tuple(f"the annotation {key} has no effect; did you mean {found[0]}?" for key, found in near if found)


def defaulted(pod: Pod) -> Collection[str]:
    """What admission says that it wrote where the user gave nothing (``names.defaulted_amount``)."""
    return _words(str(written(pod).get(names.DEFAULTED, "")))


def cordoned(node_annotations: Mapping[str, Any]) -> Collection[str]:
    """The ids of the devices that a node's operator has taken out of service; spaces and empty items are nothing."""
    return frozenset(_words(str(node_annotations.get(names.DEVICE_CORDON, ""))))


def _words(text: str) -> tuple[str, ...]:
    """The items of a comma list in their order, without repeats and without those that are empty."""
    return tuple(dict.fromkeys(word for item in text.split(",") if (word := item.strip())))
