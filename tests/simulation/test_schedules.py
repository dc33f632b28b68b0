"""A short search, as every run of the suite makes it; ``python -m celeriac.testing.simulate`` makes long ones."""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from celeriac.stores.memory import InMemoryStore
from celeriac.testing.simulate import Fault, LightStore, Report, World, simulate
from celeriac.testing.simulate.__main__ import main
from celeriac.testing.simulate.acting import ACT
from celeriac.testing.simulate.judging import ALLOW
from celeriac.testing.simulate.programs import BRANCHES, LEAVES, walk
from celeriac.testing.simulate.trace import SHOWN
from tests.simulation.mutants import MUTANTS

HANGS_AFTER = 50.0
"""Seconds after which a process of a search is taken to hang: it tells where, and ends, which the search reports."""
_searching: list[bool] = []


def _tell_where_it_hangs() -> None:
    if _searching:
        faulthandler.dump_traceback_later(HANGS_AFTER, exit=True, file=sys.__stderr__)


os.register_at_fork(after_in_child=_tell_where_it_hangs)


@pytest.fixture(autouse=True)
def no_process_hangs_unseen() -> Iterator[None]:
    _searching.append(True)
    yield
    _searching.clear()


@pytest.fixture(scope="module")
def report() -> Report:
    return simulate(range(300), store=LightStore)


def told(report: Report) -> list[str]:
    return [f"seed {each.seed}: {each.message}" for each in report.found]


def test_no_promise_is_broken_in_300_schedules(report: Report) -> None:
    assert told(report) == []
    assert report.schedules == 300


def test_nor_where_every_value_goes_through_json() -> None:
    assert told(simulate(range(1000, 1060), store=InMemoryStore)) == []


@pytest.mark.parametrize("seed", [5017172, 5063503, 5038389, 5094136])
def test_a_run_may_be_ended_before_its_first_turn_and_then_answers_no_question(seed: int) -> None:
    """What 100,000 schedules were reported for: the one who asks took that for a broken promise."""
    assert told(simulate([seed], store=LightStore)) == []


def test_a_group_that_has_failed_may_do_so_although_it_is_canceled_while_it_waits_for_the_others() -> None:
    """Another 100,000 schedules were reported for that: the model took it for a broken promise."""
    assert told(simulate([7053681], store=LightStore)) == []


def test_who_was_told_early_of_another_activity_gives_the_claim_back_and_that_was_no_attempt() -> None:
    """The judge took it for one, of an activity that may have no other."""
    assert told(simulate([81001126], store=LightStore)) == []


def test_every_kind_of_trouble_was_met_and_three_of_them_a_schedule(report: Report) -> None:
    assert set(report.faults) == set(Fault)
    assert report.faults.total() / report.schedules >= 3


def test_every_kind_of_node_is_grown_done_and_judged() -> None:
    kinds = {*LEAVES, *BRANCHES}
    assert kinds == set(ACT) == set(ALLOW)
    grown = {node["kind"] for seed in range(50) for story in World(seed).stories for node in walk(story.tree)}
    assert grown == kinds


def whole_trace(seed: int) -> list[str]:
    world = World(seed, whole_trace=True)
    world.run()
    return world.trace.lines()


def test_a_seed_makes_the_same_schedule_each_time() -> None:
    assert whole_trace(7) == whole_trace(7)
    assert whole_trace(7) != whole_trace(8)


def test_and_in_another_process() -> None:
    code = (
        "from celeriac.testing.simulate import World; w = World(7, whole_trace=True); w.run(); print(w.trace.lines())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == str(whole_trace(7))


def test_the_command_line_reports_and_exits_with_0_when_nothing_was_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--seeds", "3"]) == 0
    told = capsys.readouterr().out
    assert "3 schedules at" in told
    assert "1 schedules had their histories replayed from every step on" in told
    assert "0 violations" in told


def test_several_processes_find_what_one_does(capsys: pytest.CaptureFixture[str]) -> None:
    alone = simulate(range(24), store=LightStore)
    assert main(["--seeds", "24", "--jobs", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    counted = {name: told[name] for name in ("schedules", "steps", "decisions", "replayed", "faults")}
    assert counted == {name: alone.as_json()[name] for name in counted}


def test_an_interrupted_search_tells_what_it_has_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = World.run

    def interrupted(self: World) -> None:
        if self.seed == 2:
            raise KeyboardInterrupt
        run(self)

    monkeypatch.setattr(World, "run", interrupted)
    assert main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schedules"] == 2


def test_a_violation_is_told_with_its_seed_and_the_seed_finds_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    MUTANTS["timer_fired_before_its_time"](monkeypatch)
    assert main(["--stop-after", "1", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    (found,) = report["violations"]
    assert found["message"].endswith("fired early")
    assert len(found["trace"]) <= SHOWN
    assert report["schedules"] == found["seed"] + 1
    assert set(report["faults"]) <= {each.value for each in Fault}

    assert main(["--seed", str(found["seed"])]) == 1
    told = capsys.readouterr().out
    assert f"seed {found['seed']}: {found['message']}" in told
    assert f"Again: python -m celeriac.testing.simulate --seed {found['seed']}" in told
    assert "1 schedules at" in told
