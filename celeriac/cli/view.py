"""One run in full: who it is, what holds it or how it ended, its history, and what is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from celeriac.activities.options import ActivityOptions
from celeriac.cli.advice import advice
from celeriac.cli.data import of_kind
from celeriac.cli.failures import failure_text
from celeriac.cli.runs import status_word, waits
from celeriac.cli.screen import plain
from celeriac.cli.text import brief, call, clock, count, relative, shortened, span, visible
from celeriac.failures import summary
from celeriac.orchestrator.model import SECOND
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from celeriac.orchestrator.model import Micros, Run, Task

_VALUE = 400
"""How many characters of input, result and the like are shown unless all is asked for."""


def header(run: Run, tasks: Sequence[Task], now: Micros, *, full: bool = False) -> list[RenderableType]:
    """Return who the run is and how it stands.

    :param full: with whole values and stacks.
    """
    title = Text.assemble((visible(run.workflow_id), "bold"), "  ", status_word(run.status))
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(run, tasks, now, full=full):
        facts.add_row(name, value)
    found: list[RenderableType] = [title, facts]
    if run.status is WorkflowStatus.BLOCKED:
        found += ["", held_text(run, tasks, now)]
    return found


def _facts(run: Run, tasks: Sequence[Task], now: Micros, *, full: bool) -> Iterator[tuple[str, RenderableType]]:
    limit = None if full else _VALUE
    version = f", version {visible(run.definition_version)}" if run.definition_version else ""
    yield "workflow", plain(run.name + version)
    yield "run", plain(run.run_id)
    yield "started", Text(f"{clock(run.created_at)}, {relative(run.created_at, now)}")
    if run.closed_at is not None:
        took = span((run.closed_at - run.created_at) / SECOND)
        yield "ended", Text(f"{clock(run.closed_at)}, {relative(run.closed_at, now)}, after {took}")
    for task in of_kind(tasks, TaskKind.TIMEOUT):
        if task.due_at is not None:
            yield "ends by", Text(f"{clock(task.due_at)}, {relative(task.due_at, now)}")
    if run.queue:
        yield "queue", plain(run.queue)
    given: dict[str, Any] = run.input if isinstance(run.input, dict) else {}
    yield "input", Text(call("", given.get("args"), given.get("kwargs"), limit))
    for name in ("memo", "attributes"):
        if getattr(run, name):
            yield name, Text(brief(getattr(run, name), limit))
    if run.status.open:
        yield "waits for", Text("\n".join(waits(run, now)) or "its next turn")
    elif run.status is WorkflowStatus.COMPLETED:
        yield "result", Text(brief(run.result, limit), "green")
    elif run.failure is not None:
        yield "failure", failure_text(run.failure, full=full)


def held_text(run: Run, tasks: Sequence[Task], now: Micros) -> Text:
    """Return why a run is held, since when, and what to do about it."""
    blocked = run.blocked or {}
    since = blocked.get("since")
    times = count(int(blocked.get("times", 1)), "time")
    lead = "Held, not failed: nothing of its last turn was recorded and nothing is lost."
    tried = f"Tried {times}" + (f", first {relative(since, now)}" if isinstance(since, int) else "")
    for turn in of_kind(tasks, TaskKind.TURN):
        if turn.due_at is not None and turn.state is TaskState.QUEUED:
            tried += f"; next try {relative(turn.due_at, now)}"
    message = visible(str(blocked.get("message", "")), lines=True)
    return Text("\n").join(
        [
            Text(lead, "bold yellow"),
            Text(f"{tried}.", "dim"),
            Text(""),
            Text(f"{visible(str(blocked.get('reason', '')))}: {message}"),
            Text(""),
            Text(advice(blocked), "yellow"),
        ]
    )


def under_way(tasks: Sequence[Task], now: Micros, *, full: bool = False) -> list[RenderableType]:
    """Return the activities and timers that the run waits for; nothing where there are none."""
    found: list[RenderableType] = []
    activities = of_kind(tasks, TaskKind.ACTIVITY)
    if activities:
        found += ["", Text(count(len(activities), "activity") + " under way", "bold")]
        found += [Padding(_activities(activities, now, full=full), (0, 0, 0, 2), expand=False)]
    timers = of_kind(tasks, TaskKind.TIMER)
    if timers:
        found += ["", Text(count(len(timers), "timer"), "bold")]
        found += [Padding(_timers(timers, now), (0, 0, 0, 2), expand=False)]
    return found


def _activities(tasks: Sequence[Task], now: Micros, *, full: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim")
    table.add_column("activity", overflow="fold")
    table.add_column("attempt", no_wrap=True)
    table.add_column("state", overflow="fold")
    table.add_column("last error", overflow="fold")
    for task in tasks:
        most = ActivityOptions.from_json(task.data.get("options", {})).retry.max_attempts
        table.add_row(
            plain(f"{task.data.get('name')} #{task.seq}"),
            Text(f"{task.attempt} of {most}" if most is not None else str(task.attempt)),
            Text(_state(task, now)),
            _last_error(task, full=full),
        )
    return table


def _state(task: Task, now: Micros) -> str:
    if task.state is TaskState.RUNNING:
        words = f"on {visible(task.worker) or 'a worker'}"
        words += f" for {span((now - task.started_at) / SECOND)}" if task.started_at is not None else ""
    else:
        queue = f" on queue {visible(task.queue)}" if task.queue else ""
        due = f", sent again {relative(task.due_at, now)} if none takes it" if task.due_at is not None else ""
        words = f"waits for a worker{queue}{due}"
    if task.details is not None:
        words += f", heartbeat {brief(task.details)}"
    return words + (", asked to stop" if task.cancel_requested else "")


def _last_error(task: Task, *, full: bool) -> Text:
    if task.failure is None:
        return Text("")
    return Text(shortened(visible(summary(task.failure)), None if full else 100), "red")


def _timers(tasks: Sequence[Task], now: Micros) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for task in tasks:
        due = task.due_at or now
        table.add_row(Text(f"#{task.seq}"), Text(f"due {relative(due, now)}"), Text(clock(due), "dim"))
    return table
