"""Hears what celeriac logs in a world: an error that is not one of the simulated ones is a violation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from celeriac.errors import StoreUnavailable
from celeriac.testing.simulate.scheduler import Violation

_LOG: Final = logging.getLogger("celeriac")


class Listener(logging.Handler):
    """Keeps the first error that nobody has simulated."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an error."""
        error = record.exc_info[1] if record.exc_info else None
        if self.heard is None and not isinstance(error, StoreUnavailable):
            self.heard = error or Violation(record.getMessage())


@contextmanager
def listening() -> Iterator[Listener]:
    """Listen to celeriac's loggers, which say nothing to anybody else meanwhile; once begun, further ones join in."""
    known = [each for each in _LOG.handlers if isinstance(each, Listener)]
    if known:
        known[0].heard = None
        yield known[0]
        return
    listener, level, propagate = Listener(), _LOG.level, _LOG.propagate
    _LOG.addHandler(listener)
    _LOG.setLevel(logging.ERROR)
    _LOG.propagate = False
    try:
        yield listener
    finally:
        _LOG.removeHandler(listener)
        _LOG.setLevel(level)
        _LOG.propagate = propagate
