"""The one buffer of a run's signals, in order of arrival, and what becomes of one whose taker is canceled."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.orchestrator.loop import WorkflowLoop
from celeriac.orchestrator.signals import SignalBuffer, SignalType


class Desk:
    def __init__(self) -> None:
        self.loop = WorkflowLoop(on_timer_started=lambda *_: None, on_timer_cancelled=lambda *_: None)
        self.buffer = SignalBuffer(self.loop)

    def take(self, name: str) -> Any:
        task = self.loop.create_task(self.buffer.take(name))
        self.loop.run_until_idle()
        return task

    def arrive(self, name: str, value: Any) -> None:
        self.buffer.arrived(name, value)


@pytest.fixture
def desk() -> Any:
    made = Desk()
    yield made
    made.loop.close()


def test_those_who_wait_are_served_in_their_order(desk: Desk) -> None:
    first, second = desk.take("n"), desk.take("n")
    assert list(desk.buffer.waited_for()) == ["n"]
    desk.arrive("n", 1)
    desk.arrive("n", 2)
    desk.loop.run_until_idle()
    assert (first.result(), second.result()) == (1, 2)
    assert list(desk.buffer.waited_for()) == []


def test_what_came_early_is_taken_in_its_order_by_name(desk: Desk) -> None:
    for name, value in (("a", 1), ("b", 2), ("a", 3)):
        desk.arrive(name, value)
    assert [desk.take(name).result() for name in ("b", "a", "a")] == [2, 1, 3]


def test_one_handed_over_and_canceled_at_once_goes_to_the_next_who_waits(desk: Desk) -> None:
    first, second = desk.take("n"), desk.take("n")
    desk.arrive("n", 1)
    first.cancel()
    desk.loop.run_until_idle()
    assert first.cancelled()
    assert second.result() == 1


def test_or_back_to_the_front_of_the_buffer(desk: Desk) -> None:
    first = desk.take("n")
    desk.arrive("n", 1)
    desk.arrive("n", 2)
    first.cancel()
    desk.loop.run_until_idle()
    assert [desk.take("n").result(), desk.take("n").result()] == [1, 2]


def test_one_who_is_canceled_while_waiting_is_passed_over(desk: Desk) -> None:
    first, second = desk.take("n"), desk.take("n")
    first.cancel()
    desk.loop.run_until_idle()
    desk.arrive("n", 1)
    desk.loop.run_until_idle()
    assert second.result() == 1


def test_a_handler_gets_what_came_early_and_then_everything(desk: Desk) -> None:
    got: list[int] = []
    desk.arrive("n", 1)
    desk.arrive("m", 9)
    desk.arrive("n", 2)
    desk.buffer.handle("n", got.append)
    desk.arrive("n", 3)
    assert got == [1, 2, 3]
    assert desk.take("m").result() == 9


def test_a_signal_type_has_a_name() -> None:
    with pytest.raises(ValueError, match="a signal's name is a non-empty string, not ''"):
        SignalType("", int)
    assert repr(SignalType("approved", bool)) == "signal_type('approved', bool)"
