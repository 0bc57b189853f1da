from __future__ import annotations

import pytest

from hami_core.errors import UserError
from hami_core.local import naming, pods
from hami_core.local.pods import Known, Record
from hami_core.local.procfs import Identity


def a_pod(name: str, uid: str, phase: str = pods.RUNNING, namespace: str = "default") -> Known:
    return Known(Record(uid, name, namespace, ("main", "sidecar"), Identity(1, 1), 0), phase)


TRAIN, TRAINER, EVAL = a_pod("train", "aa11"), a_pod("trainer", "ab22"), a_pod("eval", "cc33", namespace="team")
OLD, OLDER = a_pod("batch", "dd44", pods.ENDED), a_pod("batch", "dd55", pods.LOST)
ALL = (OLDER, OLD, TRAIN, TRAINER, EVAL)


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("train", TRAIN),  # a whole name, though it begins another one
        ("traine", TRAINER),
        ("ab22", TRAINER),
        ("cc", EVAL),
        ("team/eval", EVAL),
        ("batch", OLD),  # the last that ended
        ("dd55", OLDER),
    ],
)
def test_a_pod_is_meant_by_its_name_its_uid_or_the_beginning_of_either(query: str, meant: Known) -> None:
    assert naming.choose(ALL, query) == meant


def test_a_live_pod_is_meant_rather_than_one_that_has_ended() -> None:
    live = a_pod("batch", "ee66")

    assert naming.choose((*ALL, live), "batch") == live


@pytest.mark.parametrize(
    ("query", "options", "sentence"),
    [
        ("trian", {}, 'pod "trian": there is none of this name; did you mean train or trainer?'),
        ("xyz", {}, 'pod "xyz": there is none of this name; known are batch, train, trainer, eval'),
        ("", {}, 'pod "": there is none of this name; known are batch, train, trainer, eval'),
        ("tra", {}, 'pod "tra": 2 are meant by it, train (aa11), trainer (ab22); give the beginning of a uid'),
        ("eval", {"namespace": "default"}, 'pod "eval": there is none in this namespace; eval is in team'),
        ("default/eval", {}, 'pod "default/eval": there is none in this namespace; eval is in team'),
        ("batch", {"live_only": True}, 'pod "batch": it has ended already'),
    ],
)
def test_a_name_that_means_none_or_several_gets_the_near_ones(query: str, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        naming.choose(ALL, query, **options)  # type: ignore[arg-type]

    assert str(error.value) == sentence


def test_where_nothing_has_run_that_is_said() -> None:
    with pytest.raises(UserError, match="nothing has run on this machine"):
        naming.choose((), "train")


def test_a_container_that_is_not_there_gets_the_near_one() -> None:
    assert naming.container(TRAIN, "main") == "main"
    with pytest.raises(UserError, match='did you mean "main"'):
        naming.container(TRAIN, "mian")
    with pytest.raises(UserError, match="it has main, sidecar"):
        naming.container(TRAIN, "x")
