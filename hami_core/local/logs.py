"""What containers wrote: kept in files of bounded size, and read again, also while they grow.

A line is kept as kubelets keep it: ``<time> <stream> <F|P> <text>``, the time in UTC with nanoseconds, P for a part of a line
that is too long. A container's log is ``<container>.log``, behind it ``.log.1`` with what came before; those of the run before
the last restart are called ``<container>.previous.log``. Source: the CRI's logging format,
https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
"""

from __future__ import annotations

import heapq
import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from hami_core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LIMIT = 10 * 1024 * 1024  # bytes of one file; a container has at most two of each run that is kept (kubelet: 10 MiB)
LONGEST = 16 * 1024  # bytes of a line; longer ones are kept in parts
NANO = 1_000_000_000
STDOUT, STDERR = "stdout", "stderr"

_LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z (stdout|stderr) ([FP]) ")
_AGE = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


@frozen
class Line:
    """One line, or a part of one."""

    at: int  # nanoseconds from 1970
    stream: str
    whole: bool
    text: bytes  # without its end


@define(eq=False)
class Log:
    """The log of one run of one container, to write to. A full disk loses lines and stops nobody: ``fault`` says so."""

    path: Path
    limit: int = LIMIT
    fault: str = ""
    _file: int = field(init=False, default=-1)
    _size: int = field(init=False, default=0)

    def write(self, stream: str, lines: Iterable[bytes], whole: bool = True) -> None:
        """Lines without their ends, as of now. ``whole`` False: the rest of each comes later."""
        head = f"{_stamp(time.time_ns())} {stream} ".encode()
        kept = b"".join(part for line in lines for part in _parts(head, line, whole))
        try:
            if self._file < 0 or self._size + len(kept) > self.limit:
                self._open()
            while kept:
                written = os.write(self._file, kept)
                self._size, kept = self._size + written, kept[written:]
        except OSError as error:
            self.fault = f"{self.path}: {error.strerror}; some of its output is not kept"

    def close(self) -> None:
        """Write no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        """The file to go on with; one that is full goes behind it."""
        self.close()
        if self.path.exists() and self._size:
            self.path.replace(_behind(self.path))
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size


def path(folder: Path, container: str) -> Path:
    """The log of a container's present, or last, run in the folder of its pod."""
    return folder / f"{container}.log"


def previous(log: Path) -> Path:
    """The log of the run before."""
    return log.with_name(f"{log.name.removesuffix('.log')}.previous.log")


def fresh(log: Path) -> Log:
    """A log for a new run: what is there is the previous one's from now on."""
    before = previous(log)
    _behind(before).unlink(missing_ok=True)
    for old, new in ((_behind(log), _behind(before)), (log, before)):
        if old.exists():
            old.replace(new)
    return Log(log)


def read(log: Path, since: int = 0) -> Iterator[Line]:
    """All lines that are kept, from that time on (nanoseconds from 1970), oldest first."""
    for file in (_behind(log), log):
        try:
            content = file.read_bytes()
        except OSError:
            continue
        yield from (line for line in _lines(content) if line.at >= since)


def tail(lines: Iterable[Line], count: int) -> list[Line]:
    """The last so many whole lines, with all their parts."""
    found = list(lines)
    if count <= 0:
        return []
    ends = [at for at, line in enumerate(found) if line.whole]
    cut = ends[-count - 1] + 1 if len(ends) > count else 0
    return found[cut:]


def merged(logs: Iterable[tuple[str, Iterable[Line]]]) -> list[tuple[str, Line]]:
    """The lines of several logs in the order of their times, each with its log's name."""
    named = [[(name, line) for line in lines] for name, lines in logs]
    return list(heapq.merge(*named, key=lambda one: one[1].at))


@define(eq=False)
class Follower:
    """What is added to a log, from where it stands now, through its rotation and its container's restarts."""

    log: Path
    _file: int = field(init=False, default=-1)
    _rest: bytes = field(init=False, default=b"")

    def so_far(self) -> list[Line]:
        """All lines that are kept; those that come after them are ``more``."""
        newest = self._read()
        behind = _behind(self.log)
        try:
            again = self._file >= 0 and behind.stat().st_ino == os.fstat(self._file).st_ino  # it was moved just now
            older = [] if again else _lines(behind.read_bytes())
        except FileNotFoundError:
            older = []
        return [*older, *newest]

    def more(self) -> list[Line]:
        """The lines that have come since the last time."""
        found = self._read()
        if self._moved():  # after the file had been read to its end: whoever moved it had closed it
            found += self._read()
            self.close()
            found += self._read()
        return found

    def close(self) -> None:
        """Follow no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file, self._rest = -1, b""

    def _read(self) -> list[Line]:
        if self._file < 0:
            try:
                self._file = os.open(self.log, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return []
        found: list[Line] = []
        while chunk := os.read(self._file, 1 << 16):
            whole, end, self._rest = (self._rest + chunk).rpartition(b"\n")
            found += _lines(whole + end)
        return found

    def _moved(self) -> bool:
        try:
            return self._file >= 0 and os.fstat(self._file).st_ino != self.log.stat().st_ino
        except FileNotFoundError:
            return False


def since(text: str, now: int) -> int:
    """Nanoseconds from 1970, of "90s", "5m", "1h30m" before now, or of a time as RFC 3339 writes it. UserError: neither."""
    age = _AGE.fullmatch(text)
    if text and age:
        hours, minutes, seconds = (int(part or 0) for part in age.groups())
        return now - (hours * 3600 + minutes * 60 + seconds) * NANO
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f'--since "{text}": write 90s, 5m or 1h30m, or a time as 2026-01-31T12:00:00Z') from None
    return int((moment if moment.tzinfo else moment.astimezone()).timestamp() * NANO)


def _behind(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _stamp(at: int) -> str:
    moment = datetime.fromtimestamp(at // NANO, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % NANO:09d}Z"


def stamp(line: Line) -> str:
    """The time of a line as it stands in the file."""
    return _stamp(line.at)


def _parts(head: bytes, line: bytes, whole: bool) -> Iterator[bytes]:
    while len(line) > LONGEST:
        yield head + b"P " + line[:LONGEST] + b"\n"
        line = line[LONGEST:]
    yield head + (b"F " if whole else b"P ") + line + b"\n"


def _lines(content: bytes) -> Iterator[Line]:
    """Lines that are not in this form are of nobody that we know: left out."""
    for raw in content.split(b"\n"):
        if match := _LINE.match(raw):
            moment, fraction, stream, tag = match.groups()
            seconds = int(datetime.fromisoformat(f"{moment.decode()}+00:00").timestamp())
            yield Line(seconds * NANO + int(fraction), stream.decode(), tag == b"F", raw[match.end() :])
