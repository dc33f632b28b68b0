"""What the simulator has found, each as the shortest story that shows it, and with the seed that did.

A seed repeats its schedule only with the version of the simulator that found it; the stories stay.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celeriac.activities.definition import ActivityDefinition
from celeriac.errors import QueryFailed
from celeriac.executors.local import JumpingClock, LocalExecutor
from celeriac.orchestrator.context import WorkflowContext
from celeriac.orchestrator.definition import Registry, WorkflowDefinition, WorkflowSettings
from celeriac.orchestrator.executor import WorkflowHandle
from celeriac.orchestrator.model import Commit, CommitOutcome, micros
from celeriac.orchestrator.replay import replay
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.stores.memory import InMemoryStore
from celeriac.testing.histories import compact

STEP = ActivityDefinition("step")
PATIENT = STEP.with_options({"cancellation": "wait"})


class Stage:
    """One run of a workflow, driven by hand: a turn, an outcome or a signal at a time."""

    def __init__(
        self, fn: Any, settings: WorkflowSettings | None = None, store: type[InMemoryStore] = InMemoryStore
    ) -> None:
        clock = JumpingClock()
        self.registry = Registry()
        self.definition = WorkflowDefinition("story", fn, settings)
        self.registry.add_workflow(self.definition)
        self.executor = LocalExecutor(self.registry, store(clock), clock=clock)
        self.handle: WorkflowHandle[Any] = self.executor.execute("story")

    def turn(self) -> None:
        self.executor.engine.turn(self.handle.run_id)

    def end(self, seq: int, result: Any = None) -> None:
        claim = self.executor.attempts.claim(self.handle.run_id, seq, attempt=1)
        assert claim is not None
        assert self.executor.attempts.completed(claim, result)

    def story(self) -> list[str]:
        return compact(self.executor.history(self.handle.id))[1:]

    def query(self, name: str) -> Any:
        return self.executor.query(self.handle.id, name)


async def one_step(ctx: WorkflowContext) -> str:
    return str(await ctx.execute_activity(STEP))


async def one_signal(ctx: WorkflowContext) -> Any:
    return await ctx.wait_signal("stop")


async def step_or_signal(ctx: WorkflowContext) -> Any:
    return await ctx.first(ctx.execute_activity(STEP), ctx.wait_signal("stop"))


async def counts_signals(ctx: WorkflowContext) -> int:
    seen: list[Any] = []
    ctx.on_signal("n", seen.append)
    ctx.query_as("seen")(seen.copy)
    await ctx.execute_activity(STEP)
    return len(seen)


def test_a_signal_that_came_in_after_the_closing_outcome_is_not_closed_over() -> None:  # seed 5
    stage = Stage(one_step)
    stage.turn()
    stage.end(1, "done")
    stage.handle.signal("late", 1)
    stage.turn()
    assert stage.story() == [
        "activity_scheduled step#1()",
        "signal_received late(1)",
        "activity_started step#1",
        "activity_completed step#1 -> 'done'",
        "workflow_completed -> 'done'",
    ]


def test_the_code_sees_it_before_it_returns() -> None:  # seed 16
    stage = Stage(counts_signals)
    stage.turn()
    stage.end(1)
    stage.handle.signal("n", 1)
    stage.handle.signal("n", 2)
    stage.turn()
    assert stage.handle.result() == 2


def test_signals_keep_their_order_when_the_first_of_them_closes_the_run() -> None:  # seed 14
    stage = Stage(one_signal)
    stage.turn()
    for number in (1, 2, 3):
        stage.handle.signal("stop", number)
    stage.turn()
    assert stage.handle.result() == 1
    assert stage.story() == [
        "signal_received stop(1)",
        "signal_received stop(2) early",
        "signal_received stop(3) early",
        "workflow_completed -> 1",
    ]
    replay(stage.definition, stage.executor.history(stage.handle.id), definitions=stage.registry).discard()


def test_refusing_to_close_comes_to_an_end_when_outcome_and_signal_would_both_close_the_run() -> None:
    stage = Stage(step_or_signal)
    stage.turn()
    stage.end(1, "done")
    stage.handle.signal("stop", 1)
    stage.handle.signal("other", 2)
    stage.turn()
    assert stage.handle.result() == (1, 1)
    assert stage.story()[:-1] == [
        "activity_scheduled step#1()",
        "signal_received stop(1)",
        "signal_received other(2) early",
        "activity_cancel_requested step#1",
    ]


def test_a_query_sees_a_signal_behind_the_outcome_that_will_close_the_run() -> None:  # seed 1403
    stage = Stage(counts_signals)
    stage.turn()
    stage.end(1)
    stage.handle.signal("n", 1)
    assert stage.query("seen") == [1]


def test_a_query_before_a_first_turn_that_begins_with_a_side_effect_says_so() -> None:  # seed 6
    async def begins_with_a_side_effect(ctx: WorkflowContext) -> int:
        ctx.query_as("seen")(list)
        return ctx.side_effect(lambda: 1)

    stage = Stage(begins_with_a_side_effect)
    with pytest.raises(QueryFailed, match="has not begun: it begins with a side effect"):
        stage.query("seen")


def test_a_run_that_was_terminated_before_its_first_turn_has_no_steps() -> None:  # seed 1717
    stage = Stage(one_step)
    stage.handle.terminate("never mind")
    assert stage.story() == ["workflow_terminated never mind"]
    with pytest.raises(QueryFailed, match="has not begun: it was terminated before its first turn"):
        stage.query("stack")
    live = replay(stage.definition, stage.executor.history(stage.handle.id), definitions=stage.registry)
    assert live.started is None


def test_a_run_whose_time_was_up_before_its_first_turn_has_no_steps_either() -> None:  # seed 2000
    class NotYet(Exception):
        pass

    async def bad_deploy(ctx: WorkflowContext) -> None:
        raise NotYet

    stage = Stage(bad_deploy, WorkflowSettings(timeout=60, blocks_on=(NotYet,)))
    stage.executor.drive()
    assert stage.handle.status() is WorkflowStatus.TIMED_OUT
    assert stage.story() == ["workflow_timed_out 60s"]
    with pytest.raises(QueryFailed, match="has not begun: it was timed out before its first turn"):
        stage.query("stack")
    live = replay(stage.definition, stage.executor.history(stage.handle.id), definitions=stage.registry)
    assert live.started is None


def test_a_termination_is_not_older_than_what_a_worker_with_a_fast_clock_recorded() -> None:  # seed 66615
    async def two_steps(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(STEP)
        await ctx.execute_activity(STEP)

    stage = Stage(two_steps)
    stage.turn()
    claim = stage.executor.attempts.claim(stage.handle.run_id, 1, attempt=1)
    assert claim is not None
    assert stage.executor.attempts.completed(claim, None, inline=True, elapsed=100.0)
    stage.handle.terminate("now")
    history = stage.executor.history(stage.handle.id)
    assert history[-2].at == claim.now + micros(100.0)
    assert history[-1].at == history[-2].at
    assert stage.handle.status() is WorkflowStatus.TERMINATED


def test_what_comes_in_while_a_turn_ends_blocked_is_tried_at_once() -> None:  # by looking, not by a seed
    class NotYet(Exception):
        pass

    class Busy(InMemoryStore):
        """A store in which a signal arrives while a turn that can't be carried out is given back."""

        def release_turn(self, run_id: str, **options: Any) -> bool:
            code_is_bad.clear()
            stage.handle.signal("anything")
            return super().release_turn(run_id, **options)

    async def refuses(ctx: WorkflowContext) -> str:
        if code_is_bad:
            raise NotYet
        return "done"

    code_is_bad = [True]
    stage = Stage(refuses, WorkflowSettings(blocks_on=(NotYet,)), Busy)
    stage.executor.drive(jump=False)
    assert stage.handle.status() is WorkflowStatus.COMPLETED


async def canceled(step: asyncio.Future[Any]) -> str:
    step.cancel()
    try:
        await step
    except asyncio.CancelledError:
        return "canceled"
    return "not canceled"


def test_an_activity_that_a_local_activitys_outcome_cancels_in_the_turn_that_scheduled_it_is_canceled() -> None:
    # seed 1000204: the run waited for it for ever
    def quickly() -> None: ...

    async def gives_up(ctx: WorkflowContext) -> str:
        step = ctx.execute_activity(PATIENT)
        await ctx.execute_local_activity(quickly)
        return await canceled(step)

    stage = Stage(gives_up)
    stage.turn()
    assert stage.handle.result() == "canceled"
    assert stage.story()[-3:] == [
        "activity_cancel_requested step#1",
        "activity_canceled step#1",
        "workflow_completed -> 'canceled'",
    ]


def test_so_is_one_that_signals_cancel_that_are_taken_together() -> None:  # by looking, not by a seed
    async def gives_up(ctx: WorkflowContext) -> str:
        await ctx.execute_activity(STEP)
        step = ctx.execute_activity(PATIENT)
        await ctx.wait_signal("stop")
        return await canceled(step)

    stage = Stage(gives_up)
    stage.turn()
    stage.end(1)
    stage.handle.signal("stop", 1)
    stage.handle.signal("stop", 2)
    stage.turn()
    assert stage.handle.result() == "canceled"
    assert stage.story()[-6:] == [
        "activity_scheduled step#2()",
        "signal_received stop(1)",
        "signal_received stop(2) early",
        "activity_cancel_requested step#2",
        "activity_canceled step#2",
        "workflow_completed -> 'canceled'",
    ]


class Struck(InMemoryStore):
    """A store whose first commit that would close a run and comes too late, or any, is the last thing before Ctrl-C."""

    struck = False
    comes_too_late = True

    def commit(self, commit: Commit) -> CommitOutcome:
        if commit.status.open or self.struck:
            return super().commit(commit)
        self.struck = True
        if self.comes_too_late:
            assert super().commit(commit) is CommitOutcome.INBOX_MOVED
        raise KeyboardInterrupt


def test_what_is_saved_of_a_turn_that_was_struck_does_not_close_over_a_signal() -> None:  # seed 7043977
    done: list[int] = []

    def call() -> None:
        done.append(1)
        stage.handle.signal("late", 1)

    async def calls(ctx: WorkflowContext) -> None:
        await ctx.execute_local_activity(call)

    stage = Stage(calls, store=Struck)
    with pytest.raises(KeyboardInterrupt):
        stage.turn()
    assert stage.handle.status() is WorkflowStatus.RUNNING
    stage.executor.drive()
    assert stage.story() == [
        "signal_received late(1) early",
        "local_activity_completed call#1() -> None",
        "workflow_completed -> None",
    ]
    assert done == [1]


def test_nor_over_one_that_the_turn_had_put_in_front_of_what_closes_the_run() -> None:  # by looking, not by a seed
    class StruckAtOnce(Struck):
        comes_too_late = False

    done: list[int] = []

    def call() -> None:
        done.append(1)

    async def calls(ctx: WorkflowContext) -> list[Any]:
        asked: list[Any] = []
        ctx.on_signal("ask", asked.append)
        await ctx.execute_activity(STEP)
        if asked:
            await ctx.execute_local_activity(call)
        return asked

    stage = Stage(calls, store=StruckAtOnce)
    stage.turn()
    stage.end(1)
    stage.handle.signal("ask", 1)
    with pytest.raises(KeyboardInterrupt):
        stage.turn()
    assert stage.handle.status() is WorkflowStatus.RUNNING
    stage.executor.drive()
    assert stage.handle.result() == [1]
    assert done == [1]
