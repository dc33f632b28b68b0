"""Telling whether the running event loop is a workflow's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # It has all methods, so that a checker takes a loop derived from it for one that can be made.
    from asyncio import BaseEventLoop as _Base
    from collections.abc import Iterator

    from celeriac.errors import Held
else:
    _Base = asyncio.AbstractEventLoop


class DeterministicLoop(_Base):
    """What marks an event loop as a workflow's.

    :ivar numbers: hands out the numbers of futures and tasks.
    :ivar held: the first forbidden call made on this loop, whatever the workflow's code did with the
        exception; the turn in which it was made can't be committed.
    :ivar silent: what the workflow's code logs now has been logged before.
    """

    numbers: Iterator[int]
    held: Held | None = None
    silent: bool = False

    def pending_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done, in the order of their making."""
        raise NotImplementedError


def workflow_loop() -> DeterministicLoop | None:
    """Return the workflow's loop that runs in this thread right now, or None outside workflow code."""
    loop = asyncio._get_running_loop()  # noqa: SLF001 - the public one raises where there is none
    return loop if isinstance(loop, DeterministicLoop) else None
