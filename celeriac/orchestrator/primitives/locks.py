"""Where Pythons differ in ``asyncio.Semaphore`` and ``Condition``: whom they wake after a wait, and when.

As on the newest: a permit or a notice that its receiver can't use goes to the next in line at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any


async def acquire(self: Any) -> bool:
    """Take ``Semaphore.acquire``'s place."""
    if not self.locked():
        self._value -= 1
        return True
    if self._waiters is None:
        self._waiters = deque()
    waiter = self._get_loop().create_future()
    self._waiters.append(waiter)
    try:
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)
    except asyncio.CancelledError:
        if waiter.done() and not waiter.cancelled():
            self._value += 1  # the permit had been handed over already
        raise
    finally:
        _hand_out_permits(self)
    return True


def _hand_out_permits(self: Any) -> None:
    for waiter in self._waiters:
        if self._value <= 0:
            return
        if not waiter.done():
            self._value -= 1
            waiter.set_result(True)


async def wait(self: Any) -> bool:
    """Take ``Condition.wait``'s place."""
    if not self.locked():
        raise RuntimeError("Condition.wait() needs the condition's lock: async with condition: await condition.wait()")
    waiter = self._get_loop().create_future()
    self.release()
    try:
        try:
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        finally:
            await _take_back(self)
    except BaseException:
        _pass_the_notice_on(self)
        raise
    return True


async def _take_back(self: Any) -> None:
    """Acquire the lock again whatever happens, and only then let a cancellation through."""
    cancelled = None
    while True:
        try:
            await self.acquire()
            break
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        raise cancelled


def _pass_the_notice_on(self: Any) -> None:
    for waiter in self._waiters:
        if not waiter.done():
            waiter.set_result(False)
            return
