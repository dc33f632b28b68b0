"""What has really been executed, written down where the engine knows nothing of it.

Every activity of the demo appends a line when it begins and one when it ends. Each line is one write, so that
lines of several processes never mix; of what a killed process was about, the end is missing.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from celeriac.activities.context import activity_context

FILE: Final = "DEMO_LEDGER"
WORKER: Final = "DEMO_WORKER"
"""The environment variables that tell a worker where the ledger is, and its own name."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of an activity.

    :param activity_id: the same for all executions of one activity; begins with the run's id.
    :param ended: False while it is under way, and for ever when its process was killed.
    """

    activity_id: str
    name: str
    worker: str
    ended: bool


@contextmanager
def executing() -> Iterator[None]:
    """Write down that the activity under way begins, and that it ends, well or not."""
    context = activity_context()
    line = {
        "execution": uuid.uuid4().hex,
        "activity_id": context.activity_id,
        "name": context.activity,
        "worker": os.environ[WORKER],
    }
    _append({**line, "ended": False})
    try:
        yield
    finally:
        _append({**line, "ended": True})


def _append(line: dict[str, object]) -> None:
    file = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


def read(file: Path) -> list[Execution]:
    """Return all executions so far, in the order in which they began."""
    found: dict[str, Execution] = {}
    for text in file.read_text().splitlines() if file.exists() else []:
        line = json.loads(text)
        found[line["execution"]] = Execution(line["activity_id"], line["name"], line["worker"], line["ended"])
    return list(found.values())


def under_way(file: Path, worker: str) -> list[Execution]:
    """Return what a worker has begun and not ended."""
    return [each for each in read(file) if each.worker == worker and not each.ended]
