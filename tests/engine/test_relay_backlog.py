"""A backlog is not a loss: what waits its turn is hardly published again, what is gone is, however busy the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from celeriac import WorkflowContext
from celeriac.orchestrator.model import SECOND
from celeriac.orchestrator.ports import ActivityReady, Hint
from tests.workflows import Env, make

MANY = 300


class Broker:
    """Stands before the environment's queue, counts what is published and says how much waits."""

    def __init__(self, env: Env, others: int = 0) -> None:
        self.env = env
        self.others = others
        """How many messages of other tasks wait in the queue all the time."""
        self.published = 0
        self._publish = env.executor.dispatcher.publish
        self._queue: list[Hint] = []
        env.executor.dispatcher.publish = self.publish  # type: ignore[method-assign]
        env.executor.dispatcher.backlog = self.backlog  # type: ignore[method-assign]

    def publish(self, hints: Sequence[Hint]) -> None:
        ours = [hint for hint in hints if isinstance(hint, ActivityReady)]
        self.published += len(ours)
        self._queue += ours
        self._publish([hint for hint in hints if hint not in ours])

    def backlog(self, queue: str | None) -> int:
        return len(self._queue) + self.others

    def deliver(self, count: int) -> None:
        """Have workers take so many messages."""
        taken, self._queue = self._queue[:count], self._queue[count:]
        self._publish(taken)
        self.env.executor.drive(jump=False)

    def lose(self) -> None:
        self._queue.clear()


@pytest.fixture
def env() -> Env:
    return make("cached")


def _spread(env: Env, count: int, others: int = 0) -> tuple[Broker, Any]:
    @env.activity
    def step(number: int) -> int:
        return number

    @env.workflow
    async def spread(ctx: WorkflowContext) -> int:
        return sum(await asyncio.gather(*(ctx.execute_activity(step, number) for number in range(count))))

    broker = Broker(env, others)
    handle = env.start(spread)
    env.executor.drive(jump=False)
    assert broker.published == count
    return broker, handle


def _second(env: Env) -> None:
    env.clock.advance(1)
    while env.executor.relay.tick() >= env.executor.relay.batch:
        pass


def test_a_backlog_is_hardly_published_again(env: Env) -> None:
    broker, handle = _spread(env, MANY)
    for _ in range(MANY):  # seconds, in each of which workers manage one message
        _second(env)
        broker.deliver(1)

    assert handle.result() == sum(range(MANY))
    assert broker.published < MANY * 1.2


def test_what_is_lost_is_published_again_at_once_when_it_is_looked_at(env: Env) -> None:
    broker, handle = _spread(env, MANY)
    broker.lose()
    begun = env.clock.now
    while broker.backlog(None) < MANY:
        _second(env)

    assert (env.clock.now - begun) / SECOND < 12
    assert broker.published == 2 * MANY
    broker.deliver(MANY)
    assert handle.result() == sum(range(MANY))


def test_a_loss_is_not_hidden_by_a_queue_that_is_never_empty(env: Env) -> None:
    broker, handle = _spread(env, 3, others=1000)
    broker.lose()
    begun = env.clock.now
    while handle.status().open:
        _second(env)
        broker.deliver(3)

    assert (env.clock.now - begun) / SECOND < 60
    assert handle.result() == 3
