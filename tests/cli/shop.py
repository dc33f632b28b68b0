"""Workflows for the tests of the command line, on the in-process executor."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celeriac.activities.definition import ActivityDefinition
from celeriac.activities.options import ActivityOptions, RetryPolicy
from celeriac.executors.local import JumpingClock, LocalExecutor
from celeriac.orchestrator.context import WorkflowContext
from celeriac.orchestrator.definition import Registry, WorkflowDefinition, WorkflowSettings
from celeriac.orchestrator.signals import SignalType
from tests.cli.orders import Order

START = 1_800_000_000_000_000
"""2027-01-15 08:00:00 UTC, in microseconds."""

approved: SignalType[bool] = SignalType("approved", bool)


class CardDeclined(Exception):
    pass


def _charge(order_id: str, cents: int) -> str:
    if cents > 10_000:
        try:
            _ = {"account 16": cents}["account 17"]
        except KeyError as error:
            raise CardDeclined(f"no {cents} cents there") from error
    return f"receipt-{order_id}"


def _flaky(name: str, cents: int = 0) -> str:
    raise ConnectionError("the bank does not answer")


charge = ActivityDefinition("shop.charge", _charge, ActivityOptions(retry=RetryPolicy(non_retryable=(CardDeclined,))))
flaky = ActivityDefinition("shop.flaky", _flaky, ActivityOptions(retry=RetryPolicy(max_attempts=4)))


async def fulfil(ctx: WorkflowContext, order: Order) -> str | None:
    state = "charging"

    @ctx.query
    def stage() -> str:
        return state

    @ctx.query
    def twice(number: int) -> dict[str, Any]:
        return {"twice": 2 * number, "of": (number,)}

    receipt = await ctx.execute_activity(charge, order.id, order.cents)
    state = "awaiting approval"
    if not await ctx.wait_signal(approved, timeout=timedelta(days=3)):
        return None
    await ctx.sleep(timedelta(days=14))
    return str(receipt)


async def echo(ctx: WorkflowContext, value: Any = None) -> Any:
    return value


async def try_on(ctx: WorkflowContext, name: str) -> str:
    return str(await ctx.execute_activity(flaky, name))


async def drifting(ctx: WorkflowContext) -> str:
    """Takes another way once its code has "changed"."""
    await ctx.execute_activity(charge if drifting.__dict__.get("old") else flaky, "A", 1)
    return "done"


def make_executor() -> LocalExecutor:
    registry = Registry()
    for name, fn, settings in (
        ("shop.fulfil", fulfil, WorkflowSettings(signals=(approved,))),
        ("shop.echo", echo, None),
        ("shop.try_on", try_on, None),
        ("shop.drifting", drifting, None),
    ):
        registry.add_workflow(WorkflowDefinition(name, fn, settings))
    for activity in (charge, flaky):
        registry.activities[activity.name] = activity
    registry.signals["approved"] = approved
    return LocalExecutor(registry, clock=JumpingClock(START), jump=False)
