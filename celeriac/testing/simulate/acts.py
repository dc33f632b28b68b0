"""The activity of simulated worlds, and the ledger of what its attempts have done out there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.activities.context import activity_context
from celeriac.errors import NonRetryable
from celeriac.orchestrator.model import Claim, Micros
from celeriac.testing.simulate.acting import read
from celeriac.testing.simulate.programs import LEASE

if TYPE_CHECKING:
    from celeriac.testing.simulate.process import Process
    from celeriac.testing.simulate.world import World


class Boom(Exception):
    """An attempt that fails as its node says."""


class Fatal(NonRetryable):
    """An attempt after which no other may follow."""


@dataclass(slots=True)
class Entry:
    """One attempt that was begun.

    :param ended: when it came to its end by itself; None for those that were killed or are under way.
    """

    run_id: str
    seq: int
    attempt: int
    began: Micros
    ended: Micros | None = None


class Acts:
    """Performs attempts and keeps the ledger."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ledger: list[Entry] = []
        self.local_ledger: list[Entry] = []

    def perform(self, process: Process, claim: Claim, text: str) -> list[int]:
        """Do what a node, read from its text, says its activity does, and return ``[id, attempt]``.

        :raises Boom, Fatal: as the node says.
        """
        self._world.watch.begins(claim.fence)
        node = read(text)
        context = activity_context()
        process.held[claim.fence] = context
        hub, attempt = self._world.hub, claim.task.attempt
        entry = Entry(claim.task.run_id, claim.task.seq, attempt, self._world.clock.now)
        self.ledger.append(entry)
        if attempt <= node["hangs"]:
            hub.sleep(node["options"]["start_to_close"] * 2)
        left = node["takes"]
        while left > 0:
            nap = min(left, LEASE / 2) if node["beats"] else left
            hub.sleep(nap)
            left -= nap
            if node["beats"]:
                context.heartbeat(left)
        if attempt <= node["fails"]:
            raise Boom(f"attempt {attempt}")
        if node["ends"] == "fatal":
            raise Fatal("for good")
        entry.ended = self._world.clock.now
        return [node["id"], attempt]
