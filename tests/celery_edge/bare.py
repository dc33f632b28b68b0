"""Another release of the app: attached to the same store, under the same name, but without the tasks."""

from __future__ import annotations

import os

from celery import Celery

from celeriac import Celeriac

app = Celery("edge", broker=os.environ["EDGE_BROKER"], backend=os.environ["EDGE_BROKER"])
durable = Celeriac(app, store=os.environ["EDGE_STORE"], lease=1, republish_after=2)
