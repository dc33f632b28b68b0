"""Conditions that a run waits for: asked when everything else has come to rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from celeriac.errors import Held


class Conditions:
    """The conditions that are waited for, in the order in which the waits began.

    :param interrupts: exception types that are raised into a thread from outside; they are nobody's who waits.
    """

    def __init__(self, interrupts: tuple[type[BaseException], ...] = ()) -> None:
        self._passing_through: tuple[type[BaseException], ...] = (Held, KeyboardInterrupt, *interrupts)
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def __len__(self) -> int:
        return sum(not waiter.done() for _, waiter in self._waiting)

    def add(self, holds: Callable[[], bool], waiter: asyncio.Future[None]) -> None:
        """Have a waiter's future done once its condition holds."""
        self._waiting.append((holds, waiter))

    def wake(self) -> bool:
        """Wake the first waiter whose condition holds; False when none does. The loop asks again before the next."""
        self._waiting = [each for each in self._waiting if not each[1].done()]
        for index, (holds, waiter) in enumerate(self._waiting):
            if self._answer(holds, waiter):
                del self._waiting[index]
                return True
        return False

    def _answer(self, holds: Callable[[], bool], waiter: asyncio.Future[None]) -> bool:
        """Ask one condition; what it raises belongs to the one who waits."""
        try:
            if not holds():
                return False
        except self._passing_through:
            raise
        except StopIteration as error:  # which a future does not take
            waiter.set_exception(RuntimeError(f"the condition raised {error!r}"))
        except BaseException as error:  # noqa: BLE001
            waiter.set_exception(error)
        else:
            waiter.set_result(None)
        return True

    def clear(self) -> None:
        """Forget all of them."""
        self._waiting.clear()
