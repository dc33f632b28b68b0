"""Queries look into a run, open or closed, and leave no trace."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from celeriac import InvalidCall, WorkflowContext, WorkflowFailedError
from celeriac.errors import QueryFailed, UnknownDefinition
from tests.workflows import Env


def test_a_query_reads_the_workflow_s_own_variables(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        stage = "waiting"

        @ctx.query
        def where() -> str:
            return stage

        await ctx.wait_signal("go")
        stage = "going"
        await ctx.sleep(60)
        stage = "gone"

    handle = env.start(fulfil)
    assert handle.query("where") == "waiting"  # not even begun, and answered all the same
    assert env.story(handle) == ["workflow_started fulfil()"]
    env.settle()
    assert handle.query("where") == "waiting"
    handle.signal("go")
    assert handle.query("where") == "going"  # accepted, though no turn has taken it up
    assert env.story(handle) == ["workflow_started fulfil()"]
    handle.result()
    assert handle.query("where") == "gone"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received go(None)",
        "timer_started #1 60s",
        "timer_fired #1",
        "workflow_completed -> None",
    ]


@dataclass
class Item:
    name: str
    count: int


def test_arguments_and_answers_are_what_the_annotations_say(env: Env) -> None:
    @env.workflow
    async def shop(ctx: WorkflowContext) -> None:
        stock = [Item("tea", 3), Item("milk", 1)]

        @ctx.query
        def find(wanted: Item) -> list[Item]:
            return [each for each in stock if each.name == wanted.name]

        @ctx.query_as("how-many")
        def count() -> int:
            return len(stock)

        await ctx.wait_signal("close")

    handle = env.start(shop)
    assert handle.query("find", Item("tea", 0)) == [Item("tea", 3)]
    assert handle.query("find", {"name": "milk", "count": 0}) == [Item("milk", 1)]
    assert handle.query("how-many") == 2


def test_some_questions_are_answered_for_every_run(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        return "done"

    handle = env.start(fulfil)
    env.settle()
    assert handle.query("status") == "running"
    assert handle.query("result") is None
    assert handle.query("waits") == ["signal 'go'"]
    assert handle.query("history") == env.history(handle)
    assert [each.partition(":")[0] for each in handle.query("stack")] == [__file__]
    handle.signal("go")
    handle.result()
    assert handle.query("status") == "completed"
    assert handle.query("result") == "done"
    assert handle.query("waits") == []
    assert handle.query("stack") == []


def test_the_stack_of_a_plain_function_shows_where_it_waits(env: Env) -> None:
    @env.workflow
    def fulfil(ctx: WorkflowContext) -> None:
        def helper() -> None:
            ctx.wait_signal("go").result()

        helper()

    handle = env.start(fulfil)
    env.settle()
    assert [each.rsplit(" in ", 1)[1] for each in handle.query("stack")] == ["fulfil", "helper"]


def test_a_query_that_is_not_there_names_those_that_are(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        ctx.query_as("stage")(lambda: "waiting")
        await ctx.wait_signal("go")

    with pytest.raises(UnknownDefinition) as unknown:
        env.start(fulfil).query("stge")
    assert str(unknown.value) == (
        "no query named 'stge' is declared. Did you mean 'stage'? Known: history, result, stack, stage, status, waits."
    )


def test_a_query_that_raises_leaves_the_run_alone(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        @ctx.query
        def broken() -> None:
            raise SystemExit(3)

        await ctx.wait_signal("go")
        return "done"

    handle = env.start(fulfil)
    with pytest.raises(QueryFailed) as failed:
        handle.query("broken")
    assert str(failed.value) == "query 'broken' raised SystemExit: 3"
    handle.signal("go")
    assert handle.result() == "done"


def test_a_query_is_a_plain_function(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        @ctx.query
        async def stage() -> None: ...

    with pytest.raises(
        WorkflowFailedError, match="query 'stage' is 'async def', but a query only looks: write plain 'def'"
    ):
        env.run(fulfil)
    assert issubclass(InvalidCall, TypeError)


def test_nothing_that_a_query_does_leaks(env: Env) -> None:
    rolled: list[int] = []

    @env.activity
    def work() -> None:
        raise AssertionError("nobody asked for it")

    def roll() -> int:
        rolled.append(len(rolled))
        return len(rolled)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        count = 0

        @ctx.query
        def meddle() -> int:
            nonlocal count
            count += 100
            ctx.execute_activity(work)
            return count

        await ctx.wait_signal("go")
        count += ctx.side_effect(roll)
        await ctx.wait_signal("end")
        return count

    handle = env.start(fulfil)
    env.settle()
    assert handle.query("meddle") == 100
    handle.signal("go")
    assert handle.query("meddle") == 100  # the side effect is not brought about by a query: it looks from before
    assert rolled == []
    env.settle()
    assert handle.query("meddle") == 101
    handle.signal("end")
    assert handle.result() == 1
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received go(None)",
        "side_effect_recorded #1 -> 1",
        "signal_received end(None)",
        "workflow_completed -> 1",
    ]
