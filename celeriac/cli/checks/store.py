"""Whether the store is there, with tables of the right version and a clock like this machine's."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Final

from celeriac.cli.checks.finding import Finding, Patient, fail, ok, warn
from celeriac.cli.text import span
from celeriac.errors import CeleriacError, MissingExtra, SchemaMismatch
from celeriac.orchestrator.model import SECOND

SKEW: Final = 2.0
"""Seconds by which the clocks may differ."""


def store(patient: Patient) -> Iterator[Finding]:
    """Say whether the store can be used."""
    began = time.monotonic()
    try:
        patient.store.check()
    except SchemaMismatch as error:
        yield fail("store", f"{patient.store!r}: {error}", f"{patient.celery} workflow migrate")
    except MissingExtra as error:
        yield fail("store", str(error), "install it where the workers run, too")
    except CeleriacError as error:
        yield fail("store", str(error), "start it, or mend celeriac_store; workers go on with other tasks meanwhile")
    else:
        yield ok("store", f"{patient.store!r} is ready ({span(time.monotonic() - began)})")
        yield from _clock(patient)


def _clock(patient: Patient) -> Iterator[Finding]:
    before = time.time()
    there = patient.store.now() / SECOND
    skew = there - (before + time.time()) / 2
    if abs(skew) <= SKEW:
        yield ok("clock", f"the store's and this machine's differ by {span(abs(skew))}")
        return
    direction = "ahead of" if skew > 0 else "behind"
    yield warn(
        "clock",
        f"the store's clock is {span(abs(skew))} {direction} this machine's",
        "set up NTP on both; timers and leases, which go by the store's clock, are right all the same",
    )


def sqlite(patient: Patient) -> Iterator[Finding]:
    """Say whether a store that is a file is used from one machine only."""
    database = getattr(patient.store, "db", None)
    if database is None or database.engine.dialect.name != "sqlite":
        return
    if database.engine.url.database in {None, "", ":memory:"}:
        yield fail("store", "sqlite:// without a file is seen by this process only", "sqlite:///flows.db")
    elsewhere = sorted({each.host for each in patient.workers} - {socket.gethostname(), socket.getfqdn(), "localhost"})
    if elsewhere:
        yield warn(
            "store",
            f"SQLite is for one machine, and workers call themselves {', '.join(elsewhere)}",
            "move to PostgreSQL unless these are other names of this machine",
        )
