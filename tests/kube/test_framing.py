"""However bytes arrive, the same chunks and lines are found in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core.kube import framing
from hami_core.kube.framing import Chunks, Counted, Lines
from tests.kube.scripted import END, chunk


def cut(data: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in at})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


places = st.lists(st.integers(0, 400), max_size=60)


@given(payload=st.lists(st.binary(min_size=1, max_size=40), max_size=8), at=places, junk=st.binary(max_size=5))
def test_chunks_are_found_however_they_arrive(payload: list[bytes], at: list[int], junk: bytes) -> None:
    coding = Chunks()

    pieces = [coding.feed(piece) for piece in cut(b"".join(map(chunk, payload)) + END + junk, at)]

    assert (b"".join(pieces), coding.finished) == (b"".join(payload), True)


@given(
    lines=st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8),
    rest=st.binary(max_size=9),
    at=places,
)
def test_lines_are_found_however_they_arrive(lines: list[bytes], rest: bytes, at: list[int]) -> None:
    splitter, rest = Lines(), rest.replace(b"\n", b"")

    found = [line for piece in cut(b"".join(line + b"\n" for line in lines) + rest, at) for line in splitter.feed(piece)]

    assert (found, splitter.pending) == ([line for line in lines if line], bool(rest))


@given(data=st.binary(max_size=60), at=places)
def test_whatever_arrives_is_payload_or_no_chunked_coding(data: bytes, at: list[int]) -> None:
    coding = Chunks()

    try:
        payload = b"".join(coding.feed(piece) for piece in cut(data, at))
    except ValueError:
        return
    assert len(payload) <= len(data)


@pytest.mark.parametrize("data", [b"zz\r\n", b"-1\r\n", b"1\r\naXY", b"1" * 5000])
def test_what_is_no_chunked_coding_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"chunk|int"):
        Chunks().feed(data)


def test_extensions_and_capitals_in_a_size_are_understood() -> None:
    assert Chunks().feed(b"0A;name=value\r\n0123456789\r\n") == b"0123456789"


def test_a_counted_payload_ends_where_it_was_said_to() -> None:
    coding = Counted(5)

    pieces = [coding.feed(b"abc"), coding.feed(b"defg")]

    assert (pieces, coding.finished) == ([b"abc", b"de"], True)


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "LINE", 100)
    splitter = Lines()
    for _ in range(20):
        splitter.feed(b"12345")

    with pytest.raises(ValueError, match="a line of more than 100 bytes"):
        splitter.feed(b"12345")
