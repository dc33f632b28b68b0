"""The fixture that every test of workflows uses.

A test that uses ``env`` runs three times: with live runs kept in memory between turns, without (each turn replays from
the first event), and with turns taken inline by whoever ends an activity. What it asserts must hold each time. When it is
over, every history that it made is replayed from each of its steps on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.activities.context import activity_context
from celeriac.orchestrator.model import SECOND, Fence
from celeriac.orchestrator.watchdog import Watchdog
from celeriac.testing.environment import WorkflowEnvironment
from celeriac.testing.histories import compact

MODES: dict[str, dict[str, Any]] = {"cached": {}, "cold": {"cache": 0}, "inline": {"inline": True}}


class Env(WorkflowEnvironment):
    """A workflow environment that checks itself when the test is over."""

    replayable = True
    """Whether the code at the end of the test is that of all the histories."""

    def story(self, workflow: Any) -> list[str]:
        """Return a run's whole history in phrases."""
        return compact(self.history(workflow))

    def toil(self, seconds: float) -> None:
        """Let time pass inside an activity, as it does in a worker: its process renews the lease, relays look at what is due."""
        store, context = self.executor.store, activity_context()
        for _ in range(round(seconds)):
            self.clock.advance(1)
            fences = [Fence(context.run_id, each.kind, each.seq, context.token) for each in store.tasks(context.run_id)]
            store.renew(fences, lease=10 * SECOND)
            self.executor.relay.tick()


def make(mode: str, **options: Any) -> Env:
    options.setdefault("watchdog", Watchdog(cpu_limit=20.0, wall_limit=60.0))
    return Env(**MODES[mode], **options)


@pytest.fixture(params=MODES)
def env(request: pytest.FixtureRequest) -> Iterator[Env]:
    """An environment, in each of the modes."""
    made = make(request.param)
    yield made
    if made.replayable:
        made.check_replay()
