"""What a run comes to: medians, ratios of paired rounds, goals. As the JSON that is written and read again."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.cases import CASES, Case, Goal
from benchmarks.peers.catalogue import OURS, PEERS
from benchmarks.peers.peer import Peer, Setting
from benchmarks.rounds import Found, Sample

FORMAT: Final = 2
"""The version of the JSON."""
Report = dict[str, Any]


def report(
    found: Sequence[Found],
    *,
    setting: Setting,
    peers: Sequence[Peer],
    missing: Mapping[str, Sequence[str]],
    servers: Mapping[str, str],
) -> Report:
    """Put everything that was measured, and how, into a value for JSON."""
    return {
        "format": FORMAT,
        "setting": {"store": setting.store, "pool": setting.pool, "concurrency": setting.concurrency},
        "machine": machine(),
        "servers": dict(servers),
        "peers": {
            each.name: {
                "title": each.title,
                "durable": each.durable,
                "configuration": dict(each.configuration),
                "versions": each.versions(),
            }
            for each in peers
        },
        "missing": {name: list(packages) for name, packages in missing.items()},
        "cases": {each.case.name: _case(each) for each in found},
    }


def merged(reports: Sequence[Report]) -> list[Report]:
    """Return one report a setting: of runs of the same one the cases are put together, the rounds of a case that was run again too.

    Ratios stay those of peers in the same round.
    """
    made: dict[tuple[Any, ...], Report] = {}
    for each in reports:
        key = tuple(each["setting"].values())
        whole = made.setdefault(key, {**each, "cases": {}, "peers": {}, "servers": {}, "missing": {}})
        for part in ("peers", "servers", "missing"):
            whole[part] |= each[part]
        for name, case in each["cases"].items():
            before = whole["cases"].get(name)
            whole["cases"][name] = case if before is None else _together(CASES[name], before, case)
    order = list(CASES)
    for whole in made.values():
        whole["missing"] = {name: gone for name, gone in whole["missing"].items() if name not in whole["peers"]}
        whole["cases"] = dict(sorted(whole["cases"].items(), key=lambda case: order.index(case[0])))
        whole["peers"] = {name: whole["peers"][name] for name in PEERS if name in whole["peers"]}
    return list(made.values())


def _together(case: Case, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Put the rounds of a case together; whoever did not take part in one of its runs has empty rounds there."""
    runs = [{name: each["rounds"] for name, each in one["peers"].items()} for one in (first, second)]
    lengths = [max(map(len, run.values()), default=0) for run in runs]
    names = dict.fromkeys([*first["peers"], *second["peers"]])
    samples = {
        name: [
            sample
            for run, length in zip(runs, lengths, strict=True)
            for sample in (run.get(name, []) + [{}] * length)[:length]
        ]
        for name in names
    }
    counted = {
        name: second["peers"].get(name, {}).get("counted") or first["peers"].get(name, {}).get("counted") or {}
        for name in names
    }
    return _case(Found(case, samples, counted))


def _case(found: Found) -> dict[str, Any]:
    case, ours = found.case, found.samples.get(OURS, [])
    return {
        "title": case.title,
        "figure": case.figure,
        "unit": case.unit,
        "more_is_better": case.more_is_better,
        "activities": case.activities,
        "sizes": dict(case.sizes),
        "peers": {
            name: {
                "median": medians(samples),
                "ratio": paired_ratio(ours, samples, case.figure) if name != OURS else None,
                "counted": found.counted.get(name, {}),
                "rounds": samples,
            }
            for name, samples in found.samples.items()
        },
        "goals": [_goal(goal, case, found.samples) for goal in case.goals],
    }


def medians(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure over the rounds that have it."""
    names = dict.fromkeys(name for each in samples for name in each)
    return {name: statistics.median(each[name] for each in samples if name in each) for name in names}


def paired_ratio(ours: Sequence[Sample], theirs: Sequence[Sample], figure: str) -> float | None:
    """Return the median over rounds of our figure divided by theirs in the same round; None where there is none."""
    ratios = [
        one[figure] / other[figure]
        for one, other in zip(ours, theirs, strict=False)
        if figure in one and other.get(figure)
    ]
    return statistics.median(ratios) if ratios else None


def _goal(goal: Goal, case: Case, samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    ours = samples.get(OURS, [])
    value = (
        medians(ours).get(goal.figure)
        if goal.against is None
        else paired_ratio(ours, samples.get(goal.against, []), goal.figure)
    )
    return {
        "figure": goal.figure,
        "against": goal.against,
        "at_least": goal.at_least,
        "bound": goal.bound,
        "value": value,
        "met": None if value is None else goal.met(value),
    }


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def quick(made: Report) -> dict[str, Any]:
    """Return what ``--quick`` prints: ratios to each peer, processor time an activity, goals."""
    cases = made["cases"]
    return {
        "ratios": {
            name: {peer: _rounded(each["ratio"]) for peer, each in case["peers"].items() if peer != OURS}
            for name, case in cases.items()
        },
        "figures": {
            name: {peer: _rounded(each["median"][case["figure"]]) for peer, each in case["peers"].items()}
            for name, case in cases.items()
        },
        "cpu_ms_per_activity": {
            name: {
                peer: {k.removeprefix("cpu_"): _rounded(v) for k, v in each["median"].items() if k.startswith("cpu_")}
                for peer, each in case["peers"].items()
            }
            for name, case in cases.items()
        },
        "counted_per_activity": {
            name: {peer: {k: _rounded(v) for k, v in each["counted"].items()} for peer, each in case["peers"].items()}
            for name, case in cases.items()
            if any(each["counted"] for each in case["peers"].values())
        },
        "goals_missed": [
            f"{name}: {goal['figure']}"
            for name, case in cases.items()
            for goal in case["goals"]
            if goal["met"] is False
        ],
        "rounds": {name: len(case["peers"].get(OURS, {"rounds": []})["rounds"]) for name, case in cases.items()},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
