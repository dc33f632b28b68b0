"""The app that the workers of these tests run."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from celery import Celery

from celeriac import Celeriac, WorkflowContext


def make() -> SimpleNamespace:
    """Make the app by what the environment says."""
    app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_BROKER"], set_as_current=False)
    app.conf.broker_connection_retry_on_startup = True
    durable = Celeriac(app, store=os.environ["SHOP_STORE"])
    parcel = durable.signal_type("parcel")

    async def collect(ctx: WorkflowContext, count: int) -> list[Any]:
        """Return the payloads of so many signals."""
        return [await ctx.wait_signal(parcel) for _ in range(count)]

    return SimpleNamespace(app=app, durable=durable, collect=durable.workflow(name="shop.collect")(collect))


if "SHOP_BROKER" in os.environ:
    app = make().app
