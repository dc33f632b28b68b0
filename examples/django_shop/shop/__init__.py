"""A stock Django project with Celery. What makes it durable is in ``flows.py``; ``apps.py`` imports that."""

from shop.celery import app as celery_app

__all__ = ["celery_app"]
