"""What the shop keeps."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """What a customer wants, and how far it has got."""

    email = models.EmailField()
    cents = models.PositiveIntegerField()
    status = models.CharField(max_length=20, default="new")
    receipt = models.CharField(max_length=40, default="")

    def __str__(self) -> str:
        return f"order {self.pk} ({self.status})"
