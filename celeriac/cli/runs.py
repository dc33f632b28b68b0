"""How a run looks in a line: its status in colour, when it was started, what it waits for."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from celeriac.cli.screen import plain
from celeriac.cli.text import relative, shortened, visible
from celeriac.failures import summary
from celeriac.orchestrator.model import SECOND
from celeriac.orchestrator.status import WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.orchestrator.model import Micros, Run

STYLES: Final[dict[WorkflowStatus, str]] = {
    WorkflowStatus.RUNNING: "cyan",
    WorkflowStatus.BLOCKED: "bold yellow",
    WorkflowStatus.PAUSED: "yellow",
    WorkflowStatus.COMPLETED: "green",
    WorkflowStatus.FAILED: "red",
    WorkflowStatus.CANCELED: "magenta",
    WorkflowStatus.TERMINATED: "red",
    WorkflowStatus.TIMED_OUT: "red",
    WorkflowStatus.CONTINUED_AS_NEW: "dim",
}
_TIMER: Final = re.compile(r"timer until (\S+)")
_NOTE: Final = 100
"""How many characters of a reason stand in a list."""


def status_word(status: WorkflowStatus) -> Text:
    """Return a status in its colour."""
    return Text(status.value.replace("_", " "), STYLES.get(status, ""))


def waits(run: Run, now: Micros) -> list[str]:
    """Say what a run waits for: the same thing several times is said once, and when timers are due."""
    counted = Counter(_wait(each, now) for each in run.waits)
    return [phrase if times == 1 else f"{phrase} × {times}" for phrase, times in counted.items()]  # noqa: RUF001


def _wait(phrase: str, now: Micros) -> str:
    timer = _TIMER.fullmatch(phrase)
    if timer is None:
        return visible(phrase)
    try:
        at = round(datetime.fromisoformat(timer[1]).timestamp() * SECOND)
    except ValueError:
        return visible(phrase)
    return f"timer, due {relative(at, now)}" if at > now else "timer, due now"


def note(run: Run, now: Micros) -> Text:
    """Return what is to be known besides a run's status: what it waits for, what holds it, why it failed."""
    if run.status is WorkflowStatus.BLOCKED:
        first = str((run.blocked or {}).get("message", "")).partition("\n")[0]
        return Text(shortened(visible(first), _NOTE), "yellow")
    if run.status.open:
        return Text(", ".join(waits(run, now)) or "its next turn")
    if run.failure is not None and run.status is not WorkflowStatus.COMPLETED:
        return Text(shortened(visible(summary(run.failure)), _NOTE), "dim")
    return Text()


def table(runs: Iterable[Run], now: Micros) -> Table:
    """Return runs as a table."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim")
    found.add_column("id", overflow="fold", min_width=12)
    found.add_column("name", overflow="fold")
    found.add_column("status", no_wrap=True)
    found.add_column("started", no_wrap=True)
    found.add_column("waits for", overflow="fold")
    for run in runs:
        found.add_row(
            plain(run.workflow_id),
            plain(run.name),
            status_word(run.status),
            Text(relative(run.created_at, now), "dim"),
            note(run, now),
        )
    return found
