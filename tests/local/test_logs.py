from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core.errors import UserError
from hami_core.local import logs
from hami_core.local.logs import NANO, Follower, Line, Log

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")), max_size=30)


def texts(log: Path) -> list[bytes]:
    return [line.text for line in logs.read(log)]


def test_a_line_is_kept_with_its_time_and_its_stream(tmp_path: Path) -> None:
    log = logs.fresh(tmp_path / "main.log")
    log.write(logs.STDERR, [b"one", b""])
    log.close()

    first, second = logs.read(tmp_path / "main.log")
    assert (first.stream, first.text, first.whole, second.text) == ("stderr", b"one", True, b"")
    assert (tmp_path / "main.log").read_text() == f"{logs.stamp(first)} stderr F one\n{logs.stamp(second)} stderr F \n"


@given(TEXTS)
def test_what_was_written_is_read_whatever_it_is(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("log") / "main.log"
    log = logs.fresh(path)
    for line in lines:
        log.write(logs.STDOUT, [line])
    log.close()

    assert texts(path) == lines


def test_its_size_is_bounded_and_the_newest_is_kept(tmp_path: Path) -> None:
    log = Log(tmp_path / "main.log", limit=1000)
    for number in range(200):
        log.write(logs.STDOUT, [b"%d" % number])
    log.close()

    kept = texts(tmp_path / "main.log")
    assert kept == [b"%d" % number for number in range(200 - len(kept), 200)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["main.log", "main.log.1"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


def test_a_long_line_is_kept_in_parts(tmp_path: Path) -> None:
    log = logs.fresh(tmp_path / "main.log")
    log.write(logs.STDOUT, [b"x" * (logs.LONGEST * 2 + 1)])
    log.close()

    assert [(len(line.text), line.whole) for line in logs.read(tmp_path / "main.log")] == [
        (logs.LONGEST, False),
        (logs.LONGEST, False),
        (1, True),
    ]


def test_a_restart_makes_the_log_the_previous_one(tmp_path: Path) -> None:
    for text in (b"first", b"second", b"third"):
        log = logs.fresh(tmp_path / "main.log")
        log.write(logs.STDOUT, [text])
        log.close()

    assert texts(tmp_path / "main.log") == [b"third"]
    assert texts(logs.previous(tmp_path / "main.log")) == [b"second"]


def test_a_follower_misses_nothing_when_the_log_is_moved(tmp_path: Path) -> None:
    path = tmp_path / "main.log"
    log, follower = Log(path, limit=300), Follower(path)
    seen = [line.text for line in follower.so_far()]
    for number in range(100):
        log.write(logs.STDOUT, [b"%d" % number])
        seen += [line.text for line in follower.more()]
    follower.close()
    log.close()

    assert seen == [b"%d" % number for number in range(100)]


def test_a_full_disk_loses_lines_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "main.log").symlink_to("/dev/full")
    log = Log(tmp_path / "main.log")

    log.write(logs.STDOUT, [b"one"])

    assert "No space left on device" in log.fault
    log.close()


def a_line(at: int, text: bytes = b"", whole: bool = True) -> Line:
    return Line(at, "stdout", whole, text)


def test_a_tail_counts_whole_lines() -> None:
    lines = [a_line(1), a_line(2, b"a", whole=False), a_line(3, b"b"), a_line(4)]

    assert logs.tail(lines, 2) == lines[1:]
    assert logs.tail(lines, 9) == lines
    assert logs.tail(lines, 0) == []


def test_logs_are_merged_by_time() -> None:
    one, two, three = a_line(1), a_line(2), a_line(3)

    assert logs.merged([("a", [one, three]), ("b", [two])]) == [("a", one), ("b", two), ("a", three)]


@pytest.mark.parametrize(("text", "ago"), [("90s", 90), ("90", 90), ("5m", 300), ("1h30m", 5400), ("1970-01-01T00:16:40Z", 0)])
def test_since_is_an_age_or_a_time(text: str, ago: int) -> None:
    assert logs.since(text, 1000 * NANO) == (1000 - ago) * NANO


@pytest.mark.parametrize("text", ["", "soon", "5 minutes", "-3s"])
def test_anything_else_gets_an_example(text: str) -> None:
    with pytest.raises(UserError, match="write 90s, 5m or 1h30m"):
        logs.since(text, 0)
