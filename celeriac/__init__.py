"""Durable workflows on the Celery, Redis and database that you already run."""
