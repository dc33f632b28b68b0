"""A stock Celery project: an app, its configuration, its tasks. What makes it durable is in ``flows.py`` alone."""

from shop.celery import app

__all__ = ["app"]
