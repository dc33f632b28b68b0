"""How a run looks in a line: its status in colour, when it was started, what it waits for."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from celeriac.cli.screen import plain
from celeriac.cli.text import relative, shortened, times, visible
from celeriac.failures import summary
from celeriac.orchestrator.model import SECOND
from celeriac.orchestrator.status import WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

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
_HEADINGS: Final = ("id", "name", "status", "started", "waits for")
_ROOM: Final = 30
"""How many columns are to be left for what a run waits for."""


def status_word(status: WorkflowStatus) -> Text:
    """Return a status in its colour."""
    return Text(status.value.replace("_", " "), STYLES.get(status, ""))


def waits(run: Run, now: Micros) -> list[str]:
    """Say what a run waits for: the same thing several times is said once, and when timers are due."""
    return times(Counter(_wait(each, now) for each in run.waits))


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


def table(runs: Sequence[Run], now: Micros, width: int) -> Table:
    """Return runs as a table: a line each, or two where a line would not hold it.

    :param width: how many columns the screen has.
    """
    rows = [
        (
            plain(run.workflow_id),
            plain(run.name, "dim"),
            status_word(run.status),
            Text(relative(run.created_at, now), "dim"),
            note(run, now),
        )
        for run in runs
    ]
    taken = sum(max(len(_HEADINGS[at]), *(row[at].cell_len for row in rows)) + 2 for at in range(4))
    if width - taken >= _ROOM:
        return _table(_HEADINGS, rows, width)
    both = [
        (Text("\n").join((name, flow)), Text("\n").join((status, since)), what)
        for name, flow, status, since, what in rows
    ]
    return _table(("id, name", "status", "waits for"), both, width)


def _table(headings: Sequence[str], rows: Sequence[Sequence[Text]], width: int) -> Table:
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim")
    for at, heading in enumerate(headings):
        # What is wider than half the screen is folded, never cut: an id is there to be copied.
        whole = all(line.cell_len <= width // 2 for row in rows for line in row[at].split())
        found.add_column(heading, no_wrap=whole and heading != headings[-1], overflow="fold")
    for row in rows:
        found.add_row(*row)
    return found
