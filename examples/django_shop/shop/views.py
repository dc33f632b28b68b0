"""Two pages: one to order, one for the office."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from shop.flows import approved, durable, fulfil
from shop.models import Order

if TYPE_CHECKING:
    from django.http import HttpRequest


@require_POST
@transaction.atomic
def place(request: HttpRequest) -> JsonResponse:
    """Take an order, and start its workflow once the order is in the database."""
    order = Order.objects.create(email=request.POST["email"], cents=int(request.POST["cents"]))
    start = partial(fulfil.apply_async, (order.pk,), workflow_id=f"order-{order.pk}", id_conflict="attach")
    transaction.on_commit(start)
    return JsonResponse({"order": order.pk}, status=201)


@require_POST
def decide(request: HttpRequest, order_id: int) -> JsonResponse:
    """Approve an order, or don't. A page that is sent twice is one decision."""
    durable.signal(f"order-{order_id}", approved, request.POST["approved"] == "yes", key="decision")
    return JsonResponse({"order": order_id}, status=202)


@require_GET
def show(_: HttpRequest, order_id: int) -> JsonResponse:
    """Say how far an order has got."""
    order = get_object_or_404(Order, pk=order_id)
    run = durable.handle(f"order-{order_id}").describe()
    return JsonResponse({"order": order.status, "workflow": run.status.value, "waits": list(run.waits)})
