"""The play: orders and pictures are started, approvals published, a worker is killed."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from celeriac.demo import ledger
from celeriac.demo.stage import DemoFailed
from celeriac.orchestrator import events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.demo.ledger import Execution
    from celeriac.demo.screen import Screen
    from celeriac.demo.stage import Stage, Worker
    from celeriac.orchestrator.client import Client
    from celeriac.orchestrator.model import Run

CHANNEL: Final = "celeriac:demo:signals"
READY_LIMIT: Final = 25.0
"""Seconds until the workers have to be ready."""
LIMIT: Final = 55.0
"""Seconds until everything has to be over."""
TICK: Final = 0.1
"""Seconds between two looks."""
AGAIN: Final = 2.0
"""Seconds until an approval that was not taken is published again."""
APPROVALS: Final = {"order-1": True, "order-2": True, "order-3": False}
_KILL_AFTER: Final = 10
"""How many executions have ended when a worker is killed."""
_TRIES: Final = 20
_TRY: Final = 0.01
"""How often it is tried to catch a worker in the act before the others are looked after, and seconds between tries."""
_OUTCOMES: Final = ("activity_completed", "activity_failed", "activity_canceled")


@dataclass(slots=True)
class Watched:
    """A run that is looked at again and again: what is new is read, what was read is counted."""

    run: Run
    seen: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def look(self, client: Client) -> None:
        """Read what is new."""
        self.run = client.describe(self.run.run_id)
        for event in client.store.history(self.run.run_id, after=self.seen):
            self.seen = event.number
            self.counts[event.type] += 1

    @property
    def scheduled(self) -> int:
        """How many activities were scheduled."""
        return self.counts[events.ActivityScheduled.tag]

    @property
    def recorded(self) -> int:
        """How many activities have an outcome."""
        return sum(self.counts[each] for each in _OUTCOMES)

    @property
    def waits(self) -> str:
        """What the run waits for."""
        return ", ".join(times(Counter(self.run.waits)))


def times(counted: Counter[str]) -> list[str]:
    """Say each thing once, and how often it is there."""
    return [each if number == 1 else f"{each} × {number}" for each, number in counted.items()]  # noqa: RUF001


class Play:
    """Directs the demo.

    :param most: how many pictures are worked on.
    """

    def __init__(self, stage: Stage, screen: Screen, *, most: int) -> None:
        self.stage = stage
        self.screen = screen
        self.most = most
        self.runs: dict[str, Watched] = {}
        self.interrupted: list[Execution] = []
        """What was under way where the worker was killed."""
        self.published: Counter[str] = Counter()
        """How often each approval was published."""
        self._due: dict[str, float] = {}
        self._keys: dict[str, str] = {}
        self._closed: set[str] = set()

    @property
    def client(self) -> Client:
        """The operations on runs."""
        from celeriac.demo.shop import durable  # noqa: PLC0415 - reads the environment that the stage sets

        return durable.client

    def perform(self) -> None:
        """Play it to its end.

        :raises DemoFailed: it came to none in time, or a worker ended by itself.
        """
        self._open()
        self._start()
        while len(self._closed) < len(self.runs):
            self._look()
            self._approve()
            if not self.interrupted:
                self._strike()
            self.stage.check()
            if self.screen.seconds > LIMIT:
                raise DemoFailed(self._stuck())
            time.sleep(TICK)

    def _open(self) -> None:
        self.screen.note("a Redis for messages, an SQLite file for promises, in ", (str(self.stage.folder), "dim"))
        for name in ("anna", "bert"):
            self.stage.start_worker(name)
        self.screen.wait("two Celery workers are starting …")
        self.stage.await_listeners(CHANNEL, 2, READY_LIMIT)
        self.screen.note("workers ", ("anna", "bold"), " and ", ("bert", "bold"), " are up, two processes each")

    def _start(self) -> None:
        from celeriac.demo.pictures import process  # noqa: PLC0415 - as above
        from celeriac.demo.shop import Order, fulfil  # noqa: PLC0415 - as above

        calls: list[tuple[Any, tuple[Any, ...], str]] = [
            (fulfil, (Order(name, 4200 + number),), name) for number, name in enumerate(APPROVALS)
        ]
        calls.append((process, (str(self.stage.pictures), self.most, str(self.stage.thumbnails)), "pictures"))
        for task, args, workflow_id in calls:
            task.apply_async(args, workflow_id=workflow_id)
            self.runs[workflow_id] = Watched(self.client.describe(workflow_id))
        self.screen.note("three orders are placed, and work begins on a folder of pictures")

    def _look(self) -> None:
        for workflow_id, each in self.runs.items():
            if workflow_id in self._closed:
                continue
            each.look(self.client)
            if not each.run.status.open:
                self._closed.add(workflow_id)
                self.screen.note((workflow_id, "bold"), f" {each.run.status.value}")
        self.screen.state(list(self.runs.values()), self.stage.workers, ledger.read(self.stage.ledger))

    # -- approvals -----------------------------------------------------------------------------------------

    def _approve(self) -> None:
        """Publish the approvals that are waited for; twice each, and again while one is not recorded."""
        for workflow_id, verdict in APPROVALS.items():
            watched = self.runs[workflow_id]
            waiting = "signal 'approved'" in watched.run.waits
            if (
                waiting
                and not watched.counts["signal_received"]
                and time.monotonic() >= self._due.get(workflow_id, 0.0)
            ):
                self._publish(workflow_id, verdict)
                self._due[workflow_id] = time.monotonic() + AGAIN

    def _publish(self, workflow_id: str, verdict: bool) -> None:  # noqa: FBT001 - what the signal carries
        import redis  # noqa: PLC0415 - slow to import

        key = self._keys.setdefault(workflow_id, uuid.uuid4().hex[:8])
        text = json.dumps({"workflow_id": workflow_id, "name": "approved", "payload": verdict, "id": key})
        with redis.Redis.from_url(self.stage.redis.url) as client:
            for _ in range(2):
                client.publish(CHANNEL, text)
                self.published[workflow_id] += 1
        self.screen.note("published, twice: ", (f"PUBLISH {CHANNEL} '{text}'", "magenta"))

    # -- the kill ------------------------------------------------------------------------------------------

    def _strike(self) -> None:
        """Kill a worker in the middle of what it is about, and start another; not yet if nobody is about anything."""
        if sum(each.ended for each in ledger.read(self.stage.ledger)) < _KILL_AFTER:
            return
        for _ in range(_TRIES):
            busy = Counter(each.worker for each in ledger.read(self.stage.ledger) if not each.ended)
            for name, _ in busy.most_common(1):
                self.interrupted = self._kill(next(each for each in self.stage.workers if each.name == name))
            if self.interrupted:
                self.stage.start_worker("cleo")
                self.screen.note("worker ", ("cleo", "bold"), " starts in its place")
                return
            time.sleep(_TRY)

    def _kill(self, victim: Worker) -> list[Execution]:
        """Kill a worker and return what it was about; spare it if that is nothing."""
        victim.freeze()  # so that what is seen to be under way still is when the blow falls
        caught = ledger.under_way(self.stage.ledger, victim.name)
        if not caught:
            victim.thaw()
            return []
        victim.kill()
        what = " and ".join(times(Counter(each.name for each in caught)))
        self.screen.note(
            ("SIGKILL", "bold red"), " to all processes of ", (victim.name, "bold"), f", in the middle of {what}"
        )
        return caught

    def _stuck(self) -> str:
        waiting = [
            f"{name} is {each.run.status.value} and waits for {each.waits or 'its next turn'}"
            for name, each in self.runs.items()
            if name not in self._closed
        ]
        logs: Sequence[str] = [f"{each.name}:\n{each.tail()}" for each in self.stage.workers]
        return f"not over after {LIMIT:g} s: {'; '.join(waiting)}.\n\n" + "\n\n".join(logs)
