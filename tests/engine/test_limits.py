"""What is too large is refused where it is passed; what grows too long is said in time."""

from __future__ import annotations

import logging

import pytest

from celeriac import LocalExecutor, PayloadError, WorkflowContext, WorkflowFailedError, WorkflowOptions
from celeriac.activities.definition import ActivityDefinition
from celeriac.orchestrator.definition import Registry, WorkflowDefinition
from celeriac.orchestrator.engine import EngineSettings


def echo(text: str) -> str:
    return text


def grow(size: int) -> str:
    return "x" * size


@pytest.fixture
def registry() -> Registry:
    found = Registry(max_payload=1000)
    found.activities["echo"] = ActivityDefinition("echo", echo)
    found.activities["grow"] = ActivityDefinition("grow", grow)
    return found


def declare(registry: Registry, name: str, fn: object) -> str:
    registry.add_workflow(WorkflowDefinition(name, fn))  # type: ignore[arg-type]
    return name


def test_the_arguments_of_a_workflow_are_refused_before_anything_is_started(registry: Registry) -> None:
    async def flow(ctx: WorkflowContext, text: str) -> None: ...

    executor = LocalExecutor(registry)
    with pytest.raises(
        PayloadError, match=r"the arguments of workflow 'flow' would take 1,004 bytes, more than the 1,000"
    ):
        executor.execute(declare(registry, "flow", flow), WorkflowOptions(input="x" * 1000))
    assert executor.list() == []


def test_the_arguments_of_an_activity_fail_the_workflow_that_passes_them(registry: Registry) -> None:
    async def flow(ctx: WorkflowContext) -> str:
        return str(await ctx.execute_activity("echo", "x" * 2000))

    executor = LocalExecutor(registry)
    handle = executor.execute(declare(registry, "flow", flow))
    with pytest.raises(WorkflowFailedError, match="the arguments of activity 'echo' would take 2,004 bytes"):
        handle.result()
    assert [each.type for each in handle.history()] == ["workflow_started", "workflow_failed"]


def test_a_result_that_is_too_large_fails_the_activity_without_another_attempt(registry: Registry) -> None:
    async def flow(ctx: WorkflowContext) -> str:
        return str(await ctx.execute_activity("grow", 2000))

    executor = LocalExecutor(registry)
    with pytest.raises(
        WorkflowFailedError, match="after 1 attempt: PayloadError: result of activity 'grow' would take 2,002 bytes"
    ):
        executor.run(declare(registry, "flow", flow))


def test_a_signal_that_is_too_large_is_refused_at_the_sender(registry: Registry) -> None:
    async def flow(ctx: WorkflowContext) -> str:
        return str(await ctx.wait_signal("go"))

    executor = LocalExecutor(registry)
    handle = executor.execute(declare(registry, "flow", flow))
    with pytest.raises(PayloadError, match="payload of signal 'go' would take 1,102 bytes"):
        handle.signal("go", "x" * 1100)
    handle.signal("go", "fits")
    assert handle.result() == "fits"


def test_a_long_history_is_warned_of_once(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    def flow(ctx: WorkflowContext) -> int:
        return sum(len(ctx.execute_activity("echo", "x").result()) for _ in range(10))

    executor = LocalExecutor(registry)
    executor.engine.settings = EngineSettings(namespace="local", long_history=12)
    with caplog.at_level(logging.WARNING, "celeriac.engine"):
        assert executor.run(declare(registry, "flow", flow)) == 10
    assert [each.getMessage().split(";")[0].split(" has ")[1] for each in caplog.records] == [
        "14 events in its history"
    ]
