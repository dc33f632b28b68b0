"""What is done and timed in a driver's process. Each operation checks every result and returns figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from benchmarks.peers.driver import Driver

Figures = dict[str, float]


class WrongResult(AssertionError):
    """A peer returned something else than what its steps come to."""


def verify(found: Any, expected: Any) -> None:
    """Compare a result with what is due.

    :raises WrongResult: they differ, or are of different types.
    """
    if type(found) is not type(expected) or found != expected:
        raise WrongResult(f"a wrong result: {found!r} where {expected!r} was due")


def chains(driver: Driver, count: int, length: int) -> Figures:
    """Chains at once."""
    begun = time.perf_counter()
    results = driver.chains(count, length)
    taken = time.perf_counter() - begun
    verify(list(results), [length] * count)
    return {"activities_per_second": count * length / taken}


def alone(driver: Driver, times: int, length: int) -> Figures:
    """One chain after the other."""

    def once(_: int) -> float:
        begun = time.perf_counter()
        results = driver.chains(1, length)
        taken = time.perf_counter() - begun
        verify(list(results), [length])
        return taken

    return _latency([once(number) for number in range(times)])


def fan_out(driver: Driver, width: int) -> Figures:
    """Steps side by side in one workflow."""
    begun = time.perf_counter()
    result = driver.fan_out(width)
    taken = time.perf_counter() - begun
    verify(result, width)
    return {"activities_per_second": width / taken}


def row(driver: Driver, length: int) -> Figures:
    """One long sequence; and where its times are known, each tenth's cost and the last one's ratio to the first."""
    begun = time.perf_counter()
    result, ends = driver.row(length)
    taken = time.perf_counter() - begun
    verify(result, length)
    return {"milliseconds_per_activity": taken / length * 1000, **(tenths(ends) if ends else {})}


def tenths(ends: Sequence[float]) -> Figures:
    """Return the milliseconds an activity of each tenth of a sequence, ``tenth_1`` to ``tenth_10``, and ``last_to_first_tenth``.

    :param ends: when each of its activities ended, in seconds; the first tenth lacks the time before the first end.
    """
    size = len(ends) // 10
    marks = [ends[0], *(ends[size * number - 1] for number in range(1, 10)), ends[-1]]
    counts = [size - 1, *[size] * 8, len(ends) - size * 9]
    costs = [(after - before) / count * 1000 for before, after, count in zip(marks, marks[1:], counts, strict=False)]
    return {f"tenth_{number}": cost for number, cost in enumerate(costs, 1)} | {
        "last_to_first_tenth": costs[-1] / costs[0]
    }


def signals(driver: Driver, times: int) -> Figures:
    """From sending a signal to having the result, one run after the other."""

    def once(number: int) -> float:
        taken, result = driver.signal(number)
        verify(result, number)
        return taken

    return _latency([once(number) for number in range(times)])


def starts(driver: Driver, count: int) -> Figures:
    """Starting runs one by one."""
    taken, results = driver.start(count)
    verify(list(results), [1] * count)
    return {"starts_per_second": count / taken}


def starts_at_once(driver: Driver, count: int) -> Figures:
    """Starting runs in one call."""
    taken, results = driver.start_many(count)
    verify(list(results), [1] * count)
    return {"starts_per_second": count / taken}


def sleep(driver: Driver, count: int) -> Figures:
    """Put runs to sleep; what they cost then is looked at from outside."""
    begun = time.perf_counter()
    verify(driver.sleep(count), count)
    return {"falling_asleep_per_second": count / (time.perf_counter() - begun)}


def local_row(driver: Driver, length: int) -> Figures:
    """Local steps in a row, start and result included."""
    begun = time.perf_counter()
    result = driver.local_row(length)
    taken = time.perf_counter() - begun
    verify(result, length)
    return {"milliseconds_per_activity": taken / length * 1000}


def local_fan_out(driver: Driver, width: int) -> Figures:
    """Local steps at once, start and result included."""
    begun = time.perf_counter()
    result = driver.local_fan_out(width)
    taken = time.perf_counter() - begun
    verify(result, width)
    return {"activities_per_second": width / taken}


def replay(driver: Driver, length: int) -> Figures:
    """A run of so many steps from its history alone."""
    found = driver.replay(length)
    return {
        "microseconds_per_event": found["replay_seconds"] / found["events"] * 1e6,
        "query_milliseconds": found["query_seconds"] * 1000,
        "events": found["events"],
    }


def _latency(taken: Sequence[float]) -> Figures:
    ordered = sorted(taken)
    return {"milliseconds": statistics.median(ordered) * 1000, "milliseconds_max": ordered[-1] * 1000}


OPERATIONS: Final[Mapping[str, Callable[..., Figures]]] = {
    each.__name__: each
    for each in (
        chains,
        alone,
        fan_out,
        row,
        signals,
        starts,
        starts_at_once,
        sleep,
        local_row,
        local_fan_out,
        replay,
    )
}
NEEDS: Final[Mapping[str, str]] = {
    "chains": "chains",
    "alone": "chains",
    "fan_out": "fan_out",
    "row": "row",
    "signals": "signal",
    "starts": "start",
    "starts_at_once": "start_many",
    "sleep": "sleep",
    "local_row": "local_row",
    "local_fan_out": "local_fan_out",
    "replay": "replay",
}
"""Which method of a driver an operation rests on."""
