"""What a worker does without on the connection that it consumes from, where its broker is Redis."""

from __future__ import annotations

from typing import Any

from celery import bootsteps

from celeriac.executors.celery.keptclient import keep_client
from celeriac.executors.celery.oneredis import is_on_one_redis


class ConsumeLightly(bootsteps.StartStopStep):
    """Looks at the channel that a worker consumes from, on each of its connections, before the first message arrives."""

    name = "celeriac-consuming"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        """Look at the channel of a new connection."""
        channel = consumer.task_consumer.channel
        keep_client(channel)
        if is_on_one_redis(channel):
            from celeriac.executors.celery.unbooked import keep_no_books  # noqa: PLC0415 - it brings kombu's modules for Redis

            keep_no_books(channel)
