"""A small shop on celeriac. The demo starts its workers with ``celery -A celeriac.demo.shop worker``."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta

from celery import Celery

from celeriac import Celeriac, RetryPolicy, SignalType, WorkflowContext, activity_context
from celeriac.demo import ledger

app = Celery("demo", broker=os.environ["DEMO_BROKER"], include=["celeriac.demo.pictures"])
app.conf.update(worker_disable_prefetch=True, broker_connection_retry_on_startup=True)

# A worker that is killed is noticed after the lease, a message that it had fetched is sent again after a while. Both are ten
# seconds by default; the demo is in a hurry.
durable = Celeriac(app, store=os.environ["DEMO_STORE"], lease=2, republish_after=3)


@dataclass
class Order:
    """What somebody wants to buy."""

    id: str
    cents: int


@dataclass
class Receipt:
    """How it went: with a parcel, or with the money back."""

    order: str
    payment: str
    parcel: str | None = None
    refunded: bool = False


class BankUnreachable(Exception):
    """The bank does not answer just now."""


approved: SignalType[bool] = durable.signal_type("approved", bool)


@durable.activity(
    name="shop.charge",
    retry=RetryPolicy(max_attempts=10, initial_interval=timedelta(seconds=0.3)),
    timeout=timedelta(seconds=30),
)
def charge(order: str, cents: int) -> str:
    """Charge a card. The bank does not answer the first two times."""
    attempt = activity_context()
    with ledger.executing():
        time.sleep(0.3)
        if attempt.attempt <= 2:  # noqa: PLR2004
            raise BankUnreachable(f"no answer about {cents / 100:.2f} for {order}")
        # All attempts have the same activity_id: as an idempotency key it keeps a bank from charging twice.
        return f"payment-{attempt.activity_id[:8]}"


@durable.activity(name="shop.refund", retry=RetryPolicy(max_attempts=None))
def refund(payment: str) -> str:
    """Give the money back."""
    with ledger.executing():
        time.sleep(0.1)
        return f"refunded {payment}"


@durable.activity(name="shop.ship", timeout=timedelta(seconds=30))
def ship(order: str) -> str:
    """Hand a parcel over."""
    with ledger.executing():
        time.sleep(0.3)
        return f"parcel-{order}"


@durable.workflow(name="shop.fulfil", signals=(approved,))
async def fulfil(ctx: WorkflowContext, order: Order) -> Receipt:
    """Charge, wait for somebody's approval, let the customer think it over, ship."""
    payment = await ctx.execute_activity(charge, order.id, order.cents)
    if not await ctx.wait_signal(approved, timeout=timedelta(days=3)):
        await ctx.execute_activity(refund, payment)
        return Receipt(order.id, payment, refunded=True)
    await ctx.sleep(timedelta(seconds=3))  # a fortnight costs no more: it is a row in the store
    parcel = await ctx.execute_activity(ship, order.id)
    return Receipt(order.id, payment, parcel)
