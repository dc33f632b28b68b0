"""Turns that can't be carried out: nothing is recorded, the reason is shown, and the run goes on when it can."""

from __future__ import annotations

import time
from typing import Any

import pytest

from celeriac import WorkflowContext
from celeriac.errors import Held, QueryFailed, ResultTimeout, StoreRefused, StoreUnavailable, WorkflowTimedOutError
from celeriac.orchestrator.engine import TurnOutcome
from celeriac.orchestrator.undone import MAX_CLAIMS
from celeriac.orchestrator.watchdog import Watchdog
from tests.workflows import Env, make


def test_a_turn_that_does_not_yield_is_abandoned_with_its_stack() -> None:
    env = make("cached", watchdog=Watchdog(cpu_limit=0.2, wall_limit=20))
    spinning = True

    @env.workflow
    async def spin(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        while spinning:
            pass
        return "done"

    handle = env.start(spin)
    env.settle()
    handle.signal("go")
    env.settle()

    blocked: Any = handle.describe().blocked
    first, where = blocked["message"].split(" It was at:\n")
    assert first == (
        "the turn did not yield within 0.2 s of CPU time or 20 s of wall time. Move long work into an activity."
    )
    line = spin.fn.__code__.co_firstlineno
    assert where.splitlines()[-1].strip() in {f"{__file__}:{line + n} in spin" for n in (3, 4)}
    assert blocked["reason"] == "TurnAbandoned"
    assert env.story(handle) == ["workflow_started spin()"]

    with pytest.raises(QueryFailed, match="the run can't be looked into: the turn did not yield within"):
        handle.query("stack")

    spinning = False
    env.advance(5)
    assert handle.result() == "done"
    env.check_replay()


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
def test_nor_does_it_help_to_catch_everything(plain: bool) -> None:
    env = make("cold", watchdog=Watchdog(cpu_limit=0.1, wall_limit=20))
    begun = time.monotonic()

    def stubborn(ctx: WorkflowContext) -> None:
        while time.monotonic() - begun < 10:
            try:
                while True:
                    pass
            except BaseException:  # noqa: BLE001, S110
                pass

    async def async_stubborn(ctx: WorkflowContext) -> None:
        stubborn(ctx)

    env.workflow(name="spin")(stubborn if plain else async_stubborn)
    handle = env.start("spin")
    begun = time.monotonic() - 9.4  # it gives up by itself after some more tries
    env.settle()
    assert handle.describe().blocked is not None
    assert env.story(handle) == ["workflow_started spin()"]


def test_a_turn_that_waits_where_it_must_not_is_abandoned_by_the_wall_clock() -> None:
    env = make("cached", watchdog=Watchdog(cpu_limit=20, wall_limit=0.2))

    @env.workflow
    async def doze(ctx: WorkflowContext) -> None:
        with ctx.unsafe():
            for _ in range(100):
                time.sleep(0.02)  # noqa: ASYNC251 - that is the point

    handle = env.start(doze)
    env.settle()
    blocked: Any = handle.describe().blocked
    assert blocked["reason"] == "TurnAbandoned"


def test_the_limit_is_one_steps_and_not_that_of_a_turn_or_a_replay_of_many() -> None:
    env = make("cold", watchdog=Watchdog(cpu_limit=0.5, wall_limit=60))

    @env.workflow
    async def busy(ctx: WorkflowContext) -> int:
        for number in range(12):
            await ctx.wait_signal("go")
            begun = time.thread_time()
            while time.thread_time() < begun + 0.1:
                pass
            done[0] = number + 1
        return done[0]

    done = [0]
    handle = env.start(busy)
    env.settle()
    for _ in range(11):
        handle.signal("go")
    env.settle()
    assert (handle.describe().blocked, done) == (None, [11])
    assert len(handle.query("stack")) == 1
    handle.signal("go")
    env.settle()
    assert handle.result() == 12


def test_a_slow_side_effect_counts_too_but_an_activity_does_not() -> None:
    env = make("inline", watchdog=Watchdog(cpu_limit=0.2, wall_limit=0.4))

    @env.activity
    def work() -> str:
        time.sleep(0.5)
        return "worked"

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await ctx.execute_activity(work)

    assert env.run(flow) == "worked"


def test_a_run_that_kills_its_worker_is_shown_as_one(env: Env) -> None:
    deadly = True

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        assert not deadly
        return "done"

    handle = env.start(flow)
    env.executor.dispatcher.take()
    store = env.executor.store
    for n in range(MAX_CLAIMS):  # worker after worker claims the turn and is never heard of again
        assert store.begin_turn(handle.run_id, token=f"dead {n}", lease=0, known=None) is not None
    assert env.executor.engine.turn(handle.run_id) is TurnOutcome.BLOCKED

    blocked: Any = handle.describe().blocked
    assert (blocked["reason"], blocked["message"]) == (
        "Held",
        "the workflow kills its worker: 5 turns were begun and none came to an end",
    )
    assert env.story(handle) == ["workflow_started flow()"]

    deadly = False
    env.executor.resume(handle.id)
    env.settle()
    assert handle.result() == "done"


def test_a_run_that_killed_its_workers_costs_one_of_them_each_time_it_is_tried_again(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        return "done"

    handle = env.start(flow)
    env.executor.dispatcher.take()
    store, engine = env.executor.store, env.executor.engine

    def killed(times: int) -> str:
        for n in range(times):
            assert store.begin_turn(handle.run_id, token=f"dead {n}", lease=0, known=None) is not None
        assert engine.turn(handle.run_id) is TurnOutcome.BLOCKED
        blocked: Any = handle.describe().blocked
        assert store.wake_blocked("local") == 0  # a worker that starts is not killed at once
        return str(blocked["message"])

    told = "the workflow kills its worker: {} turns were begun and none came to an end"
    assert killed(MAX_CLAIMS) == told.format(MAX_CLAIMS)
    assert killed(1) == told.format(MAX_CLAIMS + 1)
    assert killed(1) == told.format(MAX_CLAIMS + 2)
    assert engine.turn(handle.run_id) is TurnOutcome.COMMITTED
    assert handle.result() == "done"


def test_a_run_that_nobody_has_the_code_for_waits_and_is_shown_after_a_minute(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        return "done"

    handle = env.start(flow)
    del env.registry.workflows["flow"]
    env.settle()
    assert handle.status() == "running"
    env.advance(59)
    assert handle.status() == "running"
    env.advance(15)
    assert handle.status() == "blocked"
    blocked: Any = handle.describe().blocked
    assert (blocked["reason"], blocked["message"]) == ("NoWorker", "no worker has had workflow 'flow' so far")

    env.workflow(flow.fn)
    env.advance(15)
    assert handle.result() == "done"
    assert env.story(handle) == ["workflow_started flow()", "workflow_completed -> 'done'"]


def test_a_run_stays_with_the_version_that_started_it(env: Env) -> None:
    @env.workflow(name="flow", version="1")
    async def first(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        return "first"

    handle = env.start(first)
    env.settle()

    @env.workflow(name="flow", version="2")
    async def second(ctx: WorkflowContext) -> str:
        return "second"

    handle.signal("go")
    env.advance(100)
    blocked: Any = handle.describe().blocked
    assert blocked["message"] == "no worker has had workflow 'flow' version '1' so far"
    assert env.start(second).result() == "second"

    env.workflow(name="flow", version="1")(first.fn)
    env.advance(15)
    assert handle.result() == "first"
    env.replayable = False


def test_celeriac_s_own_fault_holds_the_run(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        return "done"

    handle = env.start(flow)
    env.settle()

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("celeriac can't count")

    with monkeypatch.context() as patch:
        patch.setattr("celeriac.orchestrator.turn.Turn._fitting", broken)
        handle.signal("go")
        env.settle()
    blocked: Any = handle.describe().blocked
    assert blocked["reason"] == "RuntimeFault"
    assert blocked["message"].startswith("celeriac's own fault: ZeroDivisionError: celeriac can't count at ")
    assert env.story(handle) == ["workflow_started flow()"]
    env.advance(5)
    assert handle.result() == "done"


def test_a_store_that_is_away_is_nobody_s_fault(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        return "done"

    handle = env.start(flow)
    env.settle()
    handle.signal("go")

    def away(*_: Any) -> None:
        raise StoreUnavailable("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(env.executor.store, "commit", away)
        with pytest.raises(StoreUnavailable):
            env.settle()
    assert handle.status() == "running"
    env.advance(61)  # the turn's lease runs out
    assert handle.result() == "done"


def test_what_the_store_refuses_for_good_holds_the_run(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        return "done"

    handle = env.start(flow)
    env.settle()
    handle.signal("go")

    def refuse(*_: Any) -> None:
        raise StoreRefused("the store refused it: value too long")

    with monkeypatch.context() as patch:
        patch.setattr(env.executor.store, "commit", refuse)
        env.settle()
    blocked: Any = handle.describe().blocked
    assert blocked["reason"] == "RuntimeFault"
    assert blocked["message"].startswith("celeriac's own fault: StoreRefused: the store refused it: value too long at ")
    env.advance(5)
    assert handle.result() == "done"


def test_a_payload_that_can_not_be_read_any_more_holds_the_run(env: Env) -> None:
    @env.workflow(name="flow")
    async def before(ctx: WorkflowContext, n: str) -> str:
        await ctx.wait_signal("go")
        return n

    handle = env.start(before, "many")
    env.settle()

    @env.workflow(name="flow")
    async def after(ctx: WorkflowContext, n: int) -> int:
        await ctx.wait_signal("go")
        return n

    env.executor.engine.cache.clear()
    handle.signal("go")
    env.settle()
    blocked: Any = handle.describe().blocked
    assert blocked["reason"] == "UnreadablePayload"
    assert blocked["message"].startswith("argument 1 of workflow 'flow' does not fit int: ")

    @env.workflow(name="flow")
    async def other(ctx: WorkflowContext) -> None: ...

    env.advance(5)
    blocked = handle.describe().blocked
    assert blocked["message"] == (
        "the recorded arguments do not fit workflow 'flow', which takes (): too many positional arguments"
    )
    env.workflow(name="flow")(before.fn)
    env.advance(10)
    assert handle.result() == "many"


def test_so_does_a_result_of_an_activity(env: Env) -> None:
    @env.activity(name="work")
    def before() -> str:
        return "many"

    @env.workflow
    async def flow(ctx: WorkflowContext) -> Any:
        return await ctx.execute_activity("work")

    handle = env.start(flow)
    env.executor.step(jump=False)
    env.executor.inline = False
    env.executor.step(jump=False)

    @env.activity(name="work")
    def after() -> int:
        return 1

    env.executor.engine.cache.clear()
    env.settle()
    blocked: Any = handle.describe().blocked
    assert blocked["reason"] == "UnreadablePayload"
    assert blocked["message"].startswith("result of activity 'work' does not fit int: ")
    env.activity(name="work")(lambda: None)
    env.advance(5)
    assert handle.result() == "many"


def test_a_history_from_a_later_celeriac_holds_the_run(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        await ctx.sleep(1)
        return "done"

    handle = env.start(flow)
    env.settle()
    env.executor.engine.cache.clear()
    with monkeypatch.context() as patch:
        patch.setattr("celeriac.orchestrator.events.TimerStarted.version", 0)
        env.advance(2)
    blocked: Any = handle.describe().blocked
    assert (blocked["reason"], blocked["message"]) == (
        "UnreadableHistory",
        "history holds 'timer_started' of version 1; this celeriac reads up to 0",
    )
    env.advance(5)
    assert handle.result() == "done"


def test_a_result_that_can_not_come_says_why(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        await ctx.first(ctx.wait_signal("go"), ctx.wait(lambda: False))

    handle = env.start(flow)
    with pytest.raises(ResultTimeout) as stuck:
        handle.result()
    assert str(stuck.value) == (f"workflow {handle.id!r} can't end by itself: it waits for signal 'go', a condition")
    env.executor.pause(handle.id)
    with pytest.raises(ResultTimeout, match="can't end by itself: it is paused"):
        handle.result()


def test_others_go_on_while_one_is_held(env: Env) -> None:
    @env.workflow
    async def held(ctx: WorkflowContext) -> None:
        raise Held("for the test")

    @env.workflow
    async def patient(ctx: WorkflowContext) -> str:
        await ctx.sleep(365 * 86400)
        return "a year later"

    stuck = env.start(held)
    assert env.start(patient).result() == "a year later"
    assert stuck.status() == "blocked"


def test_a_run_whose_time_is_up_while_it_is_blocked_times_out(env: Env) -> None:
    @env.workflow(timeout=60)
    async def flow(ctx: WorkflowContext) -> None:
        await ctx.wait_signal("go")
        open("/etc/hostname")  # noqa: PTH123, SIM115, ASYNC230

    handle = env.start(flow)
    env.settle()
    handle.signal("go")
    env.settle()
    assert handle.status() == "blocked"
    env.advance(59)
    assert handle.status() == "blocked"
    env.advance(2)
    assert handle.status() == "timed_out"
    with pytest.raises(WorkflowTimedOutError, match="the workflow took longer than 60 s"):
        handle.result()
    assert env.story(handle) == ["workflow_started flow()", "workflow_timed_out 60s"]
    assert env.executor.store.tasks(handle.run_id) == []


def test_a_run_whose_time_is_up_times_out_though_nobody_has_its_code(env: Env) -> None:
    @env.workflow(timeout=30)
    async def flow(ctx: WorkflowContext) -> None:
        await ctx.wait_signal("go")

    handle = env.start(flow)
    del env.registry.workflows["flow"]
    env.advance(50)
    assert handle.status() == "running"
    env.advance(30)
    assert handle.status() == "timed_out"
