"""The broker of a simulated world: carries hints, and keeps none of its promises when the weather is rough."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from celeriac.orchestrator.ports import Hint, TurnReady
from celeriac.testing.simulate.faults import Fault

if TYPE_CHECKING:
    from celeriac.testing.simulate.world import World


class Network:
    """Hints on their way and hints that wait for a worker, in no order that anybody may rely on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.waiting: list[Hint] = []
        self.shuffles = world.dice.chance(0.5)
        self.tells_backlog = world.dice.chance(0.5)
        self._latency = world.dice.pick((0.0, 0.001, 0.01))
        self._epoch = 0
        self._turns: Counter[str] = Counter()
        """How many turns of each run are on their way."""

    def announces(self, run_id: str) -> bool:
        """Whether a worker will hear, or has just heard, that a run's turn is due."""
        handled = (strand.hint for worker in self._world.workers for strand in worker.strands)
        return self._turns[run_id] > 0 or any(_turn_of(hint) == run_id for hint in (*self.waiting, *handled))

    def send(self, hint: Hint, delay: float = 0.0) -> None:
        """Take in a hint that may be handled after so many seconds."""
        world = self._world
        fault = world.weather.strike(world.dice, world.weather.hint_rate, world.weather.at_hints)
        if fault is not None:
            world.meet(fault)
        if fault is Fault.HINT_LOST:
            return
        if fault is Fault.HINT_TWICE:
            self._carry(hint, delay + world.dice.span(0.001, 30))
        if fault is Fault.HINT_LATE:
            delay += world.dice.span(0.01, 120)
        self._carry(hint, delay + self._latency)

    def _carry(self, hint: Hint, delay: float) -> None:
        if delay <= 0:
            self.waiting.append(hint)
            return
        epoch = self._epoch
        self._turns[_turn_of(hint)] += 1

        def arrive() -> None:
            self._turns[_turn_of(hint)] -= 1
            if epoch == self._epoch:
                self.waiting.append(hint)

        self._world.hub.later(delay, arrive)

    def take(self) -> Hint:
        """Hand out one of those that wait."""
        place = int(self._world.dice.random() * len(self.waiting)) if self.shuffles else 0
        return self.waiting.pop(place)

    def flush(self) -> None:
        """Lose everything."""
        self.waiting.clear()
        self._epoch += 1


def _turn_of(hint: Hint | None) -> str:
    return hint.run.run_id if isinstance(hint, TurnReady) else ""
