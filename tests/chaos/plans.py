"""What is asked for, and what has to come of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac.orchestrator.status import WorkflowStatus
from tests.chaos.numbers import FOR_EVER


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    :param args: of its workflow.
    :param results: what it may return, as JSON; more than one where a kill may decide.
    :param numbers: of its activities, in no order; each is scheduled once.
    :param near: of those that run in turns, in order.
    :param signals: how many it is sent; their payloads are counted from 0.
    :param canceled: it is canceled, and ends so.
    :param deadly: its turns kill their workers, so that it is held until it is terminated.
    """

    workflow_id: str
    workflow: str
    args: tuple[Any, ...]
    results: tuple[Any, ...]
    numbers: tuple[int, ...] = ()
    near: tuple[int, ...] = ()
    signals: int = 0
    timers: tuple[float, ...] = ()
    canceled: bool = False
    deadly: bool = False

    @property
    def status(self) -> WorkflowStatus:
        """How the run has to end."""
        if self.deadly:
            return WorkflowStatus.TERMINATED
        return WorkflowStatus.CANCELED if self.canceled else WorkflowStatus.COMPLETED


def _squares(numbers: Sequence[int]) -> list[int]:
    return [each * each for each in numbers]


class Planner:
    """Makes plans up, the same ones for the same dice."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._made = 0
        self._kinds: Final[dict[str, Callable[[str], Plan]]] = {
            "row": self._row,
            "fan": self._fan,
            "near": self._near,
            "collect": self._collect,
            "nap": self._nap,
            "everything": self._everything,
            "canceled": self._canceled,
            "poisoned": self._poisoned,
            "single": self._single,
            "toxic": self._toxic,
            "deadly": self._deadly,
        }
        self._weights: Final = (50, 24, 24, 40, 20, 24, 12, 2, 12, 1, 0)

    def plan(self) -> Plan:
        """Make up a run: first one of each kind, then whatever comes. One that kills its workers for good is enough."""
        kinds = list(self._kinds)
        first = self._made < len(kinds)
        kind = kinds[self._made] if first else self._dice.choices(kinds, self._weights)[0]
        self._made += 1
        return self._kinds[kind](f"{kind}-{self._made}")

    def _some(self, most: int) -> list[int]:
        return [self._dice.randrange(100) for _ in range(self._dice.randint(1, most))]

    def _row(self, name: str) -> Plan:
        numbers = self._some(6)
        return Plan(name, "row", (numbers,), (_squares(numbers),), tuple(numbers))

    def _fan(self, name: str) -> Plan:
        numbers = self._some(6)
        return Plan(name, "fan", (numbers,), (_squares(numbers),), tuple(numbers))

    def _near(self, name: str) -> Plan:
        numbers, far = self._some(4), self._dice.randrange(100)
        again = [*numbers, numbers[0]]
        result = [*_squares(numbers), far * far, numbers[0] ** 2]
        return Plan(name, "near", (numbers, far), (result,), (far,), near=tuple(again))

    def _collect(self, name: str) -> Plan:
        count = self._dice.randint(1, 4)
        return Plan(name, "collect", (count,), (list(range(count)),), signals=count)

    def _nap(self, name: str) -> Plan:
        length = round(self._dice.uniform(0.1, 4), 3)
        return Plan(name, "nap", (length,), ("slept",), timers=(length,))

    def _everything(self, name: str) -> Plan:
        number, length = self._dice.randrange(99), round(self._dice.uniform(0.1, 2), 3)
        result = [number * number, 0, (number + 1) ** 2]
        numbers = (number, number + 1)
        return Plan(name, "everything", (number, length), (result,), numbers, signals=1, timers=(length,))

    def _canceled(self, name: str) -> Plan:
        number = self._dice.randrange(100)
        return Plan(name, "canceled", (number,), (None,), (number,), timers=(FOR_EVER,), canceled=True)

    def _poisoned(self, name: str) -> Plan:
        number = self._dice.randrange(100)
        return Plan(name, "poisoned", (number,), (number * number,), (number,))

    def _single(self, name: str) -> Plan:
        number = self._dice.randrange(100)
        return Plan(name, "single", (number,), (number * number, "lost"), (number,))

    def _toxic(self, name: str) -> Plan:
        number = self._dice.randrange(100)
        return Plan(name, "toxic", (number,), ("gave up",), (number,))

    def _deadly(self, name: str) -> Plan:
        number = self._dice.randrange(100)
        return Plan(name, "deadly", (number,), (None,), (number,), deadly=True)
