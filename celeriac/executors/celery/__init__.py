"""Workflows and activities as Celery tasks, in the workers that people have."""
