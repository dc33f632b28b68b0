"""Signals inside a run: what is declared, and the one buffer in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from celeriac.payloads import Converter, Json, describe

if TYPE_CHECKING:
    from celeriac.orchestrator.loop import WorkflowFuture, WorkflowLoop

T = TypeVar("T")


class SignalType(Generic[T]):
    """A declared signal: a name and the type of its payload. Sender and receiver use the same object.

    :param name: the name on the wire.
    :param annotation: the type of the payload.
    """

    __slots__ = ("converter", "name")

    @overload
    def __init__(self: SignalType[Any], name: str) -> None: ...
    @overload
    def __init__(self, name: str, annotation: type[T]) -> None: ...
    @overload
    def __init__(self: SignalType[Any], name: str, annotation: Any) -> None: ...

    def __init__(self, name: str, annotation: Any = Any) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"a signal's name is a non-empty string, not {name!r}")
        self.name = name
        self.converter = Converter(annotation)

    def write(self, payload: T) -> Json:
        """Return the payload as JSON.

        :raises PayloadError: it does not fit the declared type.
        """
        return self.converter.write(payload, f"payload of signal {self.name!r}")

    def read(self, payload: Json) -> T:
        """Return the payload that a record stands for.

        :raises PayloadError: it does not fit the declared type.
        """
        value: T = self.converter.read(payload, f"payload of signal {self.name!r}")
        return value

    def __repr__(self) -> str:
        return f"signal_type({self.name!r}, {describe(self.converter.annotation)})"


class SignalBuffer:
    """Hands signals to handlers and waiters, and keeps those that came early, all names in one chronological buffer."""

    __slots__ = ("_buffer", "_handlers", "_loop", "_waiters")

    def __init__(self, loop: WorkflowLoop) -> None:
        self._loop = loop
        self._buffer: deque[tuple[str, Any]] = deque()
        self._waiters: dict[str, deque[WorkflowFuture[Any]]] = {}
        self._handlers: dict[str, Callable[[Any], None]] = {}

    def arrived(self, name: str, value: Any) -> None:
        """Pass on a signal: to its handler, else to the one who has waited longest, else into the buffer."""
        handler = self._handlers.get(name)
        if handler is not None:
            handler(value)
            return
        waiters = self._waiters.get(name, ())
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(value)
                return
        self._buffer.append((name, value))

    async def take(self, name: str) -> Any:
        """Return the next signal of this name, waiting for it if need be."""
        for index, (known, value) in enumerate(self._buffer):
            if known == name:
                del self._buffer[index]
                return value
        waiter = self._loop.create_future()
        waiters = self._waiters.setdefault(name, deque())
        waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # handed over and canceled at once: the next one gets it
                self._return(name, waiter.result())
            elif waiter in waiters:
                waiters.remove(waiter)
            raise

    def _return(self, name: str, value: Any) -> None:
        for waiter in self._waiters.get(name, ()):
            if not waiter.done():
                self._waiters[name].remove(waiter)
                waiter.set_result(value)
                return
        self._buffer.appendleft((name, value))

    def handle(self, name: str, handler: Callable[[Any], None]) -> None:
        """Pass signals of this name to a handler from now on, those in the buffer first."""
        self._handlers[name] = handler
        early = [value for known, value in self._buffer if known == name]
        self._buffer = deque(each for each in self._buffer if each[0] != name)
        for value in early:
            handler(value)

    def waited_for(self) -> Iterator[str]:
        """Name the signals that somebody waits for."""
        for name, waiters in self._waiters.items():
            if any(not each.done() for each in waiters):
                yield name
