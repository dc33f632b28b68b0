"""The contract of values: odd ids, odd text, large payloads, exact times."""
# ruff: noqa: D102, S101, S106, PLR2004 - these are tests: their names say what they show

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import CreateOutcome, DeliveryOutcome, InboxItem, RunFilter, WorkflowState
from celeriac.orchestrator.status import TaskKind, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE

if TYPE_CHECKING:
    from celeriac.payloads import Json
    from celeriac.testing.contract.world import World

ODD: Final = {
    "punctuation": "a.b/c d",
    "not-latin": "ü☃ *>",
    "equals": "x=y&z",
    "bars": "||",
    "quotes": "'; \"--\\",
    "wildcards": "50%_[a]*?",
    "braces": "{}:{0}%(x)s%s$1",
    "newline": "a\nb\tc",
    "emoji": "👩‍👩‍👧🜁",
    "long": "i" * 1000,
    "long-not-latin": "☃" * 1000,
}
"""Ids that have broken stores before, each by its trouble."""

ALIKE: Final = {
    "case": ("Order-1", "order-1"),
    "trailing-space": ("order", "order "),
    "leading-space": ("order", " order"),
    "accent": ("resume", "résumé"),
    "composed": ("é", "e\u0301"),
    "last-of-many": ("i" * 999 + "a", "i" * 999 + "b"),
    "empty": ("", " "),
    "number": ("1", "01"),
}
"""Two ids each that a careless comparison takes for one."""

TEXTS: Final[dict[str, Json]] = {
    "nul": "a\x00b",
    "lone-surrogates": "\ud800 and \udfff",
    "astral": "🜁",
    "control": "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029\ufeff",
    "escapes": '\\u0000 \\" \\\\ </script> %s :name {x}',
    "odd-keys": {"": 1, "\x00": 2, "\ud800": 3, "a.b": 4, "$ref": 5},
    "numbers": [0, -1, 2**53 + 1, 2**64, 10**40, 0.1, 1e308, 5e-324, -0.0],
    "nothings": {"null": None, "false": False, "zero": 0, "empty": "", "list": [], "dict": {}},
    "nested": [[[[[[[[[[{"deep": [{}]}]]]]]]]]]],
}
"""JSON values that a store has to give back as they are."""


def _odd(cases: dict[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("odd", list(cases.values()), ids=list(cases))


class Values(ContractBase):
    """What goes in comes out: the same text, the same number, the same microsecond."""

    @_odd({**ODD, "empty": ""})
    def test_any_text_is_a_workflow_id(self, world: World, odd: str) -> None:
        run = world.idle(odd)
        assert run.workflow_id == odd
        assert world.store.find_run(world.namespace, workflow_id=odd) == run
        assert world.store.create(world.new(odd)).outcome is CreateOutcome.OPEN_EXISTS
        delivery = world.store.deliver(world.message(), namespace=world.namespace, workflow_id=odd)
        assert (delivery.outcome, delivery.wake) == (DeliveryOutcome.DELIVERED, True)
        assert delivery.run is not None
        assert delivery.run.workflow_id == odd
        state = world.store.load(world.namespace, odd)
        assert state is not None
        assert state.run.run_id == run.run_id
        assert [each.run_id for each in world.store.list(world.namespace, RunFilter(workflow_id=odd))] == [run.run_id]
        world.commit(run, status=WorkflowStatus.COMPLETED)
        assert world.store.delete(world.namespace, odd) == 1

    @pytest.mark.parametrize(("one", "other"), list(ALIKE.values()), ids=list(ALIKE))
    def test_ids_that_look_alike_are_different(self, world: World, one: str, other: str) -> None:
        first, second = world.idle(one), world.idle(other)
        assert world.store.find_run(world.namespace, workflow_id=one) == first
        assert world.store.find_run(world.namespace, workflow_id=other) == second
        world.store.deliver(world.message(), namespace=world.namespace, workflow_id=other)
        assert (world.inbox(first), world.inbox(second)) == ([], [(1, "key")])
        world.commit(first, status=WorkflowStatus.COMPLETED)
        assert world.store.delete(world.namespace, one) == 1
        assert world.store.load(world.namespace, other) is not None

    @pytest.mark.parametrize(("one", "other"), list(ALIKE.values())[:-2], ids=list(ALIKE)[:-2])
    def test_keys_that_look_alike_are_different(self, world: World, one: str, other: str) -> None:
        run = world.idle()
        delivered = [world.signal(run, key).outcome for key in (one, other, one, other)]
        new, same = DeliveryOutcome.DELIVERED, DeliveryOutcome.DUPLICATE
        assert delivered == [new, new, same, same]
        world.commit(run, (SignalReceived("a"), one), (SignalReceived("a"), other), consumed=[1, 2])
        assert [world.signal(run, key).outcome for key in (one, other)] == [same, same]
        starts = [world.store.create(world.new(start_key=key)).outcome for key in (one, other, one)]
        assert starts == [CreateOutcome.CREATED, CreateOutcome.CREATED, CreateOutcome.SAME_START]

    @_odd(ODD)
    def test_any_text_is_a_key(self, world: World, odd: str) -> None:
        run = world.idle()
        assert world.signal(run, odd).outcome is DeliveryOutcome.DELIVERED
        assert world.signal(run, odd).outcome is DeliveryOutcome.DUPLICATE
        assert world.inbox(run) == [(1, odd)]
        run = world.commit(run, (SignalReceived("a"), odd), consumed=[1])
        assert world.store.history(run.run_id)[-1].key == odd
        assert world.signal(run, odd).outcome is DeliveryOutcome.DUPLICATE

    @_odd(ODD)
    def test_any_text_is_a_start_key(self, world: World, odd: str) -> None:
        run = world.start(start_key=odd)
        again = world.store.create(world.new(start_key=odd))
        assert (again.outcome, again.run, run.start_key) == (CreateOutcome.SAME_START, run, odd)

    # -- payloads ------------------------------------------------------------------------------------

    @pytest.mark.parametrize("value", list(TEXTS.values()), ids=list(TEXTS))
    def test_any_json_comes_back_from_a_run(self, world: World, value: Json) -> None:
        held = {"v": value}
        run = world.start(input=held, memo=held, attributes=held, origin=held)
        assert (run.input, run.memo, run.attributes, run.origin) == (held, held, held, held)
        world.begin(run)
        world.store.release_turn(run.run_id, token="turn", delay=0, blocked=held)
        assert world.read(run).blocked == held
        status = WorkflowStatus.FAILED
        run = world.commit(run, status=status, result=value, failure=held, origin={"w": value}, waits=[repr(value)])
        assert (run.result, run.failure, run.origin) == (value, held, {"w": value})
        assert list(run.waits) == [repr(value)]

    @pytest.mark.parametrize("value", list(TEXTS.values()), ids=list(TEXTS))
    def test_any_json_comes_back_from_a_message_and_an_event(self, world: World, value: Json) -> None:
        run = world.idle()
        message = world.message(payload=value)
        world.store.deliver(message, namespace=world.namespace, run_id=run.run_id)
        view = world.begin(run)
        assert [item.message for item in view.inbox] == [message]
        world.commit(run, (SignalReceived("a", payload={"v": value}), "key"), consumed=[1])
        event = world.store.history(run.run_id)[-1].event()
        assert event == SignalReceived("a", payload={"v": value})

    @pytest.mark.parametrize("value", list(TEXTS.values()), ids=list(TEXTS))
    def test_any_json_comes_back_from_a_row(self, world: World, value: Json) -> None:
        held = {"v": value}
        run = world.scheduled(data=held, heartbeat=MINUTE)
        claim = world.claim(run)
        assert claim.task.data == held
        world.store.heartbeat(claim.fence, value)
        assert world.row(run).details == value
        world.store.requeue(claim.fence, delay=0, grace=0, next_attempt=True, failure=held)
        assert (world.row(run).details, world.row(run).failure) == (value, held)

    def test_a_mebibyte_is_a_payload(self, world: World) -> None:
        big = "é" + "x" * 2**20
        run = world.start(input={"args": [big], "kwargs": {}})
        world.signal(run, payload=big)
        view = world.begin(run)
        assert view.run.input == {"args": [big], "kwargs": {}}
        assert view.inbox[0].message.data == {"payload": big}
        rows = [world.activity(run, data={"args": [big]})]
        event = (SignalReceived("a", payload=big), "key")
        run = world.commit(run, event, consumed=[1], tasks=rows, turn_token="turn")
        assert world.store.history(run.run_id)[-1].event() == event[0]
        assert world.row(run).data == {"args": [big]}
        run = world.commit(run, status=WorkflowStatus.COMPLETED, result=big)
        assert run.result == big

    def test_what_the_store_gives_out_is_nobody_else_s(self, world: World) -> None:
        given: Json = {"args": [[1]]}
        run = world.start(input=given)
        given["args"][0].append(2)
        assert run.input == {"args": [[1]]}
        run.input["args"][0].append(3)
        assert world.read(run).input == {"args": [[1]]}
        message = world.message(payload=[1])
        world.store.deliver(message, namespace=world.namespace, run_id=run.run_id)
        message.data["payload"].append(2)
        view = world.begin(run)
        assert view.inbox[0].message.data == {"payload": [1]}
        view.inbox[0].message.data["payload"].append(3)
        again = world.store.read_turn(run.run_id, known=None)
        assert again is not None
        assert again.inbox[0].message.data == {"payload": [1]}

    # -- times ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "at",
        [0, 1, 1_700_000_000_123_457, 1_700_000_000_999_999, 2**31 * 1_000_000 + 1, 253_402_300_799_999_999],
    )
    def test_times_are_kept_to_the_microsecond(self, world: World, at: int) -> None:
        run = world.idle("order-1")
        state = world.store.load(world.namespace, "order-1")
        assert state is not None
        row = world.activity(run, due_at=at, schedule_to_start_by=at, schedule_to_close_by=at, start_to_close=at)
        row = replace(row, started_at=at, lease_until=at, heartbeat_by=at, start_to_close_by=at, heartbeat=at)
        events = [replace(event, at=at) for event in state.history]
        run = replace(run, created_at=at, updated_at=at, closed_at=at, status=WorkflowStatus.FAILED, inbox_seq=1)
        inbox = [InboxItem(1, world.message(), at)]
        world.store.save(WorkflowState(run, events, inbox, [row]))
        again = world.store.load(world.namespace, "order-1")
        assert again is not None
        assert again.run == replace(run, epoch=again.run.epoch)
        assert (list(again.history), list(again.inbox), list(again.tasks)) == (events, inbox, [row])

    def test_the_clock_counts_microseconds_since_the_epoch_and_does_not_go_back(self, world: World) -> None:
        times = [world.store.now() for _ in range(20)]
        assert times == sorted(times)
        assert 1_600_000_000_000_000 < times[0] < 253_402_300_799_999_999

    def test_both_connections_have_one_clock(self, world: World) -> None:
        with world.span() as span:
            at = world.second.now()
        assert span.covers(at)

    def test_a_far_away_time_falls_due_then_and_not_before(self, world: World) -> None:
        run = world.idle()
        year = 365 * 24 * 60 * MINUTE
        run = world.commit(run, tasks=[world.timer(run, 1, due_in=100 * year)])
        assert world.due() == []
        assert world.store.next_due(world.namespace) == world.row(run, TaskKind.TIMER).due_at
