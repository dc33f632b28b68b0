"""Bugs to be planted, one at a time: each takes away one of the checks that the protocol rests on.

``python -m tests.simulation.mutants [NAME ...] [--start SEED] [--seeds MOST]`` tells after how many schedules each is found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from celeriac.activities.options import RetryPolicy
from celeriac.orchestrator import turn
from celeriac.orchestrator.cache import CachedRun
from celeriac.orchestrator.commands import StartTimer
from celeriac.orchestrator.engine import Engine
from celeriac.orchestrator.live import LiveRun
from celeriac.orchestrator.loading import Loader
from celeriac.orchestrator.model import (
    Commit,
    CommitOutcome,
    Created,
    Delivery,
    DeliveryOutcome,
    Fence,
    InboxItem,
    Message,
    NewRun,
    Task,
)
from celeriac.orchestrator.relay import Relay
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState
from celeriac.orchestrator.turn import Order, Turn
from celeriac.stores import memory, rows
from celeriac.stores.memory import InMemoryStore
from celeriac.stores.shelf import Entry
from celeriac.testing.simulate import LightStore, Report, simulate

MOST: Final = 20_000
"""Within so many schedules each of them must be found."""
Plant = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, Plant] = {}


def mutant(plant: Plant) -> Plant:
    MUTANTS[plant.__name__] = plant
    return plant


def search(name: str, *, start: int = 0, seeds: int = MOST) -> Report:
    """Plant a bug, run schedules until one of them finds it, and take it out again."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        return simulate(range(start, start + seeds), store=LightStore, stop_after=1)


@mutant
def commit_not_gated_by_the_version(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rows, "takes", lambda run, _: run.status.open)


@mutant
def commit_not_gated_by_the_inbox(patch: pytest.MonkeyPatch) -> None:
    gate = memory._gate

    def blind(entry: Entry | None, commit: Commit) -> CommitOutcome | None:
        return gate(entry, commit if entry is None else replace(commit, inbox_seq=entry.run.inbox_seq))

    patch.setattr(memory, "_gate", blind)


@mutant
def claim_not_checked_at_the_end_of_an_attempt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rows, "holds", lambda row, _: row is not None)


@mutant
def claim_not_checked_by_an_inline_turn(patch: pytest.MonkeyPatch) -> None:
    gate = memory._gate
    patch.setattr(memory, "_gate", lambda entry, commit: gate(entry, replace(commit, settles=None)))


@mutant
def lease_not_checked_at_a_claim(patch: pytest.MonkeyPatch) -> None:
    claimed = rows.attempt_claimed
    patch.setattr(rows, "attempt_claimed", lambda row, now, **rest: claimed(rows.queued(row, None), now, **rest))


@mutant
def outcome_accepted_twice(patch: pytest.MonkeyPatch) -> None:
    settle = InMemoryStore.settle

    def settle_again(self: InMemoryStore, fence: Fence, message: Message) -> Delivery:
        delivery = settle(self, fence, message)
        if delivery.outcome is not DeliveryOutcome.REFUSED or delivery.run is None or not delivery.run.status.open:
            return delivery
        again = replace(message, key=f"{message.key} again {fence.token}")
        return self.deliver(again, namespace=delivery.run.namespace, run_id=fence.run_id)

    patch.setattr(InMemoryStore, "settle", settle_again)


@mutant
def outcome_recorded_that_nobody_waits_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LiveRun, "wants", lambda self, _: not self.closed)


@mutant
def key_of_a_recorded_signal_forgotten(patch: pytest.MonkeyPatch) -> None:
    def has_seen(self: Entry, key: str) -> bool:
        return any(item.message.key == key for item in self.inbox.values())

    patch.setattr(Entry, "has_seen", has_seen)


@mutant
def turn_not_left_due(patch: pytest.MonkeyPatch) -> None:
    after = rows.turn_after
    patch.setattr(rows, "turn_after", lambda row, commit, now: after(row, replace(commit, leave_due=False), now))


@mutant
def turn_not_made_due_by_a_delivery(patch: pytest.MonkeyPatch) -> None:
    woken = rows.turn_woken
    patch.setattr(rows, "turn_woken", lambda row, *rest: (row, woken(row, *rest)[1]))


@mutant
def discarded_run_put_back_into_the_cache(patch: pytest.MonkeyPatch) -> None:
    live_at = Loader.live

    def live(self: Loader, view: Any, definition: Any) -> LiveRun | None:
        found = live_at(self, view, definition)
        if found is not None:
            found.epoch = view.run.epoch  # type: ignore[attr-defined]
        return found

    def discard(self: Loader, run_id: str, live: LiveRun | None) -> None:
        if live is not None and live.alive:
            self.cache.put(run_id, CachedRun(live.epoch, live))  # type: ignore[attr-defined]

    patch.setattr(Loader, "live", live)
    patch.setattr(Loader, "discard", discard)


@mutant
def close_over_a_signal(patch: pytest.MonkeyPatch) -> None:
    def take(self: Turn, item: InboxItem) -> None:
        if item.number not in self._early:
            self.consumed.append(item.number)
            if not self.closed:
                self._apply_message(item.message, item.number)

    patch.setattr(Turn, "take", take)


@mutant
def lost_activity_not_published_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Relay, "_queued", lambda *_: None)


@mutant
def lost_turn_not_taken_over(patch: pytest.MonkeyPatch) -> None:
    claimed = rows.turn_claimed

    def never(row: Any, *rest: Any) -> Any:
        return None if row.token else claimed(row, *rest)

    patch.setattr(rows, "turn_claimed", never)


@mutant
def dead_workers_attempt_not_ended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("celeriac.orchestrator.relay.overdue_failure", lambda *_: None)


@mutant
def wake_up_not_published(patch: pytest.MonkeyPatch) -> None:
    def delivered(self: Engine, delivery: Delivery) -> bool:
        return delivery.outcome in (DeliveryOutcome.DELIVERED, DeliveryOutcome.DUPLICATE)

    patch.setattr(Engine, "delivered", delivered)


@mutant
def signals_behind_a_closing_signal_put_in_front_of_it(patch: pytest.MonkeyPatch) -> None:
    def in_front(order: Order, inbox: Sequence[InboxItem], closed_by: int) -> Order:
        first = sorted(inbox, key=lambda item: (item.number <= closed_by, item.number))
        return [[item] for item in first]

    patch.setattr("celeriac.orchestrator.engine.signals_first", in_front)


@mutant
def activity_attempted_again_after_a_lost_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RetryPolicy, "allows", lambda self, attempt, failure: not failure.get("non_retryable"))


@mutant
def timer_fired_before_its_time(patch: pytest.MonkeyPatch) -> None:
    def start(self: Turn, command: StartTimer) -> None:
        at = max(self.now, command.fire_at - 1)
        self._add(Task(self.run.run_id, TaskKind.TIMER, command.number, TaskState.QUEUED, at, self.run.namespace))

    patch.setitem(turn._CARRY, StartTimer, start)


@mutant
def start_repeated_by_a_client_not_known_again(patch: pytest.MonkeyPatch) -> None:
    refusal = InMemoryStore._refusal

    def forgetful(self: InMemoryStore, new: NewRun) -> Created | None:
        self._shelf.starts.clear()
        return refusal(self, new)

    patch.setattr(InMemoryStore, "_refusal", forgetful)


@mutant
def lost_claim_renewed(patch: pytest.MonkeyPatch) -> None:
    def held(self: InMemoryStore, fence: Fence) -> tuple[Any, Any]:
        return self._shelf.row(fence.run_id, fence.kind, fence.seq)

    patch.setattr(InMemoryStore, "_held", held)


@mutant
def signal_dropped_by_the_turn_that_took_it(patch: pytest.MonkeyPatch) -> None:
    step = Turn._take_signal

    def careless(self: Turn, message: Message, number: int) -> None:
        if len(self.consumed) < 4:  # only a busy turn loses one
            step(self, message, number)

    patch.setitem(turn._TAKE, MessageKind.SIGNAL, careless)


def main(arguments: Sequence[str] | None = None) -> int:
    """Search for each, tell what was found after how many schedules, and return 1 when one was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which of them (all)")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=MOST, help=f"how many schedules at most (default {MOST})")
    options = parser.parse_args(arguments)
    missed = 0
    for name in options.names or MUTANTS:
        report = search(name, start=options.start, seeds=options.seeds)
        missed += not report.found
        told = report.found[0].message if report.found else "NOT FOUND"
        print(f"{name:<56} {report.schedules:>6} schedules {report.seconds:>6.1f} s  {told}", flush=True)  # noqa: T201 - a command
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
