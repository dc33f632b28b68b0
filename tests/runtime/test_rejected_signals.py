"""A signal that does not fit and that no sender could refuse is recorded as rejected; the code never sees it."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Signal, WorkflowContext
from celeriac.errors import SignalRejected
from tests.workflows import Env


def _deliver(env: Env, handle: Any, name: str, payload: Any, sender: str = "") -> None:
    """Deliver the way a program does that knows no annotations."""
    env.executor.deliver_signal(handle.id, Signal(name=name, payload=payload, sender_id=sender))


@pytest.mark.parametrize("early", [True, False])
def test_it_stands_in_the_history_and_the_run_goes_on(env: Env, early: bool) -> None:
    approved = env.signal_type("approved", bool)

    @env.workflow(signals=[approved])
    async def fulfil(ctx: WorkflowContext) -> bool:
        return await ctx.wait_signal(approved)

    handle = env.start(fulfil)
    if not early:
        env.settle()
    _deliver(env, handle, "approved", "perhaps", sender="ann")
    _deliver(env, handle, "aproved", True)
    _deliver(env, handle, "approved", True)

    assert handle.result() is True
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_rejected approved('perhaps'): payload of signal 'approved' does not fit bool: Input should be a valid boolean, unable to interpret input, got str",
        "signal_rejected aproved(True): workflow 'fulfil' takes no signal 'aproved'. Did you mean 'approved'?",
        f"signal_received approved(True){' early' if early else ''}",
        "workflow_completed -> True",
    ]
    assert env.history(handle)[1].data["sender_id"] == "ann"


def test_what_can_not_be_decoded_is_rejected_where_nothing_is_declared(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> Any:
        return await ctx.wait_signal("approved")

    handle = env.start(fulfil)
    _deliver(env, handle, "approved", {"__type__": "datetime", "__value__": "yesterday"})
    _deliver(env, handle, "approved", {"__type__": "lambda", "__value__": 1})
    _deliver(env, handle, "approved", {"__type__": "datetime", "__value__": "2030-01-01T00:00:00"})

    handle.result()
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_rejected approved({'__type__': 'datetime', '__value__': 'yesterday'}): payload of signal 'approved': recorded value of the kind 'datetime' can't be read: ValueError: Invalid isoformat string: 'yesterday'",
        "signal_rejected approved({'__type__': 'lambda', '__value__': 1}): payload of signal 'approved': recorded value of the unknown kind 'lambda' can't be read",
        "signal_received approved({'__type__': 'datetime', '__value__': '2030-01-01T00:00:00'}) early",
        "workflow_completed -> {'__type__': 'datetime', '__value__': '2030-01-01T00:00:00'}",
    ]


def test_one_rejected_for_its_type_holds_no_run_open(env: Env) -> None:
    approved = env.signal_type("approved", bool)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        return "done"

    handle = env.start(fulfil)
    _deliver(env, handle, approved.name, "perhaps")
    assert handle.result() == "done"
    assert [each.type for each in env.history(handle)] == ["workflow_started", "signal_rejected", "workflow_completed"]


def test_an_undeclared_name_is_taken_unless_it_looks_like_a_slip(env: Env) -> None:
    env.signal_type("approved", bool)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> Any:
        return await ctx.wait_signal("weather")

    handle = env.start(fulfil)
    with pytest.raises(SignalRejected) as slip:
        handle.signal("aproved", True)
    assert str(slip.value) == (
        "signal 'aproved' is not declared. Did you mean 'approved'? If it is meant, declare it: signal_type('aproved', ...)"
    )
    handle.signal("weather", "fine")
    assert handle.result() == "fine"


def test_a_recorded_signal_that_new_code_can_no_longer_read_holds_the_run(env: Env) -> None:
    env.signal_type("amount", str)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> Any:
        got = await ctx.wait_signal("amount")
        await ctx.wait_signal("go")
        return got

    handle = env.start(fulfil)
    handle.signal("amount", "many")
    env.settle()

    env.signal_type("amount", int)  # the new code
    env.executor.engine.cache.clear()
    handle.signal("go")
    env.settle()
    blocked: Any = handle.describe().blocked
    assert blocked["reason"] == "UnreadablePayload"
    assert blocked["message"].startswith("payload of signal 'amount' does not fit int: ")

    env.signal_type("amount", str)
    env.advance(5)
    assert handle.result() == "many"
