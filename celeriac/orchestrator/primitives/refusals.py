"""What asyncio offers and a workflow can't have: threads, sockets, processes, signals, a loop in the loop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from celeriac.errors import ForbiddenCallError
from celeriac.orchestrator.primitives.blame import Place, culprit
from celeriac.orchestrator.primitives.running import DeterministicLoop, workflow_loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

ACTIVITY: Final = "move it into an activity"
AWAIT: Final = "await the coroutine instead"
SIGNAL: Final = "send the workflow a signal instead"

_ANYONE: Final = frozenset({Place.CELERIAC, Place.GENERATED, Place.INSTALLED, Place.STDLIB})

LOOP_METHODS: Final = {
    "add_reader": ACTIVITY,
    "add_signal_handler": ACTIVITY,
    "add_writer": ACTIVITY,
    "call_soon_threadsafe": SIGNAL,
    "connect_accepted_socket": ACTIVITY,
    "connect_read_pipe": ACTIVITY,
    "connect_write_pipe": ACTIVITY,
    "create_connection": ACTIVITY,
    "create_datagram_endpoint": ACTIVITY,
    "create_server": ACTIVITY,
    "create_unix_connection": ACTIVITY,
    "create_unix_server": ACTIVITY,
    "getaddrinfo": ACTIVITY,
    "getnameinfo": ACTIVITY,
    "remove_reader": ACTIVITY,
    "remove_signal_handler": ACTIVITY,
    "remove_writer": ACTIVITY,
    "run_forever": AWAIT,
    "run_in_executor": ACTIVITY,
    "run_until_complete": AWAIT,
    "sendfile": ACTIVITY,
    "set_default_executor": ACTIVITY,
    "sock_accept": ACTIVITY,
    "sock_connect": ACTIVITY,
    "sock_recv": ACTIVITY,
    "sock_recv_into": ACTIVITY,
    "sock_recvfrom": ACTIVITY,
    "sock_recvfrom_into": ACTIVITY,
    "sock_sendall": ACTIVITY,
    "sock_sendfile": ACTIVITY,
    "sock_sendto": ACTIVITY,
    "start_tls": ACTIVITY,
    "stop": AWAIT,
    "subprocess_exec": ACTIVITY,
    "subprocess_shell": ACTIVITY,
}
"""The methods of an event loop that a workflow's refuses, and what to do instead."""


def refuse(loop: DeterministicLoop, call: str, replacement: str, where: str | None) -> NoReturn:
    """Raise, and leave word at the loop in case the workflow's code catches it.

    :raises ForbiddenCallError: always.
    """
    error = ForbiddenCallError(call, replacement, where)
    if loop.held is None:
        loop.held = error
    raise error


def refuse_from(loop: DeterministicLoop, frame: FrameType, call: str, replacement: str) -> NoReturn:
    """Refuse on behalf of ``frame``, naming the call that workflow code made, else ``call``.

    :raises ForbiddenCallError: always.
    """
    guilty = culprit(frame, _ANYONE)
    if guilty is None:
        refuse(loop, call, replacement, None)
    refuse(loop, guilty.call or call, replacement, guilty.where)


def refuse_methods(cls: type[Any]) -> None:
    """Give a loop class methods that refuse, for all of :data:`LOOP_METHODS`."""
    for name, replacement in LOOP_METHODS.items():
        setattr(cls, name, _refusing_method(name, replacement))


def _refusing_method(name: str, replacement: str) -> Callable[..., NoReturn]:
    def method(self: DeterministicLoop, *_: Any, **__: Any) -> NoReturn:
        refuse_from(self, sys._getframe(1), f"loop.{name}", replacement)  # noqa: SLF001 - the only way to ask

    method.__name__ = name
    method.__doc__ = f"Refuse, because a workflow can't have it: {replacement}."
    return method


def refusing(call: str, replacement: str) -> Callable[[Callable[..., Any]], Callable[..., NoReturn]]:
    """Return what ``redirect`` wants for a function that is refused."""

    def inside(_: Callable[..., Any]) -> Callable[..., NoReturn]:
        def refused(*_: Any, **__: Any) -> NoReturn:
            loop = workflow_loop()
            if loop is None:  # left between the choice and the call, which nothing does
                raise ForbiddenCallError(call, replacement)
            refuse_from(loop, sys._getframe(2), call, replacement)  # noqa: SLF001

        return refused

    return inside
