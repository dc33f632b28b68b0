"""Letting go of code that is suspended and must not go on.

Python has no way to drop a suspended coroutine or greenlet without running its ``finally`` blocks. They are
run here and now, with an exception that says what happens and at every further ``await`` is raised anew,
instead of whenever the garbage collector comes by, in whichever run happens to be at work then.
"""

from __future__ import annotations

import ctypes
import inspect
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE: Final = 100
"""How many awaits, one after the other, code that is discarded may make before it is left where it stands."""

_left_standing: list[object] = []  # kept, to be counted and looked into


class RunDiscarded(BaseException):
    """This copy of the run is no longer wanted: its process forgets it, the run goes on from its history.

    Nothing that the code does from here on is recorded. Let it through; ``finally`` blocks need not care.
    """

    def __init__(self) -> None:
        super().__init__(
            "this copy of the workflow is being dropped from memory. The run goes on from its history, "
            "so there is nothing to clean up here, and nothing done here is recorded."
        )


def unwind(coroutine: Any) -> None:
    """End a suspended coroutine, whatever its code does about it; raises nothing. None is no coroutine."""
    if coroutine is not None:
        insist(lambda: coroutine.throw(RunDiscarded()), coroutine)


def insist(throw: Callable[[], object], target: object) -> None:
    """Call ``throw`` until it raises, by which ``target`` has ended, at most :data:`PATIENCE` times.

    :param throw: returns what ``target`` awaits next.
    """
    for _ in range(PATIENCE):
        try:
            close(throw())
        except BaseException:  # noqa: BLE001 - whatever it is, it is nobody's business any more
            return
    _left_standing.append(target)
    # One reference more than there is, so that not even the end of the interpreter collects it: its code would run on then,
    # and what catches everything and tries again would keep the process from ending.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(target))


def close(awaitable: object) -> None:
    """Do with something awaited what has to be done when it is not going to be awaited."""
    if inspect.iscoroutine(awaitable):
        awaitable.close()  # or Python warns that it never was
    elif getattr(awaitable, "_asyncio_future_blocking", False):
        # What a task does when it is handed a future. Left out, a second await of the same future fails at
        # once instead of coming back here, and code that catches everything and tries again would spin.
        awaitable._asyncio_future_blocking = False  # type: ignore[attr-defined]  # noqa: SLF001
