"""The report as it goes, on disk, so that what is known so far outlives the driver."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.chaos.report import Report

EVERY: Final = 2.0
"""Seconds between two reports while faults strike."""


class Journal:
    """A folder with ``report.json``, ``report.md``, and ``events.jsonl``, a line for each thing that happened.

    :param draw: makes a report of how things stand.
    """

    def __init__(self, folder: Path, draw: Callable[[], Report]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._draw = draw
        self._begun = time.monotonic()
        self._written = 0.0
        self._lock = threading.Lock()
        (folder / "events.jsonl").write_text("")

    def note(self, what: str, whom: str) -> None:
        """Write down one thing, at once."""
        line = json.dumps({"at": round(time.monotonic() - self._begun, 3), "what": what, "whom": whom})
        with self._lock, (self.folder / "events.jsonl").open("a") as file:
            file.write(line + "\n")

    def go_on(self) -> None:
        """Write a report if it is time to."""
        if time.monotonic() - self._written > EVERY:
            self.write(self._draw())

    def write(self, report: Report) -> None:
        """Write this report in place of the last one."""
        self._written = time.monotonic()
        for name, text in (("report.json", report.as_json() + "\n"), ("report.md", report.as_markdown())):
            new = self.folder / f".{name}"
            new.write_text(text)
            new.replace(self.folder / name)
