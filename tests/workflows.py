"""The fixture that every test of workflows uses.

A test that uses ``env`` runs three times: with live runs kept in memory between turns, without (each turn replays from
the first event), and with turns taken inline by whoever ends an activity. What it asserts must hold each time. When it is
over, every history that it made is replayed from each of its steps on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

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
