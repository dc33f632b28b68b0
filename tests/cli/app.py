"""A Celery app with workflows, as ``celery -A tests.cli.app`` finds it."""

from __future__ import annotations

import os
from datetime import timedelta

from celery import Celery

from celeriac import Celeriac, WorkflowContext

app = Celery("shop", broker=os.environ.get("SHOP_BROKER", "memory://"), set_as_current=False)
app.conf.broker_connection_retry_on_startup = True
durable = Celeriac(app, store=os.environ.get("SHOP_STORE", "memory://"))


@durable.activity(name="shop.charge", timeout=timedelta(seconds=30))
def charge(order: str) -> str:
    return f"receipt-{order}"


@durable.workflow(name="shop.pay")
async def pay(ctx: WorkflowContext, order: str) -> str:
    return str(await ctx.execute_activity(charge, order))


@durable.workflow(name="shop.fulfil")
async def fulfil(ctx: WorkflowContext, order: str) -> str:
    receipt = await ctx.execute_activity(charge, order)
    await ctx.wait_signal("approved")
    return str(receipt)
