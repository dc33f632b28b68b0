"""What samples come to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import operations, summary, table
from benchmarks.cases import CASES, Case, Goal
from benchmarks.operations import WrongResult, tenths, verify
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.peer import Setting
from benchmarks.rounds import Found

CASE = Case(
    name="chains",
    wording="chains",
    operation="chains",
    sizes={"count": 5, "length": 2},
    figure="activities_per_second",
    unit="activities/s",
    more_is_better=True,
    counts=True,
    goals=(
        Goal("activities_per_second", 1.0, at_least=True, against="celery-redis"),
        Goal("cpu_total", 3.5),
        Goal("milliseconds", 1.0),
    ),
)


def found() -> Found:
    return Found(
        CASE,
        {
            "celeriac": [
                {"activities_per_second": 90.0, "cpu_total": 4.0},
                {"activities_per_second": 300.0, "cpu_total": 3.0},
                {"activities_per_second": 100.0, "cpu_total": 3.2},
            ],
            "celery-redis": [
                {"activities_per_second": 100.0, "cpu_total": 2.0},
                {"activities_per_second": 100.0, "cpu_total": 2.0},
                {"activities_per_second": 50.0, "cpu_total": 2.0},
            ],
        },
        {"celeriac": {"statements": 2.5}},
    )


def report() -> summary.Report:
    peers = [PEERS["celeriac"], PEERS["celery-redis"]]
    return summary.report([found()], setting=Setting(), peers=peers, missing={}, servers={"Redis": "one"})


def test_ratios_are_medians_of_the_rounds_ratios_not_ratios_of_medians() -> None:
    made = report()["cases"]["chains"]["peers"]
    assert made["celeriac"]["median"] == {"activities_per_second": 100.0, "cpu_total": 3.2}
    assert made["celeriac"]["ratio"] is None
    assert made["celery-redis"]["ratio"] == 2.0


def test_goals_are_bounds_on_ratios_or_on_figures_and_unknown_where_nothing_was_measured() -> None:
    ratio, cpu, absent = report()["cases"]["chains"]["goals"]
    assert (ratio["value"], ratio["met"]) == (2.0, True)
    assert (cpu["value"], cpu["met"]) == (3.2, True)
    assert (absent["value"], absent["met"]) == (None, None)


def test_a_bound_is_kept_where_it_is_reached() -> None:
    assert Goal("x", 1.0, at_least=True).met(1.0)
    assert not Goal("x", 1.0, at_least=True).met(0.99)
    assert Goal("x", 1.0).met(1.0)
    assert not Goal("x", 1.0).met(1.01)


def test_tables_have_a_line_a_case_a_goal_and_a_peer() -> None:
    assert list(table.tables(report())) == [
        "| case | unit | celeriac | raw Celery, results in Redis |",
        "|---|---|---:|---:|",
        "| chains | activities/s | 100 | 100 (2 x) |",
        "",
        "### Goals",
        "",
        "| case | goal | celeriac | of the goal | met |",
        "|---|---|---:|---:|---|",
        "| chains | activities per second ≥ 1 x raw Celery, results in Redis | 2 | 2 | yes |",
        "| chains | CPU total ≤ 3.5 | 3.2 | 0.914 | yes |",
        "",
        "### What an activity costs",
        "",
        "| case | peer | CPU total, ms | CPU workers, ms | CPU client, ms | CPU broker, ms | CPU database, ms | CPU server, ms | statements |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        "| chains | celeriac | 3.2 |  |  |  |  |  | 2.5 |",
        "| chains | raw Celery, results in Redis | 2 |  |  |  |  |  |  |",
        "",
    ]


def test_what_is_seen_at_rest_is_a_table_too() -> None:
    case = replace(CASE, wording="asleep", figure="idle_percent_of_a_core", counts=False, goals=())
    samples = {"celeriac": [{"idle_seconds": 5.0, "idle_percent_of_a_core": 0.5, "kib_per_run": 0.0}]}
    made = summary.report([Found(case, samples)], setting=Setting(), peers=[PEERS["celeriac"]], missing={}, servers={})
    assert list(table.resting(made)) == [
        "| case | peer | seconds | percent of a core | KiB per run |",
        "|---|---|---:|---:|---:|",
        "| asleep | celeriac | 5 | 0.5 | 0 |",
    ]


def test_a_quick_run_prints_ratios_figures_costs_and_missed_goals() -> None:
    assert summary.quick(report()) == {
        "ratios": {"chains": {"celery-redis": 2.0}},
        "figures": {"chains": {"celeriac": 100.0, "celery-redis": 100.0}},
        "cpu_ms_per_activity": {"chains": {"celeriac": {"total": 3.2}, "celery-redis": {"total": 2.0}}},
        "counted_per_activity": {"chains": {"celeriac": {"statements": 2.5}, "celery-redis": {}}},
        "goals_missed": [],
        "rounds": {"chains": 3},
    }


def test_a_sequence_is_cut_into_tenths() -> None:
    ends = [number * 0.001 for number in range(90)] + [0.089 + number * 0.003 for number in range(1, 11)]
    costs = tenths(ends)
    assert [round(costs[f"tenth_{number}"], 6) for number in range(1, 11)] == [1.0] * 9 + [3.0]
    assert round(costs["last_to_first_tenth"], 6) == 3.0


@pytest.mark.parametrize(("found", "due"), [(9, 10), (True, 1), ([1, 2], [1, 1]), (None, 0)])
def test_a_wrong_result_is_refused(found: object, due: object) -> None:
    with pytest.raises(WrongResult, match="a wrong result"):
        verify(found, due)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_case_asks_for_something_that_its_peers_offer(case: Case) -> None:
    assert case.operation in operations.OPERATIONS
    assert case.offered_by(PEERS["celeriac"]) or case.operation == "starts_at_once"
    assert all(goal.against in {None, *PEERS} for goal in case.goals)


def test_runs_of_one_case_become_one_with_the_ratios_of_peers_in_the_same_round() -> None:
    case = CASES["signal"]

    def run(samples: dict[str, list[float]]) -> summary.Report:
        made = Found(case, {name: [{case.figure: each} for each in found] for name, found in samples.items()})
        peers = [PEERS[name] for name in samples]
        return summary.report([made], setting=Setting("postgresql"), peers=peers, missing={}, servers={})

    first = run({"celeriac": [10.0, 20.0, 30.0], "dbos": [20.0, 40.0, 60.0]})
    (whole,) = summary.merged([first, run({"celeriac": [8.0, 9.0], "temporal": [80.0, 90.0]})])
    found = whole["cases"]["signal"]["peers"]
    assert found["celeriac"]["median"] == {case.figure: 10.0}
    assert (found["dbos"]["ratio"], found["dbos"]["median"]) == (0.5, {case.figure: 40.0})
    assert (found["temporal"]["ratio"], found["temporal"]["median"]) == (0.1, {case.figure: 85.0})
    (goal,) = [each for each in whole["cases"]["signal"]["goals"] if each["against"] is None]
    assert (goal["value"], goal["met"]) == (10.0, True)


def test_runs_of_one_setting_become_one_report() -> None:
    def run(case: str, peers: list[str], store: str, count: int) -> summary.Report:
        made = Found(replace(CASE, name=case), {name: [{"activities_per_second": float(count)}] for name in peers})
        chosen = [PEERS[each] for each in peers]
        missing = {} if "dbos" in peers else {"dbos": ["dbos"]}
        return summary.report([made], setting=Setting(store), peers=chosen, missing=missing, servers={store: "one"})

    first, second = (
        run("signal", ["celeriac", "dbos"], "postgresql", 1),
        run("chains-10", ["celeriac"], "postgresql", 2),
    )
    again, other = run("signal", ["celeriac"], "postgresql", 3), run("signal", ["celeriac"], "sqlite", 4)
    whole, apart = summary.merged([first, second, again, other])
    assert list(whole["cases"]) == ["chains-10", "signal"]
    peers = whole["cases"]["signal"]["peers"]
    assert [peers[name]["rounds"] for name in peers] == [
        [{"activities_per_second": 1.0}, {"activities_per_second": 3.0}],
        [{"activities_per_second": 1.0}, {}],
    ]
    assert whole["cases"]["chains-10"] == second["cases"]["chains-10"]
    assert list(whole["peers"]) == ["celeriac", "dbos"]
    assert (whole["missing"], whole["servers"]) == ({}, {"postgresql": "one"})
    assert apart["cases"] == other["cases"]
    assert first["cases"].keys() == {"signal"}
