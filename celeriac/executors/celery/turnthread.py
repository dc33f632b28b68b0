"""Where turns run: always on the same thread of a process, because suspended greenlets are bound to theirs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class TurnThread:
    """Runs calls one after the other: right here where the process has one thread for tasks, on a thread of its own elsewhere.

    :param own: take a thread of its own (pools whose tasks run on several threads).
    """

    def __init__(self, *, own: bool) -> None:
        self.own = own
        self._lock = threading.RLock()
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], _Answer]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[[], T]) -> T:
        """Run a call on the turn thread and return what it returns, or raise what it raises."""
        if not self.own or threading.current_thread() is self._thread:
            with self._lock:
                return call()
        self._ensure()
        answer = _Answer()
        self._calls.put((call, answer))
        value: T = answer.wait()
        return value

    def after_fork(self) -> None:
        """Forget the parent's thread."""
        self._lock = threading.RLock()
        self._calls = queue.SimpleQueue()
        self._thread = None

    def _ensure(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._serve, name="celeriac-turns", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while True:
            call, answer = self._calls.get()
            try:
                answer.value = call()
            except BaseException as error:  # noqa: BLE001 - it is raised again where the call came from
                answer.error = error
            answer.done.set()


class _Answer:
    __slots__ = ("done", "error", "value")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def wait(self) -> Any:
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.value
