"""What can go wrong in a simulated world, and how often it does in one of them.

Not every world has every fault: a fault that comes all the time hides what only the others would show. So each
world draws which ones it has (*swarm testing*; Groce et al., ISSTA 2012), how often, and how many in all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from celeriac.testing.simulate.dice import Dice


class Fault(StrEnum):
    """A kind of trouble."""

    CRASH = "worker killed"
    STORE_AWAY = "store call failed, nothing written"
    ANSWER_LOST = "store call written, answer lost"
    OUTAGE = "store away for a while"
    SOFT_LIMIT = "soft time limit struck"
    THREAD_STALLED = "thread stalled"
    WORKER_FROZEN = "worker frozen past its leases"
    PUBLISH_FAILED = "publishing failed"
    HINT_LOST = "hint lost"
    HINT_TWICE = "hint delivered twice"
    HINT_LATE = "hint late"
    REDELIVERED = "hint of a killed worker delivered again"
    FLUSHED = "broker flushed"
    CODE_GONE = "deploy without the workflow"
    CODE_BAD = "bad deploy"
    DEAF = "listener deaf"
    CLOCK_SKEWED = "worker's clock wrong"


AT_CALLS: Final = (
    Fault.CRASH,
    Fault.STORE_AWAY,
    Fault.ANSWER_LOST,
    Fault.SOFT_LIMIT,
    Fault.THREAD_STALLED,
    Fault.WORKER_FROZEN,
)
"""Faults that strike at a call of a port."""
AT_HINTS: Final = (Fault.HINT_LOST, Fault.HINT_TWICE, Fault.HINT_LATE)
"""Faults that strike a published hint."""
ANY_TIME: Final = (
    Fault.CRASH,
    Fault.OUTAGE,
    Fault.WORKER_FROZEN,
    Fault.FLUSHED,
    Fault.CODE_GONE,
    Fault.CODE_BAD,
    Fault.DEAF,
)
"""Faults that strike between calls."""


@dataclass(slots=True)
class Weather:
    """How rough a world is.

    :param at_calls: weights of the faults that strike at calls of ports.
    :param at_hints: the same for hints.
    :param any_time: the same for those between calls.
    :param call_rate: how likely a call of a port meets one.
    :param hint_rate: how likely a hint meets one.
    :param local_rate: how likely a local activity does, before its effect and after it.
    :param rate: how likely a decision of the scheduler is one.
    :param left: how many are still to come; with none left the world is calm.
    :param letting_go: how likely a call of a port lets others run before it, and after it.
    :param passing: how likely time passes at a decision of the scheduler.
    :param skews: whether workers misjudge how long their activities took.
    :param fine: nothing goes wrong at all, so that nothing may be late either.
    """

    at_calls: dict[Fault, float]
    at_hints: dict[Fault, float]
    any_time: dict[Fault, float]
    call_rate: float
    hint_rate: float
    local_rate: float
    rate: float
    left: int
    letting_go: float
    passing: float
    skews: bool = False
    fine: bool = False
    met: Counter[Fault] = field(default_factory=Counter)
    """How many faults of each kind there were."""

    @classmethod
    def draw(cls, dice: Dice, steps: int) -> Weather:
        """Draw the weather of a world with a program of so many steps."""
        fine = dice.chance(0.08)
        expected = 0.0 if fine else dice.span(2, 10)
        calls = 25.0 * steps
        at_calls = _some(dice, AT_CALLS)
        at_hints = _some(dice, AT_HINTS)
        any_time = _some(dice, ANY_TIME)
        return cls(
            at_calls=at_calls,
            at_hints=at_hints,
            any_time=any_time,
            call_rate=expected / calls if at_calls else 0.0,
            hint_rate=min(expected / (2.0 * steps), 0.7) if at_hints else 0.0,
            local_rate=min(expected / (4.0 * steps), 0.3),
            rate=expected / (2 * calls) if any_time else 0.0,
            left=round(1.5 * expected),
            letting_go=dice.pick((0.02, 0.1, 0.3, 0.6)),
            passing=dice.pick((0.0, 0.02, 0.1)),
            skews=dice.chance(0.2),
            fine=fine,
        )

    def spend(self, fault: Fault) -> None:
        """Count a fault that has struck."""
        self.met[fault] += 1
        self.left -= 1

    def strike(self, dice: Dice, rate: float, weights: dict[Fault, float]) -> Fault | None:
        """Return the fault that strikes here, if one does."""
        if self.left <= 0 or dice.random() >= rate:
            return None
        return dice.weigh(weights)


def _some(dice: Dice, kinds: tuple[Fault, ...]) -> dict[Fault, float]:
    return {each: dice.span(0.2, 2) for each in kinds if dice.chance(0.6)}
