"""The cases: each does a fixed amount of work, checks the results, and returns its figures."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks import app as bench
from benchmarks.servers import cpu_seconds

Figures = dict[str, float]


def chains_durable(count: int, length: int) -> Figures:
    """``count`` durable chains at once."""
    begun = time.perf_counter()
    started = [bench.chain_of.delay(length) for _ in range(count)]
    for each in started:
        _is(each.handle.result(timeout=120), length)
    return {"steps_per_second": count * length / (time.perf_counter() - begun)}


def chains_raw(count: int, length: int) -> Figures:
    """``count`` raw chains at once."""
    begun = time.perf_counter()
    started = [bench.raw_chain(length).apply_async() for _ in range(count)]  # type: ignore[attr-defined]
    for each in started:
        _is(each.get(timeout=120), length)
    return {"steps_per_second": count * length / (time.perf_counter() - begun)}


def alone_durable(rounds: int, length: int) -> Figures:
    """One durable chain after the other."""
    return _median(rounds, lambda: _is(bench.chain_of.delay(length).handle.result(timeout=60), length))


def alone_raw(rounds: int, length: int) -> Figures:
    """One raw chain after the other."""
    return _median(rounds, lambda: _is(bench.raw_chain(length).apply_async().get(timeout=60), length))  # type: ignore[attr-defined]


def fan_out_durable(width: int) -> Figures:
    """One durable fan-out."""
    begun = time.perf_counter()
    _is(bench.fan_out.delay(width).handle.result(timeout=300), width)
    return {"steps_per_second": width / (time.perf_counter() - begun)}


def fan_out_raw(width: int) -> Figures:
    """One raw chord."""
    begun = time.perf_counter()
    _is(bench.raw_fan_out(width).apply_async().get(timeout=300), width)  # type: ignore[attr-defined]
    return {"steps_per_second": width / (time.perf_counter() - begun)}


def signal_durable(rounds: int) -> Figures:
    """From sending a signal to having the result."""
    taken = []
    for number in range(rounds):
        started = bench.echo.delay()
        while not started.handle.describe().turns:
            time.sleep(0.002)
        begun = time.perf_counter()
        started.signal("ping", number)
        _is(started.handle.result(timeout=30), number)
        taken.append(time.perf_counter() - begun)
    return {"milliseconds": statistics.median(taken) * 1000}


def sequence_durable(length: int) -> Figures:
    """One long durable sequence."""
    begun = time.perf_counter()
    _is(bench.chain_of.delay(length).handle.result(timeout=600), length)
    return {"milliseconds_per_step": (time.perf_counter() - begun) / length * 1000}


def local_row_durable(length: int) -> Figures:
    """Local activities in a row, start and result included."""
    begun = time.perf_counter()
    _is(bench.local_row.delay(length).handle.result(timeout=60), length)
    return {"milliseconds_per_step": (time.perf_counter() - begun) / length * 1000}


def local_fan_out_durable(width: int) -> Figures:
    """Local activities asked for at once."""
    begun = time.perf_counter()
    _is(bench.local_fan_out.delay(width).handle.result(timeout=60), width)
    return {"steps_per_second": width / (time.perf_counter() - begun)}


def tenths_durable(length: int) -> Figures:
    """One long durable sequence: how much longer its last tenth takes than its first."""
    started = bench.chain_of.delay(length)
    _is(started.handle.result(timeout=600), length)
    at = [each.at for each in started.handle.history() if each.type == "activity_completed"]
    tenth = length // 10
    return {"last_to_first_tenth": (at[-1] - at[-tenth]) / (at[tenth - 1] - at[0])}


def sleeping_durable(count: int, seconds: float) -> Figures:
    """The workers' CPU time while runs sleep."""
    started = [bench.echo.delay() for _ in range(count)]
    while not all(each.handle.describe().turns for each in started[-10:]):
        time.sleep(0.1)
    time.sleep(2.0)  # for what the starts have left to do
    group = int(os.environ["BENCH_WORKER"])
    before, begun = cpu_seconds(group), time.perf_counter()
    time.sleep(seconds)
    used = (cpu_seconds(group) - before) / (time.perf_counter() - begun)
    for each in started:
        each.handle.terminate("measured")
    return {"percent_of_a_core": used * 100}


def starts_durable(count: int) -> Figures:
    """Starting runs from one client."""
    begun = time.perf_counter()
    started = [bench.chain_of.delay(1) for _ in range(count)]
    taken = time.perf_counter() - begun
    for each in started:
        _is(each.handle.result(timeout=120), 1)
    return {"starts_per_second": count / taken}


def _median(rounds: int, once: Callable[[], None]) -> Figures:
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        once()
        taken.append(time.perf_counter() - begun)
    return {"milliseconds": statistics.median(taken) * 1000}


def _is(found: Any, expected: Any) -> None:
    if found != expected:
        raise RuntimeError(f"a wrong result: {found!r} where {expected!r} was due")
