"""Keeping ordinary loggers silent while history is replayed: what workflow code logs then has been logged before."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celeriac.orchestrator.primitives.redirect import redirect
from celeriac.orchestrator.primitives.running import workflow_loop

_installed = False


def install() -> None:
    """Have every logger ask, inside workflow code only, whether it is to be silent; calling it again does nothing."""
    global _installed  # noqa: PLW0603 - loggers belong to the process
    if not _installed:
        _installed = True
        redirect(logging.Logger.handle, _unless_silent)


def _unless_silent(handle: Callable[..., Any]) -> Callable[..., None]:
    def handle_unless_silent(self: logging.Logger, record: logging.LogRecord) -> None:
        loop = workflow_loop()
        if loop is None or not loop.silent:
            handle(self, record)

    return handle_unless_silent
