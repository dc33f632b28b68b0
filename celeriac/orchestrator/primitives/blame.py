"""Finding the line of workflow code, and the call in it, behind what happens further down the stack."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType


class Place(Enum):
    """To whom a stack frame belongs."""

    USER = "user"
    GENERATED = "generated"
    STDLIB = "stdlib"
    INSTALLED = "installed"
    CELERIAC = "celeriac"
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class Culprit:
    """What workflow code did.

    :ivar call: the function it called, as one writes it; None when it called the builtin itself.
    :ivar where: ``file:line`` of the call.
    """

    call: str | None
    where: str


#: Modules of the standard library that do I/O for their own purposes: imports, log records, tracebacks, time
#: zones.
TRUSTED_STDLIB: Final = frozenset(
    {"bdb", "cmd", "encodings", "faulthandler", "gettext", "importlib", "inspect", "linecache", "locale"}
    | {"logging", "pdb", "pkgutil", "pydoc", "runpy", "tokenize", "traceback", "tracemalloc", "warnings"}
    | {"zipimport", "zoneinfo"}
)
#: The same for installed packages: debuggers, coverage and tracing, which come along with any code.
TRUSTED_INSTALLED: Final = frozenset(
    {"_pydev_bundle", "_pydev_runfiles", "_pydevd_bundle", "_pydevd_frame_eval", "coverage", "ddtrace"}
    | {"debugpy", "loguru", "newrelic", "opentelemetry", "pydev_ipython", "pydevd", "pydevd_file_utils"}
    | {"sentry_sdk", "structlog"}
)

_STDLIB: Final = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - this is asked of every file name once, as text
_CELERIAC: Final = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep  # noqa: PTH120
_PACKAGES: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

_claimed: set[str] = set()


def claim(filename: str) -> None:
    """Count a source file as workflow code wherever it lies, be it an installed package or a notebook.

    :param filename: as in ``function.__code__.co_filename``.
    """
    _claimed.add(filename)
    place_of.cache_clear()


@lru_cache(maxsize=4096)
def place_of(filename: str) -> Place:
    """Say to whom a source file belongs, by its name."""
    if filename in _claimed:
        return Place.USER
    if filename.startswith("<"):
        module = filename.removeprefix("<frozen ").rstrip(">").partition(".")[0]
        frozen = Place.TRUSTED if module in TRUSTED_STDLIB else Place.STDLIB
        return frozen if filename.startswith("<frozen ") else Place.GENERATED
    if filename.startswith(_CELERIAC):
        return Place.CELERIAC
    for packages in _PACKAGES:
        _, found, inner = filename.rpartition(packages)
        if found:
            return Place.TRUSTED if _top(inner) in TRUSTED_INSTALLED else Place.INSTALLED
    if filename.startswith(_STDLIB):
        return Place.TRUSTED if _top(filename.removeprefix(_STDLIB)) in TRUSTED_STDLIB else Place.STDLIB
    return Place.USER


def _top(path: str) -> str:
    return path.partition(os.sep)[0].removesuffix(".py")


def culprit(frame: FrameType | None, through: frozenset[Place]) -> Culprit | None:
    """Walk outwards from ``frame`` to the workflow code that is responsible for what happens there.

    :param through: whose frames may lie between; another's frame takes the responsibility, and None is
        returned, as it is when the workflow code runs on behalf of something trusted (a module being
        imported, a log record written).
    """
    inner = None
    while frame is not None and place_of(frame.f_code.co_filename) is not Place.USER:
        if place_of(frame.f_code.co_filename) not in through:
            return None
        inner, frame = frame, frame.f_back
    if frame is None or _is_on_behalf(frame):
        return None
    return Culprit(call_of(inner), where(frame))


def _is_on_behalf(frame: FrameType) -> bool:
    """Whether a trusted module lies between this frame and the workflow's loop."""
    outer: FrameType | None = frame
    while outer is not None and outer.f_code.co_qualname != "WorkflowLoop.run_until_idle":
        if place_of(outer.f_code.co_filename) is Place.TRUSTED:
            return True
        outer = outer.f_back
    return False


def where(frame: FrameType) -> str:
    """Return ``file:line`` for a frame."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def call_of(frame: FrameType | None) -> str | None:
    """Name the function in ``frame`` as callers write it: ``asyncio.to_thread``, ``pathlib.Path.open``."""
    if frame is None:
        return None
    module = frame.f_globals.get("__name__", "")
    name = frame.f_code.co_qualname
    package = module.partition(".")[0]
    if hasattr(sys.modules.get(package), name.partition(".")[0]):
        module = package
    return f"{module}.{name}"


NOT_THE_USERS: Final = frozenset({Place.CELERIAC, Place.GENERATED, Place.STDLIB, Place.TRUSTED})


def user_line(frame: FrameType | None) -> str:
    """Return ``file:line`` of the nearest frame of workflow code, or an empty string where none is at work."""
    while frame is not None and frame.f_code.co_qualname != "WorkflowLoop.run_until_idle":
        if place_of(frame.f_code.co_filename) not in NOT_THE_USERS:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
