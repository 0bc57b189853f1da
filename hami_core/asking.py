"""Hooks that touch a driver, asked in a child process: a call that hangs or crashes costs its deadline and nothing else.

``Drivers`` is the parent's half and has one child, started with the first question and reused; ``serve`` is the child's. When
an answer does not come in time the child is killed, the plugin is told as failed, and the next plugin is asked in a new child.
One that sleeps in the kernel, deaf to SIGKILL, is left behind and not waited for.

A process with a single thread forks: about a millisecond, and the plugins are loaded already. With several threads, as in a
node agent, after numpy or under pytest, a fork could copy a lock that nobody will open again; there the child is a new
interpreter that loads the plugins by their entry points. Either way it has nothing open but its two pipes and the standard
streams, of which standard output is standard error: what a driver prints is no part of an answer.
"""

from __future__ import annotations

import fcntl
import os
import pickle  # between two processes of one program, over pipes that nobody else has
import select
import signal
import struct
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from attrs import define, field, frozen

from hami_core import names
from hami_core import plugins as loading
from hami_core.errors import DriverError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pluggy import HookImpl

    from hami_core.plugins import Answers, Plugins

LENGTH = struct.Struct("=Q")  # before every message
CHUNK = 1 << 16
AT_ONCE = 0.003  # seconds in which an answer comes that needs no driver
DEATH = 0.2  # seconds that a killed process gets to be gone; what sleeps in a driver may take minutes
GRACE = 1.0  # seconds after the deadline at which a child whose parent did not kill it ends itself
OVERDUE = "was ended by SIGALRM"  # by that, where the parent got no time to look before


class Asker(Protocol):
    """Who asks plugins' drivers: ``Drivers``, or a stand-in of a test."""

    def ask_each(self, hook: str, without: Collection[str] = (), **arguments: object) -> Answers:
        """What each plugin says, but for those in ``without``."""
        ...

    def close(self) -> None:
        """No more questions for now."""
        ...


@frozen
class Question:
    """One hook of one plugin. ``seconds``: the deadline."""

    hook: str
    plugin: str
    arguments: Mapping[str, Any]
    seconds: float


# --- The parent's half. -----------------------------------------------------------------------------------------------


@define(eq=False)
class Drivers:
    """The plugins' drivers, each question with a deadline. For one thread at a time; ``close`` ends the child.

    ``meanwhile`` is called once, when a driver takes its time over a question: for what has to be done afterwards anyway.
    """

    plugins: Plugins
    seconds: float
    meanwhile: Callable[[], object] = lambda: None
    _child: _Child | None = field(default=None, init=False)

    def ask_each(self, hook: str, without: Collection[str] = (), **arguments: object) -> Answers:
        """As ``Plugins.ask_each``; a plugin that is late, or whose driver crashes, is among the failures by a DriverError."""
        return self.plugins.gather(hook, self._ask, without, arguments)

    def begin(self) -> None:
        """Start the child now: who is about to have threads still forks it."""
        self._child_now()

    def close(self) -> None:
        """End the child; the next question starts another. A call that hangs in it is not waited for."""
        if self._child is not None:
            self._child.end()
        self._child = None

    def _ask(self, implementation: HookImpl, arguments: Mapping[str, object]) -> Any:
        hook, plugin = implementation.function.__name__, implementation.plugin_name
        question = Question(hook, plugin, arguments, self.seconds)
        try:
            message = pickle.dumps(question)
        except Exception as error:  # whatever a stranger's value may raise
            raise PluginError(plugin, f"{error}: the question cannot be sent to another process", hook) from error
        try:
            reply = self._reply(message)
        except TimeoutError:
            self.close()
            raise self._overdue(plugin, hook) from None
        except EOFError:
            assert self._child is not None
            how = self._child.end()
            self._child = None
            if how == OVERDUE:
                raise self._overdue(plugin, hook) from None
            raise DriverError(plugin, f"{hook}: the process that asked the driver {how}") from None
        return _told(reply, plugin, hook)

    def _overdue(self, plugin: str, hook: str) -> DriverError:
        return DriverError(plugin, f"{hook} gave no answer within {self.seconds:g} s, and was given up")

    def _reply(self, message: bytes) -> bytes:
        """The answer to one message. TimeoutError: none in time; EOFError: the child ended."""
        child, until = self._child_now(), time.monotonic() + self.seconds
        _send(child.requests, message, until)
        if not _is_ready(child.answers, AT_ONCE):
            meanwhile, self.meanwhile = self.meanwhile, lambda: None
            meanwhile()
        return _receive(child.answers, until)

    def _child_now(self) -> _Child:
        if self._child is None:
            _reap_the_late()
            self._child = _forked(self.plugins) if _single_threaded() else _spawned(self.plugins)
            weakref.finalize(self, self._child.end)
        return self._child


def _told(reply: bytes, plugin: str, hook: str) -> Any:
    try:
        outcome = pickle.loads(reply)  # noqa: S301  # our own child's
    except Exception as error:
        raise PluginError(plugin, f"{error}: the answer cannot be read in another process", hook) from error
    if isinstance(outcome, _Raised):
        raise outcome.error
    return outcome


@define(eq=False)
class _Child:
    """A process that serves, and the pipes to it."""

    pid: int
    requests: int  # descriptors
    answers: int
    owner: int = field(factory=os.getpid)
    ended: bool = False

    def end(self) -> str:
        """Kill it, and say in words how it ended."""
        if self.ended or self.owner != os.getpid():
            return "has ended"
        self.ended = True
        os.close(self.requests)
        os.close(self.answers)
        return _killed(self.pid)


def _killed(pid: int) -> str:
    """Kill a child of ours and reap it, if it can be had soon; and how it ended."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return "has ended"  # somebody else has reaped it
    try:
        os.kill(pid, signal.SIGKILL)
        _wait(ended, select.POLLIN, time.monotonic() + DEATH)
    except TimeoutError:
        _left_behind.add(pid)
        return "does not end"
    finally:
        os.close(ended)
    return _reaped(pid)


_left_behind: set[int] = set()  # killed, and asleep in the kernel


def _reap_the_late() -> None:
    for pid in list(_left_behind):
        if _reaped(pid):
            _left_behind.discard(pid)


def _reaped(pid: int) -> str:
    """How a child of ours ended; empty: it has not."""
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return "has ended"
    if not reaped:
        return ""
    code = os.waitstatus_to_exitcode(status)
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _single_threaded() -> bool:
    """Also no thread of a C library, which Python does not count."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def _forked(plugins: Plugins) -> _Child:
    (question, requests), (answers, answer) = _pipe(), _pipe()
    pid = os.fork()
    if pid == 0:
        child(question, answer, plugins)
    return _parents_half(pid, requests, answers, (question, answer))


def _spawned(plugins: Plugins) -> _Child:
    (question, requests), (answers, answer) = _pipe(), _pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", __name__, ",".join(plugins.blocked)],  # -P: nothing is imported from the current folder
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, question, 0), (os.POSIX_SPAWN_DUP2, answer, 1)],
    )
    return _parents_half(pid, requests, answers, (question, answer))


def _pipe() -> tuple[int, int]:
    """To read from and to write to, neither in the place of a standard stream that happens to be closed."""
    ends = os.pipe()
    kept = fcntl.fcntl(ends[0], fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(ends[1], fcntl.F_DUPFD_CLOEXEC, 3)
    for end in ends:
        os.close(end)
    return kept


def _parents_half(pid: int, requests: int, answers: int, theirs: Sequence[int]) -> _Child:
    for descriptor in theirs:
        os.close(descriptor)
    os.set_blocking(requests, False)
    return _Child(pid, requests, answers)


# --- The child's half. ------------------------------------------------------------------------------------------------


@frozen
class _Raised:
    """What a hook raised, on its way to the parent."""

    error: BaseException


def serve(plugins: Plugins, question: int, answer: int) -> None:
    """Answer questions from one descriptor into another, until there are no more."""
    while True:
        try:
            asked: Question = pickle.loads(_receive(question))  # noqa: S301  # our own parent's
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, asked.seconds + GRACE)  # a parent that was killed kills nobody
        reply = _answer(plugins, asked)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(answer, reply)


def _answer(plugins: Plugins, asked: Question) -> bytes:
    found = [one for one in getattr(plugins.hook, asked.hook).get_hookimpls() if one.plugin_name == asked.plugin]
    if not found:
        return _portable(PluginError(asked.plugin, "no entry point leads a new process to it", asked.hook), asked)
    try:
        outcome = found[0].function(*asked.arguments.values())
    except (Exception, SystemExit) as error:
        return _portable(error, asked)
    try:
        return pickle.dumps(outcome)
    except Exception as error:
        return _portable(PluginError(asked.plugin, f"the answer cannot be sent to another process: {error}", asked.hook), asked)


def _portable(error: BaseException, asked: Question) -> bytes:
    """The error with its traceback as a note; one that does not survive the way becomes a PluginError that says the same."""
    import traceback

    told = "".join(traceback.format_exception(error))
    error.add_note(f"In the process that asked the driver:\n{told}")
    try:
        reply = pickle.dumps(_Raised(error))
        pickle.loads(reply)  # noqa: S301  # many exceptions can be written and not be read
    except Exception:
        again = PluginError(asked.plugin, f"{type(error).__name__}: {error}", asked.hook)
        again.add_note(told)
        return pickle.dumps(_Raised(again))
    return reply


def child(question: int, answer: int, plugins: Plugins | None = None) -> NoReturn:
    """Serve and be gone: without the parent's exit handlers, its buffers, its signals, and what it has open."""
    status = 1
    try:
        _detach({question, answer})
        serve(loading.load() if plugins is None else plugins, question, answer)
        status = 0
    except BaseException:  # told here, because nothing outlives the next line
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _detach(kept: set[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C is for the parent, whose end is ours
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    with suppress(OSError):  # standard error may be closed
        os.dup2(2, 1)
    sys.stdout = sys.stderr
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor in {int(entry.name) for entry in Path("/proc/self/fd").iterdir()} - {0, 1, 2} - kept:
        with suppress(OSError):  # the listing's own
            os.close(descriptor)  # a lock of the parent's must not live on in us


# --- Messages between the two: a length and so many bytes. --------------------------------------------------------------


def _send(descriptor: int, message: bytes, until: float | None = None) -> None:
    """EOFError: nobody reads. TimeoutError: nobody did until then, by the monotonic clock."""
    left = memoryview(LENGTH.pack(len(message)) + message)
    while left:
        _wait(descriptor, select.POLLOUT, until)
        try:
            left = left[os.write(descriptor, left[:CHUNK]) :]
        except BrokenPipeError:
            raise EOFError from None


def _receive(descriptor: int, until: float | None = None) -> bytes:
    """EOFError: there is no more. TimeoutError: not all of it came until then, by the monotonic clock."""
    (length,) = LENGTH.unpack(_read(descriptor, LENGTH.size, until))
    return _read(descriptor, length, until)


def _read(descriptor: int, length: int, until: float | None) -> bytes:
    read = bytearray()
    while len(read) < length:
        _wait(descriptor, select.POLLIN, until)
        chunk = os.read(descriptor, min(CHUNK, length - len(read)))
        if not chunk:
            raise EOFError
        read += chunk
    return bytes(read)


def _wait(descriptor: int, event: int, until: float | None) -> None:
    if not _is_ready(descriptor, None if until is None else max(until - time.monotonic(), 0), event):
        raise TimeoutError


def _is_ready(descriptor: int, seconds: float | None, event: int = select.POLLIN) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


if __name__ == "__main__":
    from hami_core import asking  # noqa: PLW0406  # under its name: what it sends must be found by that in the parent

    os.environ[names.ENV_BLOCK] = sys.argv[1]
    asking.child(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3))
