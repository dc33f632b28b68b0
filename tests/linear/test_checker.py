"""The checker itself: on histories small enough to judge by eye, and on stores with a bug each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.stores.memory import InMemoryStore
from tests.linear.bugs import BUGS
from tests.linear.checker import UNKNOWN, Call, check
from tests.linear.session import Findings, play

_SESSIONS = 100
"""So many sessions a bug may stay hidden in. The rarest shows in one of seven, so that a miss has a chance of two in ten million."""


def register(state: int, call: Call) -> Iterator[int]:
    """A register that holds a number: ``put(n)``, and ``get`` that answers with it."""
    if call.what == "put":
        yield call.given[0]
    elif call.answer in (UNKNOWN, state):
        yield state


def put(called: int, answered: int, value: int, answer: Any = None) -> Call:
    return Call(called, answered, "w", "put", (value,), answer)


def get(called: int, answered: int, value: int) -> Call:
    return Call(called, answered, "r", "get", (), value)


@pytest.mark.parametrize(
    ("calls", "linearizable"),
    [
        ([], True),
        ([put(0, 1, 5), get(2, 3, 5)], True),
        ([put(0, 1, 5), get(2, 3, 0)], False),  # it missed what was acknowledged
        ([put(0, 9, 5), get(1, 2, 0), get(3, 4, 5)], True),
        ([put(0, 9, 5), get(1, 2, 5), get(3, 4, 0)], False),  # it went back
        ([put(0, 9, 5), put(0, 9, 6), get(1, 2, 6), get(3, 4, 5), get(5, 6, 5)], True),
        ([put(0, 9, 5), put(0, 9, 6), get(1, 2, 6), get(3, 4, 5), get(5, 6, 6)], False),
        ([put(0, 1, 5, UNKNOWN), get(2, 3, 0), get(4, 5, 5)], True),  # it took effect late
        ([put(0, 1, 5, UNKNOWN), get(2, 3, 0), get(4, 5, 0)], True),  # or never
        ([put(0, 1, 5, UNKNOWN), get(2, 3, 5), get(4, 5, 0)], False),  # but not both
        ([get(0, 1, 5), put(2, 3, 5, UNKNOWN)], False),  # nor before it was made
    ],
)
def test_histories_of_a_register(calls: list[Call], *, linearizable: bool) -> None:
    verdict = check(calls, 0, register)
    assert verdict.linearizable is linearizable
    assert (verdict.stuck is None) is linearizable


def test_what_it_got_stuck_at_is_told() -> None:
    first, wrong = put(0, 1, 5), get(2, 3, 0)
    assert check([wrong, first], 0, register).stuck == ([first], [wrong])


def search(store: InMemoryStore, sessions: Iterator[int]) -> Findings:
    findings = Findings()
    for number in sessions:
        played = play(lambda: store, f"session-{number}", str(number), threads=6, workflows=6, each=25)
        for calls in played.values():
            findings.add(calls)
        if findings.wrong:
            break
    return findings


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: type[InMemoryStore]) -> None:
    findings = search(bug(), iter(range(_SESSIONS)))
    assert findings.wrong, f"not found in {findings.calls} calls: {bug.__doc__}"
    assert "none of these can have had its answer:" in findings.wrong[0]


def test_the_store_in_memory_is_linearizable() -> None:
    findings = search(InMemoryStore(), iter(range(10)))
    assert (findings.wrong, findings.histories) == ([], 60)
    assert findings.calls > 6000
