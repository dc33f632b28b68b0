"""The clients: a thread that starts runs, sends signals and cancels, and repeats each until it is told that it is recorded."""

from __future__ import annotations

import heapq
import json
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import redis
from kombu.exceptions import OperationalError
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from celeriac.errors import StoreError, WorkflowClosed
from celeriac.stores.sql import SqlStore
from tests.chaos.plans import Plan, Planner

_LOG: Final = logging.getLogger("chaos.clerk")
_PASSING: Final = (StoreError, DBAPIError, OperationalError, redis.RedisError, OSError)
"""What says that a server is away."""
RETRY: Final = 0.1
"""Seconds between tries."""
COUNT_EVERY: Final = 0.5
"""Seconds between looks at how many runs are open."""
HELD: Final = 60.0
"""Seconds for which a run that kills its workers is left among the others once it is held."""
WITHIN: Final = 2.0
"""Seconds within which a run gets each of its signals, or its cancel."""


class Clerk:
    """Keeps so many runs open until it is told to stop; then sends what is still to be sent.

    :param shop: the module ``tests.chaos.shop``, imported once the servers are there.
    """

    def __init__(self, shop: Any, broker: str, *, dice: random.Random, open_at_once: int) -> None:
        self._shop = shop
        # Without Redis nobody listens for signals that don't come by the store.
        self._channel = redis.Redis.from_url(broker, socket_timeout=5) if broker.startswith("redis") else None
        self._dice = dice
        self._most = open_at_once
        self._planner = Planner(dice)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._work, name="clerk", daemon=True)
        self.plans: list[Plan] = []
        self.run_ids: dict[str, str] = {}
        self.repeated = 0
        """How many calls did not learn whether they were recorded, and were made again."""
        self.open = 0
        self.held_since = 0.0
        """When the run that kills its workers was first seen to be held."""
        self.error: BaseException | None = None

    @property
    def store(self) -> SqlStore:
        """The store of this process."""
        found = self._shop.durable.runtime.store
        assert isinstance(found, SqlStore)
        return found

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def enough(self) -> None:
        """Start nothing more; what was promised to open runs is still sent."""
        self._enough.set()

    @property
    def done(self) -> bool:
        """Whether nothing is left to be sent."""
        return not self._thread.is_alive()

    def count_open(self) -> int:
        """Return how many runs have not closed."""
        runs = self.store.db.tables.runs
        with self.store.db.engine.connect() as connection:
            return int(connection.scalar(select(func.count()).where(runs.c.open_id.is_not(None))) or 0)

    # -- the thread ------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            counted = 0.0
            while self._agenda or not self._enough.is_set():
                self._do_what_is_due()
                if self._enough.is_set():
                    time.sleep(0.01)
                    continue
                if time.monotonic() - counted > COUNT_EVERY:
                    self.open = self._surely(self.count_open)
                    counted = time.monotonic()
                if self.open < self._most:
                    self._begin(self._planner.plan())
                    self.open += 1
                time.sleep(0.01)
        except BaseException as error:
            self.error = error
            raise

    def _do_what_is_due(self) -> None:
        while self._agenda and self._agenda[0][0] <= time.monotonic():
            heapq.heappop(self._agenda)[2]()

    def _later(self, at: float, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._agenda, (at, self._number, what))

    def _surely(self, what: Callable[[], Any]) -> Any:
        """Do it until nothing is in the way any more."""
        while True:
            try:
                return what()
            except _PASSING as error:
                _LOG.info("once more, after %s", error)
            self.repeated += 1
            time.sleep(RETRY)

    def _begin(self, plan: Plan) -> None:
        task = self._shop.app.tasks[plan.workflow]
        self.plans.append(plan)
        result = self._surely(lambda: task.apply_async(plan.args, task_id=plan.workflow_id))
        self.run_ids[plan.workflow_id] = result.run_id
        at = time.monotonic()
        for number in range(plan.signals):
            at += self._dice.uniform(0, WITHIN)
            channel = self._dice.random() < 0.3
            self._later(at, lambda number=number, channel=channel: self._send(plan, number, channel=channel))  # type: ignore[misc]
        if plan.canceled:
            self._later(at + self._dice.uniform(0, WITHIN), lambda: self._cancel(plan))
        if plan.deadly:
            self._later(at + 1, lambda: self._put_an_end_to(plan))

    def _send(self, plan: Plan, number: int, *, channel: bool) -> None:
        """Send a signal; also by the channel, where whoever hears it records the same one."""
        key = f"{plan.workflow_id}:{number}"
        sender = self._channel
        if channel and sender is not None:
            parcel = {"workflow_id": plan.workflow_id, "name": "parcel", "payload": number, "id": key}
            self._surely(lambda: sender.publish("celeriac:chaos:signals", json.dumps(parcel)))
        self._surely(lambda: self._signal(plan, number, key))

    def _signal(self, plan: Plan, number: int, key: str) -> None:
        try:
            self._shop.durable.handle(plan.workflow_id).signal("parcel", number, key=key)
        except WorkflowClosed:
            _LOG.info(
                "%s has had its signals already", plan.workflow_id
            )  # this one by the channel, or by a lost answer

    def _cancel(self, plan: Plan) -> None:
        try:
            self._surely(lambda: self._shop.durable.handle(plan.workflow_id).cancel("chaos"))
        except WorkflowClosed:
            _LOG.info("%s was canceled by a call whose answer was lost", plan.workflow_id)

    def _put_an_end_to(self, plan: Plan) -> None:
        """Terminate a run that kills its workers, some time after it has been held for it."""
        run = self._surely(lambda: self.store.find_run("chaos", workflow_id=plan.workflow_id))
        held = "kills its worker" in (run.blocked or {}).get("message", "")
        if held and not self.held_since:
            self.held_since = time.monotonic()
        if not self.held_since or (time.monotonic() - self.held_since < HELD and not self._enough.is_set()):
            self._later(time.monotonic() + 1, lambda: self._put_an_end_to(plan))
            return
        try:
            self._surely(lambda: self._shop.durable.handle(plan.workflow_id).terminate("it kills its workers"))
        except WorkflowClosed:
            _LOG.info("%s was terminated by a call whose answer was lost", plan.workflow_id)
