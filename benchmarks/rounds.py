"""Interleaved rounds: in each, every case, and in each case one peer after the other, the rest at rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from benchmarks.cases import Case
from benchmarks.instance import Instance
from benchmarks.peers.peer import Peer, Setting
from benchmarks.servers import Servers

Sample = dict[str, float]
"""The figures of one case with one peer in one round; resources in units an activity (``cpu_workers`` in milliseconds)."""


@dataclass
class Found:
    """What was measured of one case.

    :param samples: by peer, one a round that it took part in, in order.
    :param counted: by peer, from one pass that was not timed, an activity.
    """

    case: Case
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    counted: dict[str, Sample] = field(default_factory=dict)


class Bench:
    """Peers that run side by side on the same servers; a context manager."""

    def __init__(self, peers: Sequence[Peer], setting: Setting) -> None:
        self.peers = peers
        self.setting = setting
        self.servers = Servers()
        self._instances: dict[tuple[str, int, bool], Instance] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.servers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def measure(self, found: Sequence[Found], rounds: int, *, until: float, step: Callable[[str], None]) -> None:
        """Measure cases for so many rounds.

        :param until: the ``time.monotonic()`` after which no case but the first begins, nor one that may not be done by then.
        :param step: called with what comes next, once a case and peer.
        """
        took: dict[str, float] = {}
        for number in range(rounds):
            for each in found:
                begun = time.monotonic()
                if took and begun + took.get(each.case.name, 0.0) > until:
                    return
                for peer in self._asked(each.case, number):
                    step(f"round {number + 1}: {each.case.title}, {peer.title}")
                    each.samples.setdefault(peer.name, []).append(self._sample(each.case, peer))
                took[each.case.name] = time.monotonic() - begun

    def count(self, found: Iterable[Found], *, until: float, step: Callable[[str], None]) -> None:
        """Do each case that has activities in a tiny size, and count everything that can be, whatever that costs in time.

        :param until: the ``time.monotonic()`` after which none begins.
        """
        for each in found:
            if time.monotonic() > until:
                return
            case = each.case.made_tiny()
            for peer in self._asked(case, 0) if case.counts else ():
                step(f"counting: {case.title}, {peer.title}")
                instance = self._instance(peer, case, counted=True)
                with instance.awake(), instance.counting():
                    before = instance.counts()
                    instance.ask(case.operation, **case.sizes)
                    after = instance.counts()
                activities = case.activities
                each.counted[peer.name] = {name: (after[name] - before[name]) / activities for name in after}

    def _asked(self, case: Case, number: int) -> list[Peer]:
        """Return the peers that a case is asked of, each round in the other direction, so that none is always first."""
        asked = [
            each
            for each in self.peers
            if case.offered_by(each) and not (each.most_rounds and number >= each.most_rounds)
        ]
        return asked[::-1] if number % 2 else asked

    def _sample(self, case: Case, peer: Peer) -> Sample:
        if case.idle:
            with closing(Instance(peer, self._setting_of(case), self.servers)) as fresh, fresh.awake():
                return _asleep(fresh, case)
        instance = self._instance(peer, case)
        with instance.awake():
            before = instance.cpu()
            figures = instance.ask(case.operation, **case.sizes)
            after = instance.cpu()
        return figures | (_costs(before, after, case.activities) if case.counts else {})

    def _instance(self, peer: Peer, case: Case, *, counted: bool = False) -> Instance:
        setting = self._setting_of(case)
        key = (peer.name, setting.concurrency, counted)
        if key not in self._instances:
            instance = Instance(peer, setting, self.servers, counted=counted)
            self._stack.callback(instance.close)
            self._instances[key] = instance
        return self._instances[key]

    def _setting_of(self, case: Case) -> Setting:
        return replace(self.setting, concurrency=case.concurrency or self.setting.concurrency)


def _costs(before: Sample, after: Sample, activities: int) -> Sample:
    """Return the processor time of each role and of all, in milliseconds an activity."""
    each = {f"cpu_{role}": (after[role] - before.get(role, 0.0)) * 1000 / activities for role in after}
    return {**each, "cpu_total": sum(each.values())}


def _asleep(instance: Instance, case: Case) -> Sample:
    """Put runs to sleep in an instance that has seen nothing else, and watch it; what sleeps ends with it."""
    memory = instance.memory()
    figures = instance.ask(case.operation, **case.sizes)
    figures |= _idle(instance, case.idle)
    figures["kib_per_run"] = (instance.memory() - memory) / 1024 / case.sizes["count"]
    return figures


def _idle(instance: Instance, seconds: float) -> Sample:
    """Watch an instance that nothing is asked of: processor time of all but its client, statements, and messages."""
    time.sleep(2.0)  # for what falling asleep has left to do
    with instance.counting():
        counts, cpu, begun = instance.counts(), instance.cpu(), time.perf_counter()
        time.sleep(seconds)
        taken = time.perf_counter() - begun
        used, counted = instance.cpu(), instance.counts()
    busy = {role: (used[role] - cpu[role]) / taken * 100 for role in used}
    workers = busy.get("workers", busy["client"])
    found = {"idle_seconds": taken, "idle_percent_of_a_core": workers, "idle_percent_of_a_core_all": sum(busy.values())}
    for name in ("statements", "writing_transactions", "broker_commands"):
        if name in counted:
            found[f"idle_{name}_per_second"] = (counted[name] - counts[name]) / taken
    if instance.broker is not None:
        found["idle_messages"] = float(instance.broker.messages())
    return found
