"""Where Django learns of the shop, and the shop of its workflows."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        # In web processes and in workers alike: each of them declares the workflows.
        from shop import flows  # noqa: F401, PLC0415 - models must be loaded first
