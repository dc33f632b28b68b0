"""The comparison at the end: what was asked for, what is recorded, and what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select

from celeriac.errors import CeleriacError
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import Run
from celeriac.orchestrator.replay import replay
from celeriac.stores.sql import SqlStore
from tests.chaos.ledger import Ledger
from tests.chaos.members import Diary
from tests.chaos.numbers import DOSES, is_flaky
from tests.chaos.plans import Plan

_OUTCOMES = {"activity_completed", "activity_failed", "activity_canceled"}
_LEFT = 5
"""How many rows are named of those that should not be there."""


class Verdict:
    """Finds violations.

    :param shop: the module ``tests.chaos.shop``.
    """

    def __init__(self, shop: Any, ledger: Ledger, diary: Diary) -> None:
        self._shop = shop
        self._ledger = ledger
        self._diary = diary
        self.events = 0
        self.outcomes = 0
        self.executions = ledger.count("begun")

    @property
    def _store(self) -> SqlStore:
        found = self._shop.durable.runtime.store
        assert isinstance(found, SqlStore)
        return found

    def violations(self, plans: Sequence[Plan]) -> Iterator[str]:
        """Yield whatever is not as it has to be."""
        yield from self._rows(len(plans))
        runs: dict[str, Plan] = {}
        for plan in plans:
            run = self._store.find_run("chaos", workflow_id=plan.workflow_id)
            if run is None:
                yield f"{plan.workflow_id}: there is no run"
                continue
            runs[run.run_id] = plan
            for each in self._run(plan, run):
                yield f"{plan.workflow_id} ({run.run_id}): {each}"
        for entry in self._ledger.entries:
            if entry.run not in runs:
                yield f"done for nobody: {entry}"
        for holder, entry in self._ledger.overlaps(self._diary):
            gap = entry.at - holder.at
            yield f"{runs[entry.run].workflow_id}: begun again {gap:.2f} s after it was begun: {holder}, {entry}"

    def told(self, violations: Sequence[str], plans: Sequence[Plan]) -> str:
        """Return the runs that violations name, with their histories and what their activities did."""
        named = {each.partition(" (")[0].partition(":")[0] for each in violations}
        lines = []
        for plan in plans:
            run = self._store.find_run("chaos", workflow_id=plan.workflow_id) if plan.workflow_id in named else None
            if run is not None:
                done = [entry for entry in self._ledger.entries if entry.run == run.run_id]
                lines += [run, *self._store.history(run.run_id), *self._store.tasks(run.run_id), *done, ""]
        return "\n".join(map(str, lines))

    def _rows(self, expected: int) -> Iterator[str]:
        tables = self._store.db.tables
        with self._store.db.engine.connect() as connection:
            found = connection.scalar(select(func.count()).select_from(tables.runs))
            if found != expected:
                yield f"there are {found} runs, asked for were {expected}"
            for table in (tables.tasks, tables.inbox):
                for row in connection.execute(select(table).limit(_LEFT)):
                    yield f"left in {table.name}: {row}"

    def _run(self, plan: Plan, run: Run) -> Iterator[str]:
        if run.status is not plan.status:
            yield f"it is {run.status}, not {plan.status}; blocked: {run.blocked}, failure: {run.failure}"
            return
        if run.result not in plan.results:
            yield f"its result is {run.result}, not one of {plan.results}"
        history = self._store.history(run.run_id)
        self.events += len(history)
        yield from _order(run, history)
        yield from self._activities(plan, run, history)
        yield from self._near(plan, run, history)
        yield from _timers(plan, history)
        payloads = [each.data.get("payload") for each in history if each.type == "signal_received"]
        if payloads != list(range(plan.signals)):
            yield f"its signals are {payloads}"
        try:
            definition = self._shop.app.tasks[plan.workflow].definition
            registry = self._shop.durable.runtime.registry
            again = replay(definition, history, definitions=registry, run_id=run.run_id, workflow_id=run.workflow_id)
            again.discard()
        except CeleriacError as error:
            yield f"it can't be replayed: {error}"

    def _activities(self, plan: Plan, run: Run, history: Sequence[HistoryEvent]) -> Iterator[str]:
        scheduled = {each.data["command"]: each.data for each in history if each.type == "activity_scheduled"}
        numbers = sorted(each["args"][0] for each in scheduled.values())
        if numbers != sorted(plan.numbers):
            yield f"its activities are {numbers}, not {sorted(plan.numbers)}"
        attempts = {
            each.data["activity"]: each.data.get("attempt", 1) for each in history if each.type == "activity_started"
        }
        ends = [each for each in history if each.type in _OUTCOMES]
        self.outcomes += len(ends)
        counted = Counter(each.data["activity"] for each in ends)
        if counted != Counter(dict.fromkeys(scheduled, 1)) and not plan.deadly:
            yield f"outcomes by activity: {dict(counted)}, scheduled are {sorted(scheduled)}"
        for end in ends:
            asked = scheduled.get(end.data["activity"])
            if asked is not None:
                yield from self._outcome(run, end, asked, attempts.get(end.data["activity"]))

    def _near(self, plan: Plan, run: Run, history: Sequence[HistoryEvent]) -> Iterator[str]:
        ends = [each.data for each in history if each.type == "local_activity_completed"]
        self.outcomes += len(ends)
        found = [(end["args"][0], end["result"]) for end in ends]
        if found != [(number, number * number) for number in plan.near]:
            yield f"in its turns there ran {found}, not {plan.near}"
        for end in ends:
            done = self._ledger.attempts(f"{run.run_id}-{end['command']}", "done")
            if end.get("attempts", 1) not in done:
                yield f"attempt {end.get('attempt', 1)} of {end} is recorded, done were {done}"

    def _outcome(self, run: Run, end: HistoryEvent, asked: dict[str, Any], attempt: int | None) -> Iterator[str]:
        number, name = asked["args"][0], asked["activity"]
        activity = f"{run.run_id}-{asked['command']}"
        done, begun = (self._ledger.attempts(activity, what) for what in ("done", "begun"))
        if end.type == "activity_completed":
            if end.data.get("result") != number * number:
                yield f"{name} {number} has the result {end.data.get('result')}"
            if attempt not in done:
                yield f"{name} {number}: attempt {attempt} is recorded as completed, done were {done}"
            if name == "step" and is_flaky(number) and attempt == 1:
                yield f"{name} {number} succeeded at once"
        elif name == "toxin":
            if begun != list(range(1, DOSES + 1)):
                yield f"{name} {number} was attempted {begun}, not {DOSES} times"
        elif name != "once":
            yield f"{name} {number} ended with {end.type}: {end.data}"
        if name == "once" and len(begun) > 1:
            yield f"{name} {number} was begun {len(begun)} times"


def _order(run: Run, history: Sequence[HistoryEvent]) -> Iterator[str]:
    numbers = [each.number for each in history]
    if numbers != list(range(1, len(numbers) + 1)) or run.version != len(numbers):
        yield f"the events are {numbers}, the version is {run.version}"
    times = [each.at for each in history]
    if times != sorted(times):
        yield f"the times of the events run backwards: {times}"
    ends = {"completed": "workflow_completed", "canceled": "workflow_canceled", "terminated": "workflow_terminated"}
    if history and (history[0].type, history[-1].type) != ("workflow_started", ends[run.status]):
        yield f"it begins with {history[0].type} and ends with {history[-1].type}"


def _timers(plan: Plan, history: Sequence[HistoryEvent]) -> Iterator[str]:
    """Compare timers: those of the workflow, and those for which a local activity waits until it is attempted again."""
    started = {each.data["command"]: each.data["fire_at"] for each in history if each.type == "timer_started"}
    delays = [
        (each.data["command"], each.data["retry_at"]) for each in history if each.type == "local_activity_delayed"
    ]
    fired = [(each.data["timer"], each.at) for each in history if each.type == "timer_fired"]
    expected = sorted([*([] if plan.canceled else started), *(command for command, _ in delays)])
    if len(started) != len(plan.timers) or sorted(timer for timer, _ in fired) != expected:
        yield f"of its timers {sorted(started)} and delays {delays} there fired {fired}"
    waiting = [*delays, *started.items()]
    for timer, at in fired:
        due = next((each for each in waiting if each[0] == timer), None)
        if due is not None:
            waiting.remove(due)
            if at < due[1]:
                yield f"timer {timer} fired {(due[1] - at) / 1e6:.3f} s too early"
