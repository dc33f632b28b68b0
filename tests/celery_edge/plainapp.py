"""A Celery app without celeriac, to compare with."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("plainapp", broker=os.environ["EDGE_BROKER"], backend=os.environ["EDGE_BROKER"])


@app.task
def echo(x: int) -> int:
    return x
