"""The shop's workflows. Django's models stay out of them: they pass ids, and the activities look things up."""

from __future__ import annotations

from datetime import timedelta

from celeriac import Celeriac, WorkflowContext
from shop.celery import app
from shop.tasks import charge, decline, ship

durable = Celeriac(app)  # the store is settings.CELERY_CELERIAC_STORE

approved = durable.signal_type("approved", bool)


@durable.workflow
async def fulfil(ctx: WorkflowContext, order_id: int) -> str | None:
    """Wait for somebody in the office, charge, ship."""
    try:
        fine = await ctx.wait_signal(approved, timeout=timedelta(days=3))
    except TimeoutError:
        fine = False
    if not fine:
        await ctx.execute_activity(decline, order_id)
        return None
    receipt: str = await ctx.execute_activity(charge, order_id)
    await ctx.execute_activity(ship, order_id)
    return receipt
