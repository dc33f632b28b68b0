"""The app's configuration, as in any Celery project. ``celeriac_*`` could stand here too."""

import os

from celery.schedules import crontab

broker_url = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0")
result_backend = os.environ.get("CELERY_RESULT_BACKEND", broker_url)
broker_connection_retry_on_startup = True
task_track_started = True
imports = ("shop.tasks", "shop.flows")
beat_schedule = {
    # A workflow is a task, so beat starts it like any other.
    "nightly-report": {"task": "shop.flows.nightly", "schedule": crontab(hour=3, minute=0), "args": (["A-1", "A-2"],)},
}
