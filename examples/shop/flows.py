"""The shop's workflows: attached to the app from here, without a change to its tasks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from celeriac import ActivityError, Celeriac, RetryPolicy, WorkflowContext
from shop.celery import app
from shop.tasks import CardDeclined, charge, refund, report, send_email, ship

durable = Celeriac(app)  # the store is app.conf.celeriac_store or CELERIAC_STORE

approved = durable.signal_type("approved", bool)

patient_charge = durable.options(
    "shop.tasks.charge", retry=RetryPolicy(max_attempts=5, non_retryable=(CardDeclined,)), timeout=timedelta(seconds=30)
)


@dataclass
class Order:
    """What a customer wants."""

    id: str
    cents: int
    email: str = "customer@shop.example"


@durable.workflow
async def fulfil(ctx: WorkflowContext, order: Order) -> str | None:
    """Charge an order once somebody has approved it, ship it, and undo the charge if it can't be shipped."""
    state = "awaiting approval"

    @ctx.query
    def stage() -> str:
        return state

    try:
        if not await ctx.wait_signal(approved, timeout=timedelta(days=3)):
            return None
    except TimeoutError:
        return None
    state = "charging"
    await asyncio.gather(
        ctx.execute_activity(patient_charge, order.id, order.cents),
        ctx.execute_activity(send_email, order.email, f"we are charging {order.id}"),
    )
    state = "shipping"
    try:
        return await ctx.execute_activity(ship, order.id)
    except ActivityError:
        await ctx.execute_activity(refund, order.id, order.cents)
        raise


@durable.workflow
def nightly(ctx: WorkflowContext, orders: list[str]) -> dict[str, object]:
    """Ship what is left over and report, without async."""
    parcels = [ctx.execute_activity(ship, order) for order in orders]
    return ctx.execute_activity(report, [parcel.result() for parcel in parcels]).result()


__all__ = ["charge", "durable", "fulfil", "nightly"]
