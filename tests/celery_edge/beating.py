"""The app in ``flows`` with something for beat to do."""

from __future__ import annotations

import os

from tests.celery_edge.flows import app

app.conf.beat_schedule = {
    "soon": {"task": "tests.celery_edge.flows.compensating", "schedule": 0.5, "args": (os.environ["BEAT_KEY"],)}
}
