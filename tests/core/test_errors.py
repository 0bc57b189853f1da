"""The tree of errors: every one is drawn, says its sentence, and survives a process boundary."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from hami_core import errors
from hami_core.errors import HamiError

CLASSES = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, HamiError)]
MADE = [
    (errors.ValidationError("f", 1, "hint", "there"), "f: 1 in there: hint"),
    (errors.ValidationError("f", 1, "hint"), "f: 1: hint"),
    (errors.QuantityError("3Gi", "hint"), "3Gi: hint"),
    (errors.SettingsError("a.b", "is wrong", "--set"), "settings (--set): a.b: is wrong"),
    (errors.ManifestError("pod.yaml", "$.spec", "is wrong"), "pod.yaml: $.spec: is wrong"),
    (errors.ManifestError("pod.yaml", "", "is no Pod"), "pod.yaml: is no Pod"),
    (errors.WireError("grant", "$.v", "is wrong"), "grant @ $.v: is wrong"),
    (errors.DriverError("acme", "is gone", "d0"), "acme: d0: is gone"),
    (errors.DriverError("acme", "is gone"), "acme: is gone"),
    (errors.PluginError("acme", "is wrong", "hami_fit"), 'plugin "acme": hook hami_fit: is wrong'),
    (errors.PluginError("acme", "is wrong"), 'plugin "acme": is wrong'),
]


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn, path = {}, {0: "HamiError"}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"( *(?:\| *)*)\+ (\w+)", line):
            depth = len(match[1]) // 4 + 1
            path[depth] = match[2]
            drawn[match[2]] = path[depth - 1]

    assert drawn == {one.__name__: one.__mro__[1].__name__ for one in CLASSES if one is not HamiError}


@pytest.mark.parametrize(("error", "sentence"), MADE, ids=range(len(MADE)))
def test_an_error_says_its_sentence_in_another_process_too(error: HamiError, sentence: str) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert (str(error), str(again)) == (sentence, sentence)
    assert vars(again) == vars(error)
