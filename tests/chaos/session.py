"""A session: servers, workers, clients and faults for a while, then peace, then the verdict."""

from __future__ import annotations

import importlib
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from tests.chaos.clerk import Clerk
from tests.chaos.cluster import Cluster
from tests.chaos.faults import Havoc
from tests.chaos.ledger import Ledger
from tests.chaos.report import Report
from tests.chaos.verdict import Verdict

SETTLE: Final = 240.0
"""Seconds within which everything has to come to its end once the faults have stopped."""
LOOK: Final = 0.05

Progress = Callable[[float, Clerk, Havoc, str], None]
"""Shown what is going on: seconds so far, and what is being done."""


def session(
    *, seconds: float, seed: int, every: float, open_at_once: int, progress: Progress, store: str = "postgresql"
) -> Report:
    """Play one session and return what came of it.

    :param seconds: for which faults strike.
    :param every: the mean time between two of them in seconds.
    :param store: ``postgresql`` or ``mariadb``.
    """
    logging.getLogger("celeriac").setLevel(logging.ERROR)  # what the servers do is known here
    dice = random.Random(seed)
    with Cluster(store) as cluster:
        os.environ |= cluster.environment
        shop: Any = importlib.import_module("tests.chaos.shop")
        clerk = Clerk(shop, cluster.broker.url, dice=random.Random(dice.random()), open_at_once=open_at_once)
        havoc = Havoc(cluster, random.Random(dice.random()), every=every)
        begun = time.monotonic()
        clerk.start()
        while time.monotonic() - begun < seconds and clerk.error is None:
            havoc.go_on()
            progress(time.monotonic() - begun, clerk, havoc, "faults strike")
            time.sleep(LOOK)
        clerk.enough()
        quiet = time.monotonic()
        settled = _settle(clerk, havoc, lambda: progress(time.monotonic() - begun, clerk, havoc, "settling"))
        took = time.monotonic() - quiet
        verdict = Verdict(shop, Ledger(cluster.ledger), cluster.diary)
        found = [] if settled else [f"not at rest {SETTLE:g} s after the last fault"]
        if clerk.error is not None:
            found.append(f"the clerk could not go on: {clerk.error!r}")
        found += verdict.violations(clerk.plans)
        report = Report(
            seed=seed,
            seconds=quiet - begun,
            settled=took,
            faults={**havoc.struck, "toxic task": sum(plan.workflow == "poisoned" for plan in clerk.plans)},
            runs=dict(Counter(plan.workflow for plan in clerk.plans)),
            events=verdict.events,
            outcomes=verdict.outcomes,
            executions=verdict.executions,
            repeated=clerk.repeated,
            restarts=sum(each.deaths for each in cluster.members),
            hung=havoc.hung,
            violations=found,
            logs=str(cluster.folder) if found or havoc.hung else "",
        )
        if report.logs:
            _keep(cluster, report, verdict.told(found, clerk.plans))
        shop.durable.close()
        shop.app.close()
        return report


def _keep(cluster: Cluster, report: Report, histories: str) -> None:
    """Leave behind what whoever looks into it will want to see."""
    cluster.keep = True
    (cluster.folder / "report.json").write_text(report.as_json())
    (cluster.folder / "diary.txt").write_text(repr(cluster.diary))
    (cluster.folder / "histories.txt").write_text(histories)


def _settle(clerk: Clerk, havoc: Havoc, show: Callable[[], None]) -> bool:
    """Make good what is broken and wait until nothing is left to be done; False if that takes too long."""
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline:
        havoc.make_good()
        show()
        if havoc.over and clerk.done and _at_rest(clerk):
            return True
        time.sleep(5 * LOOK)
    while not havoc.over:
        havoc.make_good()
        time.sleep(LOOK)
    return False


def _at_rest(clerk: Clerk) -> bool:
    tables = clerk.store.db.tables
    try:
        clerk.open = clerk.count_open()
        with clerk.store.db.engine.connect() as connection:
            return clerk.open == 0 and connection.scalar(select(func.count()).select_from(tables.tasks)) == 0
    except DBAPIError:
        return False
