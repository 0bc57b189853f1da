"""Where certificates are kept: of replicas that begin at once one wins, and what was served last is not forgotten."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core.serving.certificates import Lives, Material, renewed
from hami_core.serving.tls import BadPair
from hami_webhook.keeping import SECRET, InFolder, InSecret, Kept
from tests.webhook.daemons import Stored, connection

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = ("hami-webhook.hami-system.svc",)
PATH = f"/api/v1/namespaces/ours/secrets/{SECRET}"
NOW = datetime(2026, 11, 25, tzinfo=UTC)
HOUR = timedelta(hours=1)


def keeper(stored: Stored, now: datetime = NOW) -> InSecret:
    return InSecret(connection(stored), "ours", HOSTS, Lives(), lambda: now)


def test_the_secret_is_made_and_then_only_read() -> None:
    stored = Stored()

    first = keeper(stored).keep()
    again = keeper(stored).keep()

    assert (first == again, stored.version) == (True, 1)
    assert sorted(stored.objects[PATH]["data"]) == ["ca.crt", "ca.key", "tls.crt", "tls.key"]


def test_who_comes_second_takes_what_is_there() -> None:
    stored = Stored()
    first = keeper(stored).keep()

    stored.lagging = 1  # it sees no Secret, makes one, and hears that there is one
    second = keeper(stored).keep()

    assert second == first


@given(delays=st.lists(st.integers(1, 200), min_size=1, max_size=8), replicas=st.integers(2, 4))
def test_replicas_agree_after_each_has_looked_once_more(delays: list[int], replicas: int) -> None:
    stored, now = Stored(), NOW
    all_of_them = [keeper(stored) for _ in range(replicas)]
    for days in delays:
        now += timedelta(days=days)
        for one in all_of_them:
            one.clock = lambda now=now: now  # type: ignore[misc]
        for one in all_of_them:
            one.keep()

        assert len({(kept.leaf, kept.bundle) for kept in (one.keep() for one in all_of_them)}) == 1


def test_threads_that_begin_at_once_end_with_one_authority() -> None:
    stored = Stored(lagging=4)
    found = []
    threads = [threading.Thread(target=lambda: found.append(keeper(stored).keep().bundle)) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert len(set(found)) == 1


@pytest.mark.parametrize("damage", ["gone", "empty", "nonsense", "a key less"])
def test_a_damaged_secret_comes_back_as_it_was(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    stored = Stored()
    ours = keeper(stored)
    before = ours.keep()

    document = json.loads(json.dumps(stored.objects.pop(PATH)))
    if damage != "gone":
        stored.objects[PATH] = document
    if damage == "empty":
        document["data"] = None
    elif damage == "nonsense":
        document["data"]["tls.crt"] = b64encode(b"nonsense").decode()
    elif damage == "a key less":
        del document["data"]["ca.key"]

    assert ours.keep() == before
    assert ours.keep() == keeper(stored).keep()
    assert ("cannot be read and is written anew" in caplog.text) == (damage in {"nonsense", "a key less"})


def test_a_folder_is_read_anew_and_both_authorities_are_trusted(tmp_path: Path) -> None:
    one, other = (renewed(datetime.now(UTC), HOSTS, None, Lives()) for _ in range(2))
    ours = InFolder(tmp_path)
    with pytest.raises(BadPair, match="No such file"):
        ours.keep()

    def lay(name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)

    def kept(material: Material) -> Kept:
        lay("tls.crt", material.leaf.certificate)
        lay("tls.key", material.leaf.key)
        lay("ca.crt", material.bundle)
        return ours.keep()

    assert kept(one) == Kept(one.leaf, one.bundle)
    found = kept(other)
    assert (found.leaf, found.bundle) == (other.leaf, other.bundle + one.bundle)

    lay("ca.crt", b"nonsense")
    with pytest.raises(BadPair, match=r"ca\.crt"):
        ours.keep()
