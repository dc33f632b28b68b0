"""Hooks hear of what happened, after it was committed; middleware adds to an executor from outside."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import (
    Config,
    ConfigurationError,
    DurableExecutor,
    Hooks,
    RetryPolicy,
    Signal,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowOptions,
    apply_middleware,
    list_executors,
    new,
    new_executor,
    register,
)
from celeriac.executors.local import LocalExecutor
from celeriac.orchestrator.middleware import with_hooks, with_tracing
from tests.workflows import Env


def _noting(told: list[tuple[Any, ...]]) -> Hooks:
    def note(name: str) -> Any:
        return lambda *args: told.append((name, *args))

    return Hooks(**{name: note(name) for name in Hooks.__slots__})


def test_they_hear_of_everything_in_its_order(env: Env) -> None:
    told: list[tuple[Any, ...]] = []
    env.executor.hooks = _noting(told)

    @env.activity(retry=RetryPolicy(max_attempts=2, jitter=0))
    def charge(order: str) -> str:
        if len([each for each in told if each[0] == "on_activity_start"]) == 1:
            raise ConnectionError("no answer")
        return "charged"

    @env.workflow
    async def fulfil(ctx: WorkflowContext, order: str) -> str:
        await ctx.wait_signal("go")
        return await ctx.execute_activity(charge, order)

    handle = env.start(fulfil, "A-17", id="a")
    env.settle()
    handle.signal("go", 1)
    handle.result()

    failure = told[3][4]
    assert (failure["type"], failure["message"]) == ("ConnectionError", "no answer")
    assert told == [
        ("on_workflow_start", "a", {"args": ["A-17"], "kwargs": {}}),
        ("on_signal", "a", "go", 1),
        ("on_activity_start", "a", "charge", 1),
        ("on_retry", "a", "charge", 1, failure, 0.1),
        ("on_activity_start", "a", "charge", 2),
        ("on_activity_complete", "a", "charge", "charged", None),
        ("on_workflow_complete", "a", "charged"),
    ]


@pytest.mark.parametrize("how", ["raises", "canceled", "terminated", "timed out"])
def test_every_end_without_a_result_is_a_failure_to_them(env: Env, how: str) -> None:
    told: list[tuple[Any, ...]] = []
    env.executor.hooks = Hooks(
        on_workflow_fail=lambda *args: told.append(args), on_workflow_complete=lambda *args: told.append(args)
    )

    @env.workflow(timeout=60)
    async def fulfil(ctx: WorkflowContext) -> None:
        if how == "raises":
            raise ValueError("no")
        await ctx.wait_signal("go")

    handle = env.start(fulfil, id="a")
    env.settle()
    if how == "canceled":
        handle.cancel("enough")
    elif how == "terminated":
        handle.terminate("enough")
    env.advance(61)
    (workflow_id, failure), *more = told
    assert more == []
    assert (workflow_id, failure["type"], failure["message"]) == {
        "raises": ("a", "ValueError", "no"),
        "canceled": ("a", "CancelledError", "the workflow was canceled: enough"),
        "terminated": ("a", "WorkflowTerminatedError", "enough"),
        "timed out": ("a", "WorkflowTimedOutError", "the workflow took longer than 60 s"),
    }[how]


def test_one_that_raises_changes_nothing(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("hook")

    env.executor.hooks = Hooks(on_workflow_start=broken, on_workflow_complete=broken)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        return "done"

    assert env.run(fulfil) == "done"
    assert [each.getMessage() for each in caplog.records] == [
        "hook on_workflow_start raised; the workflow is not affected",
        "hook on_workflow_complete raised; the workflow is not affected",
    ]


def test_hooks_as_middleware_hear_of_what_passes_through(env: Env) -> None:
    told: list[tuple[Any, ...]] = []

    @env.workflow
    async def fulfil(ctx: WorkflowContext, order: str) -> str:
        if await ctx.wait_signal("go") == "fail":
            raise ValueError(order)
        return order

    executor = apply_middleware(env.executor, with_hooks(_noting(told)))
    handle = executor.execute(fulfil, WorkflowOptions(id="a", input="A-17"))
    executor.signal("a", Signal(name="go", payload=1))
    assert handle.result() == "A-17"
    assert handle.result() == "A-17"  # told once
    failing = executor.execute("fulfil", WorkflowOptions(id="b", args=["B-2"]))
    failing.signal("go", "fail")
    with pytest.raises(WorkflowFailedError):
        failing.result()
    failure = told[-1][2]
    assert told == [
        ("on_workflow_start", "a", "A-17"),
        ("on_signal", "a", "go", 1),
        ("on_workflow_complete", "a", "A-17"),
        ("on_workflow_start", "b", ["B-2"]),
        ("on_signal", "b", "go", "fail"),
        ("on_workflow_fail", "b", failure),
    ]
    assert failure["message"] == "B-2"


def test_the_first_middleware_is_the_outermost(env: Env) -> None:
    told: list[str] = []

    def span(name: str) -> Any:
        @contextlib.contextmanager
        def around(operation: str, about: dict[str, Any]) -> Iterator[None]:
            told.append(f"{name} {operation} {about}")
            yield
            told.append(f"{name} ends")

        return around

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        ctx.query_as("stage")(lambda: "waiting")
        return await ctx.wait_signal("go")

    executor = apply_middleware(env.executor, with_tracing(span("outer")), with_tracing(span("inner")))
    assert isinstance(executor, DurableExecutor)
    executor.execute(fulfil, WorkflowOptions(id="a"))
    assert told == [
        "outer execute {'workflow': 'fulfil', 'workflow_id': 'a'}",
        "inner execute {'workflow': 'fulfil', 'workflow_id': 'a'}",
        "inner ends",
        "outer ends",
    ]
    told.clear()
    handle = executor.handle("a")  # type: ignore[attr-defined]
    assert handle.query("stage") == "waiting"
    handle.signal("go", "gone")
    assert handle.result() == "gone"
    assert handle.history() == env.history("a")
    assert executor.list() == env.executor.list()
    assert executor.registry is env.registry  # type: ignore[attr-defined]
    assert [each.split(" {")[0] for each in told if each.startswith("outer") and "ends" not in each] == [
        "outer query",
        "outer signal",
        "outer result",
    ]


def test_tracing_uses_open_telemetry_where_it_is_installed(env: Env) -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry import trace as api
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "get_tracer", provider.get_tracer)
        executor = apply_middleware(env.executor, with_tracing())

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        raise ValueError("no")

    handle = executor.execute(fulfil, WorkflowOptions(id="a"))
    with pytest.raises(WorkflowFailedError):
        handle.result()
    executed, waited = spans.get_finished_spans()
    assert (executed.name, dict(executed.attributes)) == (
        "celeriac.execute",
        {"celeriac.workflow": "fulfil", "celeriac.workflow_id": "a"},
    )
    assert (waited.name, waited.status.is_ok, len(waited.events)) == ("celeriac.result", False, 1)


def test_and_the_log_where_it_is_not(
    env: Env, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("celeriac.orchestrator.middleware._telemetry_span", lambda: None)
    executor = apply_middleware(env.executor, with_tracing())

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.wait_signal("go")

    with caplog.at_level(logging.INFO, "celeriac.trace"):
        handle = executor.execute(fulfil, WorkflowOptions(id="a"))
        handle.cancel()
        with pytest.raises(WorkflowFailedError):
            handle.result()
        with contextlib.suppress(Exception):
            handle.terminate()
    assert [each.getMessage() for each in caplog.records] == [
        "execute workflow='fulfil' workflow_id='a'",
        "cancel workflow_id='a'",
        f"result run_id={handle.run_id!r}: WorkflowCanceledError",
        "terminate workflow_id='a': WorkflowClosed",
    ]


def test_executors_are_had_by_name() -> None:
    assert {"default", "local"} <= set(list_executors())
    told: list[Any] = []
    hooks = Hooks(on_workflow_complete=lambda *args: told.append(args))
    executor = new("default", Config(hooks=hooks, extra={"cache": 0}))
    assert isinstance(executor, LocalExecutor)
    assert (executor.hooks, executor.engine.cache.limit) == (hooks, 0)
    assert isinstance(new_executor(), LocalExecutor)
    with pytest.raises(ConfigurationError) as unknown:
        new("deafult")
    assert str(unknown.value).startswith("no executor named 'deafult'. Did you mean 'default'? Known: ")


def test_a_name_belongs_to_one_executor() -> None:
    made: list[Config] = []

    def factory(config: Config) -> Any:
        made.append(config)
        return new_executor()

    register("for-the-test", factory)
    register("for-the-test", factory)
    assert "for-the-test" in list_executors()
    new("for-the-test")
    assert made == [Config()]
    with pytest.raises(ConfigurationError, match="an executor named 'for-the-test' is registered already"):
        register("for-the-test", lambda config: new_executor())
    with pytest.raises(ConfigurationError, match="an executor's name can't be empty"):
        register("", factory)
