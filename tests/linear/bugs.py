"""Stores with one promise broken each, to see whether the checker notices."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final

from celeriac.orchestrator.model import (
    Claim,
    Commit,
    CommitOutcome,
    Created,
    CreateOutcome,
    Delivery,
    DeliveryOutcome,
    Fence,
    Message,
    NewRun,
    TurnView,
)
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.stores.memory import InMemoryStore


class UngatedByInbox(InMemoryStore):
    """A commit is taken although more has arrived than its turn saw."""

    def commit(self, commit: Commit) -> CommitOutcome:
        view = self.read_turn(commit.run_id, known=None)
        return super().commit(commit if view is None else replace(commit, inbox_seq=view.run.inbox_seq))


class UngatedByVersion(InMemoryStore):
    """A commit is taken on top of another that its turn did not see."""

    def commit(self, commit: Commit) -> CommitOutcome:
        view = self.read_turn(commit.run_id, known=None)
        if view is not None:
            moved = [replace(event, number=place) for place, event in enumerate(commit.events, view.run.version + 1)]
            commit = replace(commit, version=view.run.version, events=moved)
        return super().commit(commit)


class UngatedByPause(InMemoryStore):
    """A paused run takes commits."""

    def commit(self, commit: Commit) -> CommitOutcome:
        view = self.read_turn(commit.run_id, known=None)
        if view is None or view.run.status is not WorkflowStatus.PAUSED:
            return super().commit(commit)
        self.set_status(commit.run_id, WorkflowStatus.RUNNING)
        return super().commit(commit)


class ForgetsKeys(InMemoryStore):
    """A message is taken a second time."""

    def deliver(self, message: Message, **where: Any) -> Delivery:
        told = super().deliver(message, **where)
        if told.outcome is DeliveryOutcome.DUPLICATE:
            told = super().deliver(replace(message, key=f"{message.key}-again"), **where)
        return told


class ForgetsStarts(InMemoryStore):
    """A start is carried out a second time."""

    def create(self, new: NewRun) -> Created:
        created = super().create(new)
        if created.outcome is CreateOutcome.SAME_START:
            created = super().create(replace(new, start_key=f"{new.start_key}-again"))
        return created


class ClaimsTwice(InMemoryStore):
    """An attempt is claimed while another holds it."""

    def claim_activity(self, run_id: str, seq: int, **how: Any) -> Claim | None:
        return super().claim_activity(run_id, seq, **{**how, "inner": time.monotonic_ns()})


class TurnsTwice(InMemoryStore):
    """A turn is claimed while another holds it."""

    def begin_turn(self, run_id: str, **how: Any) -> TurnView | None:
        return super().begin_turn(run_id, **how) or self.read_turn(run_id, known=how["known"])


class LosesWakeUps(InMemoryStore):
    """Nobody is told to publish the turn that a message made due."""

    def deliver(self, message: Message, **where: Any) -> Delivery:
        return replace(super().deliver(message, **where), wake=False)


class SettlesTwice(InMemoryStore):
    """An outcome is taken whose claim is gone."""

    def settle(self, fence: Fence, message: Message) -> Delivery:
        told = super().settle(fence, message)
        if told.outcome is DeliveryOutcome.REFUSED and told.run is not None and told.run.status.open:
            told = super().deliver(message, namespace=told.run.namespace, run_id=fence.run_id)
        return told


class ReadsOld(InMemoryStore):
    """A read may miss what was acknowledged before, as from a replica that lags."""

    def read_turn(self, run_id: str, *, known: tuple[str, int] | None) -> TurnView | None:
        old: dict[str, TurnView | None] = self.__dict__.setdefault("old", {})
        now = super().read_turn(run_id, known=known)
        before, old[run_id] = old.get(run_id, now), now
        return before


class WritesInTwo(InMemoryStore):
    """A settlement deletes its row in one step and delivers in another."""

    def settle(self, fence: Fence, message: Message) -> Delivery:
        if not self.remove_task(fence.run_id, fence.kind, fence.seq):
            return super().settle(fence, message)
        time.sleep(0.03)  # long enough that others get in between whenever they have something to do with this run
        view = self.read_turn(fence.run_id, known=None)
        namespace = "" if view is None else view.run.namespace
        return super().deliver(message, namespace=namespace, run_id=fence.run_id)


BUGS: Final[tuple[type[InMemoryStore], ...]] = (
    UngatedByInbox,
    UngatedByVersion,
    UngatedByPause,
    ForgetsKeys,
    ForgetsStarts,
    ClaimsTwice,
    TurnsTwice,
    LosesWakeUps,
    SettlesTwice,
    ReadsOld,
    WritesInTwo,
)
