"""An app whose settings would break the promises."""

from __future__ import annotations

import os

from celery import Celery

from celeriac import Celeriac

app = Celery("careless", broker=os.environ["EDGE_BROKER"])
app.conf.task_default_queue = "careless"
durable = Celeriac(app, store=os.environ["EDGE_STORE"])


@app.task(time_limit=7200)
def encode(film: str) -> str:
    return film
