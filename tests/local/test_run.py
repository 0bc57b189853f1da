from __future__ import annotations

import pytest

from hami_core.errors import UserError
from hami_core.local import run
from hami_core.plugins import Catalogue
from tests.local.acme import KIND

CATALOGUE = Catalogue((KIND,), {"acme": "acme"}, {"acme": ()})


def test_flags_become_the_limits_of_their_kind() -> None:
    assert run.limits(run.kind(CATALOGUE, "acme"), {"count": "1", "memory": "3k"}) == {
        "acme.dev/card": "1",
        "acme.dev/mem": "3k",
    }


def test_a_flag_that_the_kind_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match="it knows acme"):
        run.limits(KIND, {"priority": "1"})


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r'kind "nope": no plugin that is loaded knows such devices \(known: acme\)'):
        run.kind(CATALOGUE, "nope")


@pytest.mark.parametrize("item", ["a", "a=", "=1", ""])
def test_a_limit_is_a_name_and_a_number(item: str) -> None:
    with pytest.raises(UserError, match="write name=number"):
        run.assignments([item])


def test_a_limit_that_is_given_twice_is_refused() -> None:
    assert run.assignments([" a = 1 ", "b=2"]) == {"a": "1", "b": "2"}
    with pytest.raises(UserError, match="a is given twice"):
        run.assignments(["a=1", "a=2"])


def test_a_command_is_a_pod_that_runs_once_with_its_words_as_they_are() -> None:
    pod = run.pod(["/usr/bin/Nvidia_SMI", "$(HOME)", "$$"], {"acme.dev/card": "1"}, CATALOGUE)

    (container,) = pod.containers
    assert (pod.name, container.restart) == ("nvidia-smi", "Never")
    assert container.argv == ("/usr/bin/Nvidia_SMI", "$(HOME)", "$$")


@pytest.mark.parametrize(("program", "name"), [("/bin/[", "command"), ("./-x-", "x"), ("a" * 99, "a" * 63)])
def test_every_program_gives_a_name(program: str, name: str) -> None:
    assert run.pod([program], {}, CATALOGUE).name == name
