"""Catching calls that workflow code must not make, while it runs, and nowhere else.

Python raises an *audit event* for what reaches for a file, a socket, a process or a thread, whoever does it
and by whatever name. A hook looks at the stack and refuses when workflow code is responsible: not a module
being imported, not a log record being written. The hook can't be taken out again, so it comes with the first
workflow of a process; then every audited call of the process costs about 0.2 microseconds more.

Clocks and dice (``time.time``, ``datetime.now``, ``random``) raise no event and offer no cheap place to stand
in their way, so they are left to the check of the source.
"""

from __future__ import annotations

import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from celeriac.orchestrator.bridge import in_workflow_greenlet
from celeriac.orchestrator.primitives.blame import Place, claim, culprit
from celeriac.orchestrator.primitives.redirect import redirect
from celeriac.orchestrator.primitives.refusals import ACTIVITY, refuse
from celeriac.orchestrator.primitives.running import workflow_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    Function = Callable[..., Any]

__all__ = ["Guard", "claim", "refuse_direct_call", "suspended"]

# Through whose code workflow code may reach a thing and still be the one who did. A library that reads its
# own data files or keeps a thread is left alone; one that is told to fetch a page is not.
_STDLIB: Final = frozenset({Place.STDLIB, Place.GENERATED})
_ANY_LIBRARY: Final = _STDLIB | {Place.INSTALLED}
_NOBODY: Final = frozenset({Place.GENERATED})


class _Rule(NamedTuple):
    call: str
    replacement: str
    through: frozenset[Place]


def _files(*events: str) -> dict[str, _Rule]:
    return {event: _Rule(event, ACTIVITY, _STDLIB) for event in events}


def _outside(*events: str) -> dict[str, _Rule]:
    return {event: _Rule(event, ACTIVITY, _ANY_LIBRARY) for event in events}


_SLEEP: Final = _Rule("time.sleep", "write `await ctx.sleep(...)`", _ANY_LIBRARY)
_UUID: Final = "write `ctx.uuid4()`"

RULES: Final[dict[str, _Rule]] = {
    **_files("open", "os.chmod", "os.chown", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename"),
    **_files("os.rmdir", "os.scandir", "os.symlink", "os.truncate", "os.utime", "tempfile.mkdtemp"),
    **_files("tempfile.mkstemp", "_thread.start_new_thread", "_thread.start_joinable_thread"),
    **_files("builtins.input"),
    **_outside("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn"),
    **_outside("subprocess.Popen", "sqlite3.connect", "urllib.Request", "http.client.connect"),
    **_outside("smtplib.connect", "ftplib.connect", "socket.__new__", "socket.bind", "socket.connect"),
    **_outside("socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname", "socket.getnameinfo"),
    **_outside("socket.sendmsg", "socket.sendto"),
    "time.sleep": _SLEEP,  # since Python 3.13; before that _guard_sleep() sees to it
}
"""Audit event -> what is refused, and what to write instead."""

_active = 0
_installed = False
_suspended: ContextVar[bool] = ContextVar("celeriac_guard_suspended", default=False)


class Guard:
    """While entered, workflow code that runs in any thread is watched; cheap to enter for each step.

    Nobody else in the process is concerned: what counts is that a workflow's loop is the thread's running
    loop.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        global _active  # noqa: PLW0603 - an audit hook belongs to the process
        if not _installed:
            _install()
        _active += 1

    def __exit__(self, *_: object) -> None:
        global _active  # noqa: PLW0603
        _active -= 1


@contextmanager
def suspended() -> Iterator[None]:
    """Let the task that enters this do what it likes, until it leaves; other tasks are watched as before."""
    token = _suspended.set(True)
    try:
        yield
    finally:
        _suspended.reset(token)


def check(rule: _Rule, frame: FrameType | None) -> None:
    """Refuse what happens in ``frame``, if it is workflow code that brought it about.

    :raises ForbiddenCallError: it is.
    """
    loop = workflow_loop()
    if loop is None or _suspended.get():
        return
    guilty = culprit(frame, rule.through)
    if guilty is not None:
        refuse(loop, guilty.call or rule.call, rule.replacement, guilty.where)


def refuse_direct_call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse an activity that workflow code calls like a function; for what stands for the activity to call.

    :param name: the activity's name.
    :raises ForbiddenCallError: shows the call and what to write instead.
    """
    if workflow_loop() is None:
        return
    short = name.rpartition(".")[2]
    given = [repr(each) for each in args] + [f"{key}={each!r}" for key, each in kwargs.items()]
    forbid(f"{short}({', '.join(given)})", execute_instead([short, *given]), sys._getframe(2))  # noqa: SLF001


def execute_instead(words: Sequence[str]) -> str:
    """Return the advice to execute an activity, in the words of the kind of workflow that is running.

    :param words: the activity and its arguments, as in source.
    """
    call = f"ctx.execute_activity({', '.join(words)})"
    return f"write `{call}.result()`" if in_workflow_greenlet() else f"write `await {call}`"


def forbid(call: str, instead: str, frame: FrameType | None, through: frozenset[Place] = _ANY_LIBRARY) -> None:
    """Refuse a call, if it is workflow code that makes it; without workflow code it does nothing.

    :param call: the call, as in source.
    :param instead: what to write instead.
    :param frame: where to begin to look for who made it.
    :param through: whose code may lie between.
    :raises ForbiddenCallError: it is.
    """
    loop = workflow_loop()
    if loop is None or _suspended.get():
        return
    guilty = culprit(frame, through)
    if guilty is not None:
        refuse(loop, call, instead, guilty.where)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _active:
        return
    rule = RULES.get(event)
    if rule is not None and workflow_loop() is not None and not _reads_time_zone(event, args):
        check(rule, sys._getframe(1))  # noqa: SLF001 - the only way to ask


def _reads_time_zone(event: str, args: tuple[Any, ...]) -> bool:
    """Whether this is ``zoneinfo``, which opens its files from C, so that it is not on the stack."""
    zoneinfo = sys.modules.get("zoneinfo")
    return event == "open" and zoneinfo is not None and str(args[0]).startswith(tuple(zoneinfo.TZPATH))


def _install() -> None:
    global _installed  # noqa: PLW0603
    _installed = True
    sys.addaudithook(_audit)
    if sys.version_info < (3, 13):
        _guard_sleep()
    # Python 3.11 raises no event for threads; and refused later, one stays counted as about to start.
    threads = sys.modules["threading"]  # asyncio has imported it
    _guard_function(threads.Thread.start, _Rule("threading.Thread.start", ACTIVITY, _STDLIB))
    _guard_function(uuid.uuid1, _Rule("uuid.uuid1", _UUID, _NOBODY))
    _guard_function(uuid.uuid4, _Rule("uuid.uuid4", _UUID, _NOBODY))
    # An executor whose threads are there already starts none.
    _guard_function(ThreadPoolExecutor.submit, _Rule("ThreadPoolExecutor.submit", ACTIVITY, _STDLIB))


def _guard_function(function: Function, rule: _Rule) -> None:
    """Watch a function that is written in Python."""

    def inside(outside: Function) -> Function:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if _active:
                check(rule, sys._getframe(2))  # noqa: SLF001 - past the code that redirect() put there
            return outside(*args, **kwargs)

        return guarded

    redirect(function, inside)


def _guard_sleep() -> None:
    """Watch ``time.sleep`` where it raises no audit event; names bound before this are missed."""
    time = sys.modules["time"]
    time.sleep = _Sleep(time.sleep)  # type: ignore[attr-defined]


class _Sleep:
    """Stands in for ``time.sleep``: an object, since a function in a class's namespace would be a method."""

    __module__ = "time"
    __name__ = __qualname__ = "sleep"

    def __init__(self, original: Function) -> None:
        self.__wrapped__ = original
        self.__doc__ = original.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if _active:
            check(_SLEEP, sys._getframe(1))  # noqa: SLF001
        self.__wrapped__(*args, **kwargs)

    def __reduce__(self) -> str:
        return "sleep"
