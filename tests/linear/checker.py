"""Whether a recorded history of concurrent calls is linearizable: Wing and Gong's search with Lowe's memory.

A history is linearizable when each call can be given one moment between its invocation and its response at which it took effect
as a whole, so that the answers are those of a sequential specification (Herlihy and Wing, 1990). Found by depth-first search: of
the calls that may have come next one is tried; which calls are done, and in which state, is never tried twice (Lowe, "Testing for
linearizability", 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

State = TypeVar("State", bound=Hashable)

UNKNOWN: Final = "unknown"
"""The answer of a call whose answer was lost: it took effect at any later moment, or never."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as its caller saw it.

    :param called: when it was made, by a clock that all callers share; ``answered`` likewise.
    :param what: the operation's name; ``given``, its arguments; ``answer``, what it returned, or :data:`UNKNOWN`.
    """

    called: int
    answered: int
    caller: str
    what: str
    given: tuple[Any, ...]
    answer: Any

    @property
    def known(self) -> bool:
        """Whether there was an answer."""
        return not isinstance(self.answer, str) or self.answer != UNKNOWN


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the search found.

    :param stuck: where the history is not linearizable: the calls, in order, of the longest sequence that the specification
        allows, and those of which none can come next.
    """

    linearizable: bool
    tried: int
    stuck: tuple[Sequence[Call], Sequence[Call]] | None = None


def check(calls: Sequence[Call], start: State, step: Callable[[State, Call], Iterable[State]]) -> Verdict:
    """Search for an order of the calls that the specification allows.

    :param start: the specification's first state.
    :param step: returns the states that may follow when the call takes effect with just this answer; none where it can't.
    """
    calls = sorted(calls, key=lambda call: call.called)
    wanted = sum(1 << place for place, call in enumerate(calls) if call.known)
    seen: set[tuple[int, State]] = {(0, start)}
    stack: list[tuple[int, State, tuple[int, ...]]] = [(0, start, ())]
    best: tuple[int, ...] = ()
    while stack:
        done, state, order = stack.pop()
        if done & wanted == wanted:
            return Verdict(linearizable=True, tried=len(seen))
        if len(order) > len(best):
            best = order
        for place in reversed(_next(calls, done)):
            for after in step(state, calls[place]):
                key = (done | 1 << place, after)
                if key not in seen:
                    seen.add(key)
                    stack.append((*key, (*order, place)))
    rest = sum(1 << place for place in best)
    stuck = [calls[place] for place in best], [calls[place] for place in _next(calls, rest)]
    return Verdict(linearizable=False, tried=len(seen), stuck=stuck)


def _next(calls: Sequence[Call], done: int) -> list[int]:
    """Return the calls that may take effect next: made before any other that is not done was answered."""
    found: list[int] = []
    first_answer: int | None = None
    for place, call in enumerate(calls):
        if done >> place & 1:
            continue
        if first_answer is not None and call.called > first_answer:
            break
        found.append(place)
        if call.known and (first_answer is None or call.answered < first_answer):
            first_answer = call.answered
    return found
