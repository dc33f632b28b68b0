"""Many schedules, one after the other, and what came of them."""

from __future__ import annotations

import gc
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from celeriac.stores.memory import InMemoryStore
from celeriac.testing.simulate.faults import Fault
from celeriac.testing.simulate.listener import listening
from celeriac.testing.simulate.scheduler import Violation
from celeriac.testing.simulate.world import World

COLLECT_EVERY: Final = 100
"""How many schedules leave their garbage lying: collecting it now and then costs less than all the time."""


@dataclass(frozen=True, slots=True)
class Found:
    """A schedule that broke a promise.

    :param seed: repeats it exactly, with the same version of the simulator.
    :param message: which promise.
    :param trace: what happened last.
    """

    seed: int
    message: str
    trace: list[str]


@dataclass(slots=True)
class Report:
    """What came of a search.

    :param seconds: of the processor.
    :param replayed: schedules whose histories were replayed from every step on: one of twenty, as it costs as much
        as the rest.
    """

    schedules: int = 0
    steps: int = 0
    decisions: int = 0
    replayed: int = 0
    seconds: float = 0.0
    faults: Counter[Fault] = field(default_factory=Counter)
    found: list[Found] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Count in what another part of the search has found."""
        self.schedules += other.schedules
        self.steps += other.steps
        self.decisions += other.decisions
        self.replayed += other.replayed
        self.seconds += other.seconds
        self.faults += other.faults
        self.found += other.found

    @property
    def rate(self) -> float:
        """Schedules per second of the processor."""
        return self.schedules / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "schedules": self.schedules,
            "seconds": round(self.seconds, 1),
            "rate": round(self.rate, 1),
            "steps": self.steps,
            "decisions": self.decisions,
            "replayed": self.replayed,
            "faults": {each.value: times for each, times in self.faults.most_common()},
            "violations": [{"seed": each.seed, "message": each.message, "trace": each.trace} for each in self.found],
        }


def simulate(
    seeds: Iterable[int],
    *,
    store: type[InMemoryStore] = InMemoryStore,
    stop_after: int = 10,
    whole_trace: bool = False,
    on_schedule: Callable[[Report], None] = lambda _: None,
    into: Report | None = None,
    collect_every: int = COLLECT_EVERY,
) -> Report:
    """Run one schedule a seed.

    :param store: what the promises are kept in.
    :param stop_after: how many violations are enough.
    :param whole_trace: keep the whole trace of a violation, not only its end.
    :param on_schedule: called after each schedule.
    :param into: the report to go on with, which is then known also when the search is interrupted.
    :param collect_every: how many schedules leave their garbage lying before it is collected.
    """
    report = Report() if into is None else into
    with listening(), _collecting_seldom():
        for seed in seeds:
            began = time.thread_time()
            _one(report, seed, store, whole_trace=whole_trace)
            if report.schedules % collect_every == 0:
                gc.collect()
            report.seconds += time.thread_time() - began
            on_schedule(report)
            if len(report.found) >= stop_after:
                break
    return report


def _one(report: Report, seed: int, store: type[InMemoryStore], *, whole_trace: bool) -> None:
    world = World(seed, store=store, whole_trace=whole_trace)
    try:
        world.run()
    except Violation as violation:
        report.found.append(Found(world.seed, str(violation), world.trace.lines()))
    except Exception as error:  # noqa: BLE001 - what nobody expected is a violation too
        lines = traceback.format_exception(error)[-2:]
        message = f"{type(error).__name__}: {error}"
        report.found.append(Found(world.seed, message, [*world.trace.lines(), *lines]))
    report.schedules += 1
    report.steps += world.steps
    report.decisions += world.decisions
    report.replayed += world.replays
    report.faults += world.weather.met


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    was_on = gc.isenabled()
    if was_on:
        gc.collect()
    gc.freeze()  # what is there already need not be looked through again and again
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()
