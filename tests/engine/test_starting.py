"""Starting runs: one open run an id, one run a start, whatever the client repeats."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import ConfigurationError, InvalidCall, PayloadError, WorkflowContext, WorkflowIdInUse, WorkflowOptions
from celeriac.errors import UnknownDefinition
from celeriac.orchestrator.model import RunFilter
from tests.workflows import Env


@pytest.fixture
def flow(env: Env) -> Any:
    @env.workflow
    async def flow(ctx: WorkflowContext, n: int = 0) -> int:
        end = await ctx.wait_signal("end")
        if end == "fail":
            raise ValueError("no")
        return n

    return flow


def test_an_id_belongs_to_one_open_run(env: Env, flow: Any) -> None:
    first = env.start(flow, id="a")
    with pytest.raises(WorkflowIdInUse) as in_use:
        env.start(flow, id="a")
    assert str(in_use.value) == (
        "workflow id 'a' is in use by 'flow', running since 2030-01-01T00:00:00+00:00. Take another workflow_id, or pass "
        "id_conflict='attach' to get a handle on the run that has it."
    )
    attached = env.start_with(flow, WorkflowOptions(id="a", args=[7], id_conflict="attach"))
    assert attached.run_id == first.run_id

    instead = env.start_with(flow, WorkflowOptions(id="a", args=[7], id_conflict="terminate"))
    assert instead.run_id != first.run_id
    assert first.status() == "terminated"
    assert env.story(first) == ["workflow_started flow()", "workflow_terminated another run was started with its id"]
    instead.signal("end")
    assert instead.result() == 7
    assert first.status() == "terminated"  # a handle is on its own run, whatever the id is used for


def test_the_id_of_a_closed_run_may_be_taken_again_if_it_may(env: Env, flow: Any) -> None:
    def end(how: str) -> None:
        handle = env.start(flow, id="a")
        handle.signal("end", how)
        env.settle()

    end("well")
    again = {"id": "a", "args": [1]}
    for reuse in ("never", "after_failure"):
        with pytest.raises(WorkflowIdInUse, match=r"in use by 'flow', completed since"):
            env.start_with(flow, WorkflowOptions(**again, id_reuse=reuse))
    end("fail")
    with pytest.raises(WorkflowIdInUse, match=r"in use by 'flow', failed since"):
        env.start_with(flow, WorkflowOptions(**again, id_reuse="never"))
    third = env.start_with(flow, WorkflowOptions(**again, id_reuse="after_failure"))
    third.signal("end")
    assert third.result() == 1
    assert [each.status for each in env.executor.list(RunFilter(workflow_id="a"))] == [
        "completed",
        "failed",
        "completed",
    ]


def test_the_same_start_again_is_the_same_run(env: Env, flow: Any) -> None:
    options = WorkflowOptions(id="a", args=[1], start_key="request-1")
    first = env.start_with(flow, options)
    assert env.start_with(flow, options).run_id == first.run_id
    first.signal("end")
    assert first.result() == 1
    assert env.start_with(flow, options).run_id == first.run_id  # closed or not
    assert len(env.executor.list()) == 1


def test_what_can_not_be_meant_is_refused_and_nothing_is_started(env: Env, flow: Any) -> None:
    refused: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"id": ""}, InvalidCall, "a workflow id is a non-empty string, not ''"),
        ({"id": 5}, InvalidCall, "a workflow id is a non-empty string, not 5"),
        ({"id": "a\0b"}, InvalidCall, "workflow id 'a\\x00b' has characters that can't be shown; use printable ones"),
        ({"id": "x" * 1001}, InvalidCall, "a workflow id has at most 1000 characters; this one has 1001"),
        ({"id_conflict": "maybe"}, ConfigurationError, "id_conflict='maybe': one of 'fail', 'attach', 'terminate'"),
        ({"id_reuse": "maybe"}, ConfigurationError, "id_reuse='maybe': one of 'allow', 'after_failure', 'never'"),
        ({"timeout": 0}, ValueError, "timeout=0: a duration must be above zero"),
        ({"args": [1], "input": 2}, InvalidCall, "input= is short for args=[...]; give one of them"),
        ({"args": [1, 2]}, InvalidCall, "workflow 'flow' takes (n: 'int' = 0): too many positional arguments"),
        (
            {"args": [1], "kwargs": {"m": 1}},
            InvalidCall,
            "workflow 'flow' takes (n: 'int' = 0): got an unexpected keyword argument 'm'",
        ),
    ]
    for options, kind, message in refused:
        with pytest.raises(kind) as error:
            env.start_with(flow, WorkflowOptions(**options))
        assert str(error.value) == message
    with pytest.raises(
        PayloadError, match=r"'who' in the memo of workflow 'flow': a value of type builtins.object can't"
    ):
        env.start_with(flow, WorkflowOptions(memo={"who": object()}))
    with pytest.raises(UnknownDefinition) as unknown:
        env.start("flwo")
    assert str(unknown.value) == "no workflow named 'flwo' is declared. Did you mean 'flow'? Known: flow."
    with pytest.raises(InvalidCall, match=r"<built-in function print> is no workflow"):
        env.executor.execute(print)
    assert list(env.executor.list()) == []


def test_input_is_the_one_argument(env: Env, flow: Any) -> None:
    one = env.start_with(flow, WorkflowOptions(input=3))
    none = env.start_with(flow, WorkflowOptions())
    named = env.start_with(flow, WorkflowOptions(kwargs={"n": 5}))

    @env.workflow
    async def takes_none(ctx: WorkflowContext, thing: Any) -> Any:
        return thing

    assert env.start_with(takes_none, WorkflowOptions()).result() is None
    for handle, expected in ((one, 3), (none, 0), (named, 5)):
        handle.signal("end")
        assert handle.result() == expected


def test_memo_and_attributes_are_kept(env: Env, flow: Any) -> None:
    handle = env.start_with(flow, WorkflowOptions(memo={"who": "ann"}, attributes={"region": "eu"}))
    run = handle.describe()
    assert (run.memo, run.attributes) == ({"who": "ann"}, {"region": "eu"})


def test_a_lost_start_message_is_sent_again(env: Env, flow: Any) -> None:
    handle = env.start(flow, 4)
    env.executor.dispatcher.take()
    handle.signal("end")
    env.executor.dispatcher.take()
    env.advance(11)
    assert handle.result() == 4


def test_a_workflow_takes_the_context_first(env: Env) -> None:
    with pytest.raises(InvalidCall) as refused:
        env.workflow(lambda: None)
    assert "must take the context first: def <lambda>(ctx: WorkflowContext, ...)" in str(refused.value)
    with pytest.raises(
        InvalidCall, match=r"is a generator; write 'async def' with 'await', or plain 'def', and return"
    ):

        @env.workflow
        def generates(ctx: WorkflowContext) -> Any:
            yield 1


def test_a_decorated_function_is_the_workflow_it_wraps(env: Env) -> None:
    import functools

    def logged(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return wrapper

    @env.workflow
    @logged
    async def flow(ctx: WorkflowContext, n: int) -> int:
        await ctx.sleep(1)
        return n

    handle = env.start(flow, 3)
    assert handle.result() == 3
    assert env.story(handle) == [
        "workflow_started flow(3)",
        "timer_started #1 1s",
        "timer_fired #1",
        "workflow_completed -> 3",
    ]
