"""Shared tasks, as in any Django app. None of them knows of workflows, and each may run twice without harm."""

from __future__ import annotations

from celery import shared_task
from django.core.mail import send_mail

from shop.models import Order


@shared_task
def charge(order_id: int) -> str:
    """Charge the customer's card, once: what is charged already keeps its receipt."""
    order = Order.objects.get(pk=order_id)
    if not order.receipt:
        order.receipt = f"R-{order.pk}-{order.cents}"
        order.status = "charged"
        order.save(update_fields=["receipt", "status"])
    return order.receipt


@shared_task
def ship(order_id: int) -> None:
    """Hand the parcel to the carrier."""
    Order.objects.filter(pk=order_id).update(status="shipped")


@shared_task
def decline(order_id: int) -> None:
    """Tell the customer that there will be no parcel."""
    order = Order.objects.get(pk=order_id)
    order.status = "declined"
    order.save(update_fields=["status"])
    send_mail("Your order", "We can't ship it.", "shop@shop.example", [order.email])
