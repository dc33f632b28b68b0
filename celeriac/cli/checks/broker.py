"""Whether the broker is there, and keeps what it is given."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from celeriac.cli.checks.finding import Finding, Patient, fail, ok, warn
from celeriac.cli.text import span
from celeriac.executors.celery.precautions import outlives_its_message

CONNECT: Final = 3.0
"""Seconds that the broker has to answer."""
_UNFIT: Final = {
    "filesystem": "it polls, and loses messages between processes",
    "SQLAlchemy": "it polls once a second",
    "memory": "it is seen by this process only",
}


def broker(patient: Patient) -> Iterator[Finding]:
    """Say whether the broker answers."""
    options = {"socket_connect_timeout": CONNECT, "socket_timeout": CONNECT}
    connection = patient.app.connection_for_write(connect_timeout=CONNECT, transport_options=options)
    shown = connection.as_uri()
    began = time.monotonic()
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT)
        took = span(time.monotonic() - began)
        driver = str(connection.transport.driver_name)
        yield ok("broker", f"{shown} answers ({took})")
        why = _UNFIT.get(driver) or _UNFIT.get(connection.transport.driver_type)
        if why is not None:
            yield warn("broker", f"{driver} is no broker for durable workflows: {why}", "use Redis or RabbitMQ")
        if connection.transport.driver_type == "redis":
            yield from _redis(patient, connection)
    except Exception as error:  # noqa: BLE001 - every driver has errors of its own
        yield fail(
            "broker",
            f"{shown} does not answer: {type(error).__name__}: {error}",
            "start it, or mend broker_url; runs are safe in the store meanwhile and go on when it is back",
        )
    finally:
        connection.release()


def _redis(patient: Patient, connection: Any) -> Iterator[Finding]:
    policy = connection.default_channel.client.info("memory").get("maxmemory_policy")
    if policy not in {None, "noeviction"}:
        yield warn(
            "broker",
            f"maxmemory-policy is {policy}: a full Redis throws messages away",
            "redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf",
        )
    registry = patient.durable.client.registry
    found = outlives_its_message(patient.app, lambda name: registry.workflow(name) is not None)
    if found is not None:
        what, longest, visibility = found
        yield warn(
            "broker",
            f"{what} may take {span(longest)}; after {span(visibility)} Redis delivers its message again",
            f"app.conf.broker_transport_options = {{'visibility_timeout': {round(longest * 1.2)}}}",
        )


def results(patient: Patient) -> Iterator[Finding]:
    """Say what the result backend is good for."""
    url = patient.app.conf.result_backend
    if not url or str(url).startswith("disabled"):
        yield ok("results", "no result backend: handle.result() works, AsyncResult.get() and chords don't")
    else:
        yield ok("results", patient.app.backend.as_uri())


__all__ = ["broker", "results"]
