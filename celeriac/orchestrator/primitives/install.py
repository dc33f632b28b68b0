"""Bringing the primitives into effect, once per process and not before the first workflow runs in it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from celeriac.orchestrator.primitives import gathering, groups, locks, timeouts, waiting
from celeriac.orchestrator.primitives.redirect import redirect
from celeriac.orchestrator.primitives.refusals import AWAIT, refusing

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[..., Any]

_installed = False


def install() -> None:
    """Let asyncio's functions and classes take our code inside workflows; calling it again does nothing."""
    global _installed  # noqa: PLW0603 - asyncio is a global, too
    if _installed:
        return
    _installed = True
    replacements: list[tuple[Function, Function]] = [
        (asyncio.as_completed, gathering.as_completed),
        (asyncio.gather, gathering.gather),
        (asyncio.wait, waiting.wait),
        (asyncio.wait_for, waiting.wait_for),
        (asyncio.Condition.wait, locks.wait),
        (asyncio.Semaphore.acquire, locks.acquire),
        (asyncio.TaskGroup.__aenter__, groups.enter),
        (asyncio.TaskGroup.__aexit__, groups.leave),
        (asyncio.TaskGroup.create_task, groups.create_task),
        (asyncio.Timeout.__aexit__, timeouts.leave),
    ]
    for original, replacement in replacements:
        redirect(original, _instead(replacement))
    redirect(asyncio.all_tasks, waiting.listing_tasks)
    redirect(asyncio.Timeout.__aenter__, timeouts.entering)
    redirect(asyncio.run, refusing("asyncio.run", AWAIT))
    redirect(asyncio.Runner.run, refusing("asyncio.Runner.run", AWAIT))


def _instead(replacement: Function) -> Callable[[Function], Function]:
    return lambda _: replacement
