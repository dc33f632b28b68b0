"""What a worker loads with ``-A app``. pytest-celery fills in three of the lines; see its ``WorkerInitialContent``."""

from __future__ import annotations

from celery import Celery

from tests.acceptance.shop import open_shop

imports = None

app = Celery("celery_test_app")
config = None

if config:
    app.config_from_object(config)
app.conf.broker_connection_retry_on_startup = True
shop = open_shop(app)
