"""Where workflow code stands, and where an exception has come through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from celeriac.orchestrator.bridge import run_sync
from celeriac.orchestrator.primitives.blame import NOT_THE_USERS, place_of


def raised_at(traceback: TracebackType | None) -> str:
    """Return ``file:line`` of the innermost frame of workflow code that an exception came through."""
    found = ""
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if place_of(filename) not in NOT_THE_USERS:
            found = f"{filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found


def users_part(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out the loop's own frames, and have them let go of what they hold: frames of workflow code refer to them."""
    while traceback is not None and place_of(traceback.tb_frame.f_code.co_filename) in NOT_THE_USERS:
        with suppress(RuntimeError):  # one that is still at work can't be cleared
            traceback.tb_frame.clear()
        traceback = traceback.tb_next
    return traceback


def frames_of(code: Any) -> Iterator[FrameType]:
    """Go through the frames of suspended code, the outermost first: coroutines, and plain functions in their greenlets."""
    while code is not None:
        frame = getattr(code, "cr_frame", None) or getattr(code, "gi_frame", None)
        if frame is None:
            return
        yield frame
        branch = frame.f_locals.get("branch") if frame.f_code is run_sync.__code__ else None
        if branch is not None:
            yield from reversed(list(_outwards(branch.gr_frame)))
        code = getattr(code, "cr_await", None) or getattr(code, "gi_yieldfrom", None)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
