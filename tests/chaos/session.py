"""A session: servers, workers, clients and faults for a while, then peace, then the verdict."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from tests.chaos.clerk import Clerk
from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS
from tests.chaos.havoc import Havoc
from tests.chaos.journal import Journal
from tests.chaos.ledger import Ledger
from tests.chaos.report import Report
from tests.chaos.verdict import Verdict

SETTLE: Final = 240.0
"""Seconds within which everything has to come to its end once the faults have stopped."""
LOOK: Final = 0.05

Progress = Callable[[float, Clerk, Havoc, str], None]
"""Shown what is going on: seconds so far, and what is being done."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be played.

    :param seconds: for which faults strike.
    :param every: the mean time between two of them in seconds.
    :param store: ``postgresql`` or ``mariadb``.
    :param broker: ``redis`` or ``rabbitmq``.
    :param earlier: the commit whose code one worker runs; None looks for one.
    """

    seconds: float
    seed: int
    every: float
    open_at_once: int
    store: str = "postgresql"
    broker: str = "redis"
    earlier: str | None = None


class Session:
    """Plays once; :meth:`play` returns what came of it, and leaves that in a folder as it goes."""

    def __init__(self, wish: Wish, folder: Path, progress: Progress) -> None:
        self._wish = wish
        self._progress = progress
        self._begun = self._quiet = self._settled = 0.0
        self._state = "running"
        self._clerk: Clerk | None = None
        self._havoc: Havoc | None = None
        self._enough = False
        self.journal = Journal(folder, self.draw)

    def enough(self) -> None:
        """Have no more faults strike; what comes then goes on."""
        self._enough = True

    def play(self) -> Report:
        """Play."""
        dice = random.Random(self._wish.seed)
        self.journal.write(self.draw())
        try:
            with Cluster(self._wish.store, self._wish.broker, self._wish.earlier) as cluster:
                return self._with(cluster, dice)
        except BaseException:
            self._state = "failed"
            failed = f"the driver could not go on:\n{traceback.format_exc()}"
            self.journal.write(replace(self.draw(), violations=[failed]))
            raise

    def _with(self, cluster: Cluster, dice: random.Random) -> Report:
        os.environ |= cluster.environment
        shop: Any = importlib.import_module("tests.chaos.shop")
        clerk = Clerk(shop, cluster.broker.url, dice=random.Random(dice.random()), open_at_once=self._wish.open_at_once)
        havoc = Havoc(cluster, random.Random(dice.random()), FAULTS, every=self._wish.every, told=self.journal.note)
        self._clerk, self._havoc = clerk, havoc
        self._begun = time.monotonic()
        clerk.start()
        try:
            self._strike(clerk, havoc)
            found = self._settle(clerk, havoc)
            return self._reckon(cluster, clerk, shop, found)
        finally:
            shop.durable.close()
            shop.app.close()

    def _strike(self, clerk: Clerk, havoc: Havoc) -> None:
        while time.monotonic() - self._begun < self._wish.seconds and clerk.error is None and not self._enough:
            havoc.go_on()
            self._show("faults strike")
            time.sleep(LOOK)

    def _show(self, what: str) -> None:
        assert self._clerk is not None
        assert self._havoc is not None
        self.journal.go_on()
        self._progress(time.monotonic() - self._begun, self._clerk, self._havoc, what)

    def _settle(self, clerk: Clerk, havoc: Havoc) -> list[str]:
        """Make good what is broken and wait until nothing is left to be done; returns what is wrong with that."""
        clerk.enough()
        self._quiet, self._state = time.monotonic(), "settling"
        self.journal.note("no more faults", "")
        for member in havoc.cluster.members:
            havoc.cluster.set_clock_right(member)
        deadline, settled = self._quiet + SETTLE, False
        while not settled and time.monotonic() < deadline:
            havoc.make_good()
            self._show("settling")
            settled = havoc.over and clerk.done and _at_rest(clerk)
            time.sleep(LOOK)
        while not havoc.over:
            havoc.make_good()
            time.sleep(LOOK)
        self._settled = time.monotonic()
        found = [] if settled else [f"not at rest {SETTLE:g} s after the last fault"]
        if clerk.error is not None:
            found.append(f"the clerk could not go on: {clerk.error!r}")
        return found

    def _reckon(self, cluster: Cluster, clerk: Clerk, shop: Any, found: list[str]) -> Report:
        self._state = "reckoning"
        self.journal.write(replace(self.draw(), violations=found))
        verdict = Verdict(shop, Ledger(cluster.ledger), cluster.diary)
        for each in verdict.violations(clerk.plans):
            found.append(each)
            self.journal.note("violation", each)
        self._state = "done"
        report = replace(
            self.draw(),
            events=verdict.events,
            outcomes=verdict.outcomes,
            executions=verdict.executions,
            violations=found,
            logs=str(cluster.folder) if found or cluster.keep else "",
        )
        if report.logs:
            cluster.keep = True
            (cluster.folder / "diary.txt").write_text(repr(cluster.diary))
            (cluster.folder / "histories.txt").write_text(verdict.told(found, clerk.plans))
        self.journal.write(report)
        if report.logs:
            shutil.copytree(self.journal.folder, cluster.folder, dirs_exist_ok=True)
        return report

    def draw(self) -> Report:
        """Return how things stand."""
        clerk, havoc, now = self._clerk, self._havoc, time.monotonic()
        cluster = havoc.cluster if havoc else None
        plans = clerk.plans[:] if clerk else []
        faults = dict(havoc.struck) if havoc else {}
        for kind in ("poisoned", "toxic", "deadly"):
            faults[f"{kind} run"] = sum(plan.workflow == kind for plan in plans)
        return Report(
            seed=self._wish.seed,
            store=self._wish.store,
            broker=self._wish.broker,
            state=self._state,
            seconds=(self._quiet or now) - self._begun if self._begun else 0.0,
            settled=(self._settled or now) - self._quiet if self._quiet else 0.0,
            earlier=cluster.earlier if cluster else "",
            faults=faults,
            runs=dict(Counter(plan.workflow for plan in plans)),
            repeated=clerk.repeated if clerk else 0,
            restarts=sum(each.deaths for each in cluster.members) if cluster else 0,
            hung=list(havoc.hung) if havoc else [],
            left_out=list(cluster.left_out) if cluster else [],
            logs=str(cluster.folder) if cluster else "",
        )


def _at_rest(clerk: Clerk) -> bool:
    tables = clerk.store.db.tables
    try:
        clerk.open = clerk.count_open()
        with clerk.store.db.engine.connect() as connection:
            return clerk.open == 0 and connection.scalar(select(func.count()).select_from(tables.tasks)) == 0
    except DBAPIError:
        return False
