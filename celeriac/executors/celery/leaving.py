"""Leaving a workflow's task open: Celery's ``Ignore`` without what an error needs.

Celery makes of each exception a copy of every frame that it went through, with the positions of every instruction, writes the
traceback out, twice, and sends it to the worker's main process. A start that has done its part is no error: nobody reads that,
and it took a third of the time of starting a run.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery.exceptions import Ignore


class LeftOpen(Ignore):
    """The message has been dealt with, and its task goes on: its last message will come some day."""


class BriefInfo(ExceptionInfo):
    """What Celery keeps of an exception; of ``LeftOpen`` the exception alone."""

    def __init__(self, exc_info: Any = None, internal: bool = False) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        exception = exc_info[1] if exc_info else sys.exc_info()[1]
        if not isinstance(exception, LeftOpen):
            super().__init__(exc_info, internal)
            return
        self.type = LeftOpen
        self.tb = None
        self.traceback = ""
        self.internal = internal
        self.exception = ExceptionWithTraceback(exception, "")


@cache
def install() -> None:
    """Have Celery's tracer be brief about ``LeftOpen``, once a process; all other exceptions are told as ever."""
    from celery.app import trace  # noqa: PLC0415 - it brings the worker's modules, which nobody else needs

    trace.ExceptionInfo = BriefInfo
