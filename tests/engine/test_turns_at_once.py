"""Two turns of one run at once, and what arrives while a turn is under way: the version decides, nothing gets lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celeriac import WorkflowContext
from celeriac.executors.local import JumpingClock
from celeriac.orchestrator.engine import MAX_REREADS, Engine, EngineSettings, TurnOutcome
from celeriac.orchestrator.executor import Signal
from celeriac.orchestrator.model import Commit, CommitOutcome
from celeriac.orchestrator.status import TaskState, WorkflowStatus
from celeriac.stores.memory import InMemoryStore
from celeriac.testing.environment import WorkflowEnvironment
from tests.workflows import Env, make


class Meddling(InMemoryStore):
    """A store in which something else happens right before a commit."""

    def __init__(self, clock: JumpingClock) -> None:
        super().__init__(clock)
        self.before_commit: list[Callable[[Commit], None]] = []
        self.outcomes: list[CommitOutcome] = []

    def commit(self, commit: Commit) -> CommitOutcome:
        if self.before_commit:
            self.before_commit.pop(0)(commit)
        self.outcomes.append(super().commit(commit))
        return self.outcomes[-1]


@pytest.fixture(params=["cached", "cold", "inline"])
def env(request: pytest.FixtureRequest) -> Any:
    clock = JumpingClock(1_900_000_000_000_000)
    made = make(request.param, clock=clock, store=Meddling(clock))
    yield made
    if made.replayable:
        made.check_replay()


def _store(env: WorkflowEnvironment) -> Meddling:
    store = env.executor.store
    assert isinstance(store, Meddling)
    return store


def test_a_run_does_not_close_over_a_signal_it_has_not_seen(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[object]:
        seen: list[object] = []
        ctx.on_signal("note", seen.append)
        await ctx.wait_signal("end")
        return seen

    handle = env.start(fulfil)
    env.settle()
    handle.signal("end")
    _store(env).outcomes.clear()
    _store(env).before_commit.append(lambda _: handle.signal("note", "just in time"))
    _store(env).before_commit.append(lambda _: handle.signal("note", "and again"))

    assert handle.result() == ["just in time", "and again"]
    assert _store(env).outcomes == [CommitOutcome.INBOX_MOVED, CommitOutcome.INBOX_MOVED, CommitOutcome.COMMITTED]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received end(None)",
        "signal_received note('just in time') early",
        "signal_received note('and again') early",
        "workflow_completed -> ['just in time', 'and again']",
    ]


def test_nor_in_its_very_first_turn(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[object]:
        seen: list[object] = []
        ctx.on_signal("note", seen.append)
        return seen

    handle = env.start(fulfil)
    _store(env).before_commit.append(lambda _: handle.signal("note", "just in time"))

    assert handle.result() == ["just in time"]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received note('just in time') early",
        "workflow_completed -> ['just in time']",
    ]


def test_nor_when_it_fails_or_is_canceled(env: Env) -> None:
    seen: list[object] = []

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        seen.clear()
        ctx.on_signal("note", seen.append)
        await ctx.wait_signal("end")
        raise ValueError("no")

    handle = env.start(fulfil)
    env.settle()
    handle.signal("end")
    _store(env).before_commit.append(lambda _: handle.signal("note", 1))
    env.settle()
    assert handle.status() == "failed"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received end(None)",
        "signal_received note(1) early",
        "workflow_failed ValueError: no",
    ]

    canceled = env.start(fulfil)
    env.settle()
    canceled.cancel()
    _store(env).before_commit.append(lambda _: canceled.signal("note", 2))
    env.settle()
    assert canceled.status() == "canceled"
    assert env.story(canceled) == [
        "workflow_started fulfil()",
        "signal_received note(2)",
        "cancel_requested",
        "workflow_canceled",
    ]


def test_what_is_no_signal_does_not_keep_a_run_open(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("end")
        return "done"

    handle = env.start(fulfil)
    env.settle()
    handle.signal("end")
    _store(env).before_commit.append(lambda _: handle.cancel("too late"))

    assert handle.result() == "done"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received end(None)",
        "workflow_completed -> 'done'",
    ]


def test_a_turn_goes_on_with_what_has_come_in_meanwhile(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[int]:
        return [await ctx.wait_signal("n") for _ in range(4)]

    handle = env.start(fulfil)
    env.settle()
    store = _store(env)
    store.outcomes.clear()
    handle.signal("n", 1)
    store.before_commit.append(lambda _: handle.signal("n", 2))
    store.before_commit.append(lambda _: handle.signal("n", 3))
    env.settle()

    assert store.outcomes == [CommitOutcome.INBOX_MOVED, CommitOutcome.INBOX_MOVED, CommitOutcome.COMMITTED]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received n(1)",
        "signal_received n(2)",
        "signal_received n(3)",
    ]
    handle.signal("n", 4)
    assert handle.result() == [1, 2, 3, 4]


def test_but_not_for_ever(env: Env) -> None:
    @env.workflow
    async def count(ctx: WorkflowContext) -> int:
        got = 0
        async for n in ctx.receive_signal("n"):
            got += 1
            if n == "end":
                break
        return got

    handle = env.start(count)
    env.settle()
    store = _store(env)
    store.outcomes.clear()
    handle.signal("n", 0)
    store.before_commit += [lambda _, n=n: handle.signal("n", n) for n in range(1, MAX_REREADS + 3)]
    env.executor.engine.turn(handle.run_id)

    assert store.outcomes == [CommitOutcome.INBOX_MOVED] * MAX_REREADS + [CommitOutcome.COMMITTED]
    assert len(env.history(handle)) == 1 + MAX_REREADS + 1
    turn = store.tasks(handle.run_id)[0]
    assert turn.state is TaskState.QUEUED  # it goes on at once, with its hint on its way
    handle.signal("n", "end")
    assert handle.result() == MAX_REREADS + 3  # the last one came after "end", with which it is recorded
    assert [each.data["payload"] for each in env.history(handle)[1:-1]] == [
        *range(MAX_REREADS + 2),
        "end",
        MAX_REREADS + 2,
    ]


def _another(env: Env) -> Engine:
    """An engine like that of another process, on the same store."""
    return Engine(
        env.executor.store,
        env.registry,
        env.executor.dispatcher,
        settings=EngineSettings(namespace=env.executor.namespace),
    )


def test_of_two_turns_one_commits_and_the_other_discards(env: Env) -> None:
    ran: list[str] = []

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        ran.append("turn")
        await ctx.wait_signal("end")
        return "done"

    handle = env.start(fulfil)
    env.settle()
    other = _another(env)
    store = _store(env)
    outcomes: list[TurnOutcome] = []

    def overtake(_: Commit) -> None:
        env.clock.advance(61)  # the first one's lease has run out: it may be dead
        outcomes.append(other.turn(handle.run_id))

    handle.signal("go")
    store.before_commit.append(overtake)
    outcomes.append(env.executor.engine.turn(handle.run_id))

    assert outcomes == [TurnOutcome.COMMITTED, TurnOutcome.DISCARDED]
    assert len(ran) == 2
    assert env.story(handle) == ["workflow_started fulfil()", "signal_received go(None)"]
    assert env.executor.engine.cache.known(handle.run_id) is None  # what was discarded is not kept
    handle.signal("end")
    assert handle.result() == "done"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received go(None)",
        "signal_received end(None)",
        "workflow_completed -> 'done'",
    ]


def test_what_an_engine_of_another_process_did_is_caught_up_with(env: Env) -> None:
    replays: list[int] = []

    @env.workflow
    async def count(ctx: WorkflowContext) -> list[int]:
        replays.append(1)
        return [await ctx.wait_signal("n") for _ in range(6)]

    handle = env.start(count)
    env.settle()
    other = _another(env)
    engines = [other, env.executor.engine]
    for n in range(6):
        handle.signal("n", n)
        env.executor.dispatcher.take()
        assert engines[n % 2].turn(handle.run_id) is TurnOutcome.COMMITTED
    assert handle.result() == [0, 1, 2, 3, 4, 5]
    if env.executor.engine.cache.limit:
        assert len(replays) == 2  # each engine began once, and was fed what the other had done


def test_a_run_that_was_paused_while_its_turn_ran_keeps_what_it_has(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        return "done"

    handle = env.start(fulfil)
    env.settle()
    handle.signal("go")
    _store(env).before_commit.append(lambda _: env.executor.pause(handle.id))
    env.settle()
    assert handle.status() == WorkflowStatus.PAUSED
    assert env.story(handle) == ["workflow_started fulfil()"]
    env.executor.resume(handle.id)
    assert handle.result() == "done"


def test_a_run_that_was_terminated_while_its_turn_ran_stays_terminated(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        return "done"

    handle = env.start(fulfil)
    env.settle()
    handle.signal("go")
    _store(env).before_commit.append(lambda _: handle.terminate("enough"))
    env.settle()
    assert handle.status() == "terminated"
    assert env.story(handle) == ["workflow_started fulfil()", "workflow_terminated enough"]


def test_terminating_waits_its_turn(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        await ctx.wait_signal("end")
        return "done"

    handle = env.start(fulfil)
    env.settle()

    def overtake(_: Commit) -> None:
        handle.signal("go")
        env.settle()

    _store(env).before_commit.append(overtake)
    handle.terminate("enough")
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received go(None)",
        "workflow_terminated enough",
    ]


def test_a_signal_that_was_sent_by_key_is_the_same_whether_it_waits_or_is_recorded(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[int]:
        return [await ctx.wait_signal("n"), await ctx.wait_signal("n")]

    handle = env.start(fulfil)
    env.settle()
    store = _store(env)

    def again(_: Commit) -> None:
        env.executor.signal(handle.id, Signal(name="n", payload=1, key="k"))

    env.executor.signal(handle.id, Signal(name="n", payload=1, key="k"))
    store.before_commit.append(again)
    env.settle()
    env.executor.signal(handle.id, Signal(name="n", payload=1, key="k"))
    handle.signal("n", 2)
    assert handle.result() == [1, 2]
