"""Histories that were recorded once are replayed by every later celeriac, on every Python.

To record a new one: ``python -m tests.runtime.test_golden_histories`` on the oldest Python. It never overwrites.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from celeriac.testing.environment import WorkflowEnvironment
from celeriac.testing.histories import compact, from_json, replay_every_prefix, to_json, without_stacks
from tests.runtime.golden_workflows import PROGRAMS, declare, play
from tests.workflows import MODES, make

GOLDEN = Path(__file__).parent / "golden" / "histories"


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_what_was_recorded_replays(name: str) -> None:
    env = WorkflowEnvironment()
    definition = declare(env, name)
    history = from_json((GOLDEN / f"{name}.json").read_text())
    replay_every_prefix(definition, history, env.registry)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_what_happens_today_is_what_was_recorded(name: str, mode: str) -> None:
    env = make(mode)
    handle = play(env, name)
    recorded = from_json((GOLDEN / f"{name}.json").read_text())
    assert env.story(handle) == compact(recorded)
    if mode == "cached":
        today = json.loads(to_json(env.history(handle)))
        assert without_stacks(today) == without_stacks(json.loads(to_json(recorded)))


def test_every_history_has_its_workflow() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(PROGRAMS)


def test_a_history_survives_its_trip_through_json() -> None:
    for path in GOLDEN.glob("*.json"):
        assert to_json(from_json(path.read_text())) == path.read_text()


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 11):
        sys.exit("record on Python 3.11")
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for each in PROGRAMS:
        target = GOLDEN / f"{each}.json"
        if not target.exists():
            made = WorkflowEnvironment()
            target.write_text(to_json(made.history(play(made, each))))
