"""Tasks that the shop has had for years. None of them knows of workflows."""

from __future__ import annotations

import time

from celery import Task

from shop.celery import app

CARD_LIMIT = 1_000_000
"""In cents."""


class CardDeclined(Exception):
    """The bank said no."""


@app.task
def charge(order_id: str, cents: int) -> dict[str, object]:
    """Charge the customer's card."""
    if cents > CARD_LIMIT:
        raise CardDeclined(f"{cents} cents is more than the card has")
    return {"order_id": order_id, "cents": cents, "receipt": f"R-{order_id}"}


@app.task
def refund(order_id: str, cents: int) -> None:
    """Give the money back."""


@app.task(rate_limit="100/s")
def send_email(to: str, subject: str) -> str:
    """Send a mail."""
    return f"{to}: {subject}"


@app.task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=True, max_retries=5)
def ship(self: Task, order_id: str) -> str:
    """Hand the parcel to the carrier, whose interface is not always there."""
    if self.request.retries == 0 and order_id.endswith("-flaky"):
        raise ConnectionError("the carrier does not answer")
    return f"tracking-{order_id}"


@app.task
def report(orders: list[str]) -> dict[str, object]:
    """Add up a day."""
    return {"orders": len(orders), "at": time.strftime("%Y-%m-%d")}
