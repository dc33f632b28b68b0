"""Runs a program on a workflow's loop, the way the runtime does, and writes down what happened."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from celeriac.orchestrator.loop import WorkflowLoop, WorkflowTask, WorkflowTimer

EPOCH = 1_700_000_000.0


class Drive:
    """A loop whose timers fire in the order of their deadlines, with a journal of them."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.timers: dict[int, WorkflowTimer] = {}
        self._numbers = 0
        self.loop = WorkflowLoop(on_timer_started=self._started, on_timer_cancelled=self._cancelled)
        self.loop.now = EPOCH

    @property
    def elapsed(self) -> float:
        return round(self.loop.now - EPOCH, 3)

    def note(self, what: object) -> None:
        self.journal.append(f"{self.elapsed:g} {what}")

    def _started(self, timer: WorkflowTimer, delay: float) -> None:
        self._numbers += 1
        timer.number = self._numbers
        self.timers[timer.number] = timer
        self.note(f"timer {timer.number} started for {delay:g}")

    def _cancelled(self, timer: WorkflowTimer) -> None:
        assert timer.number is not None
        del self.timers[timer.number]
        self.note(f"timer {timer.number} cancelled")

    def fire_next(self) -> bool:
        if not self.timers:
            return False
        number, timer = min(self.timers.items(), key=lambda each: (each[1].when(), each[0]))
        del self.timers[number]
        self.loop.now = max(self.loop.now, timer.when())
        self.note(f"timer {number} fired")
        self.loop.fire(timer)
        self.loop.run_until_idle()
        return True

    def start(self, code: Coroutine[Any, Any, Any]) -> WorkflowTask[Any]:
        task = self.loop.create_task(code)
        self.loop.run_until_idle()
        return task

    def finish(self, task: WorkflowTask[Any]) -> Any:
        while not task.done():
            assert self.fire_next(), "the program waits for something that never comes"
        return task.result()

    def run(self, code: Coroutine[Any, Any, Any]) -> Any:
        return self.finish(self.start(code))


def run(program: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return Drive().run(program())
