"""Arming the points at which processes kill themselves; see ``celeriac.crashes``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from celeriac.crashes import CrashPoint
from tests.acceptance.stage import until


@dataclass(frozen=True)
class Mines:
    """A folder that workers have in ``CELERIAC_CRASH_AT``."""

    folder: Path

    def lay(self, point: CrashPoint, number: int = 1, *, spare: int | None = None) -> None:
        """Have the process die that passes a point for the given time, counted over all processes.

        :param spare: the id of one that is not counted and does not die.
        """
        for each in range(1, number + 1):
            whole = self.folder / f"new {point}"  # a name that no process looks at, until it can be read whole
            whole.write_text("" if spare is None else str(spare))
            whole.rename(self.folder / f"{point}.{each}")

    def struck(self, point: CrashPoint) -> None:
        """Wait until it has died."""
        until(f"a process has died at {point}", lambda: not list(self.folder.glob(f"{point}.*")))
