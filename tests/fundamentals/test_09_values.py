"""What goes in comes out as what the annotations say, everywhere, and what can't be recorded is refused where it is passed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from celeriac import InvalidCall, PayloadError, WorkflowContext, WorkflowFailedError
from celeriac.activities.definition import ActivityDefinition
from tests.workflows import Env


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    x: int
    y: float


class Address(TypedDict):
    street: str
    lines: list[str]


class Customer(BaseModel):
    name: str
    born: date
    size: Size = Size.SMALL
    short: str = Field(default="", alias="nick")


@dataclass
class Line:
    item: str
    price: Decimal
    at: Point = Point(0, 0.0)  # noqa: RUF009 - a tuple can't be changed


@dataclass(frozen=True)
class Order:
    id: UUID
    made: datetime
    customer: Customer
    lines: list[Line]
    tags: set[str] = field(default_factory=set)
    seal: bytes = b""
    level: Level = Level.LOW
    to: Address | None = None
    within: timedelta | None = None
    flags: frozenset[int] = frozenset()


ORDER = Order(
    id=UUID("12345678-1234-4678-8234-567812345678"),
    made=datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    customer=Customer(name="Ann", born=date(1990, 2, 3), size=Size.LARGE, nick="a"),
    lines=[Line("tea", Decimal("1.10"), Point(1, 2.5)), Line("milk", Decimal("0.99"))],
    tags={"new", "fragile"},
    seal=b"\x00\xff seal",
    level=Level.HIGH,
    to={"street": "Elm", "lines": ["a", "b"]},
    within=timedelta(days=1, microseconds=5),
    flags=frozenset({1, 2}),
)

VALUES: dict[str, tuple[Any, Any]] = {
    "a model": (Customer, ORDER.customer),
    "a dataclass": (Order, ORDER),
    "an enum": (Size, Size.LARGE),
    "an int enum": (Level, Level.HIGH),
    "a uuid": (UUID, ORDER.id),
    "a datetime": (datetime, ORDER.made),
    "a date": (date, date(2030, 1, 2)),
    "a timedelta": (timedelta, timedelta(days=3, microseconds=7)),
    "a decimal": (Decimal, Decimal("1.10")),
    "a set": (set[int], {3, 1, 2}),
    "bytes": (bytes, b"\x00\xff"),
    "bytes that look like base64": (bytes, b"aGVsbG8="),
    "bytes in a list": (list[bytes], [b"\x00\xff"]),
    "a named tuple": (Point, Point(1, 2.5)),
    "a typed dict": (Address, {"street": "Elm", "lines": []}),
    "a tuple": (tuple[int, str], (1, "a")),
    "keys that are no strings": (dict[int, Point], {1: Point(1, 1.0)}),
    "a choice": (int | str | None, "7"),
    "infinity": (float, float("inf")),
    "a list of models": (list[Customer], [ORDER.customer]),
    "nothing": (None, None),
    "anything": (Any, {"n": [1, 2.5, None, True, "x"]}),
    "anything tagged": (Any, [ORDER.made, ORDER.id, Decimal("1.1"), b"\xff", {1, 2}, (1, 2), date(2030, 1, 1)]),
    "anything with odd keys": (Any, {1: "a", "__type__": "b"}),
}


@pytest.mark.parametrize("what", VALUES)
def test_values_come_back_as_they_went_in(env: Env, what: str) -> None:
    annotation, value = VALUES[what]
    seen: dict[str, Any] = {}

    def work(given: Any, *, named: Any) -> Any:
        seen["activity"] = [given, named]
        return given

    async def flow(ctx: WorkflowContext, given: Any) -> Any:
        held = given

        def ask(about: Any) -> Any:
            seen["query"] = about
            return held

        ask.__annotations__ = {"about": annotation, "return": annotation}
        ctx.query(ask)
        seen["workflow"] = given
        seen["result of activity"] = await ctx.execute_activity(activity, given, named=given)
        seen["side effect"] = ctx.side_effect(lambda: value, annotation)
        seen["signal"] = await ctx.wait_signal(sent)
        return given

    work.__annotations__ = {"given": annotation, "named": annotation, "return": annotation}
    flow.__annotations__ = {"given": annotation, "return": annotation}
    activity = env.activity(work)
    workflow = env.workflow(flow)
    sent = env.signal_type("sent", annotation)

    handle = env.start(workflow, value)
    env.settle()
    assert _same(handle.query("ask", value), value)
    handle.signal(sent, value)
    assert _same(handle.result(), value)
    for place in ("workflow", "result of activity", "side effect", "signal", "query"):
        assert _same(seen[place], value), place
    assert all(_same(each, value) for each in seen["activity"])


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def test_what_does_not_fit_never_starts(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext, order: Order, times: int = 1) -> None: ...

    with pytest.raises(
        PayloadError, match=r"argument 'order' of workflow 'fulfil' does not fit Order: id: .*, got str"
    ):
        env.start(fulfil, {"id": "x"})
    with pytest.raises(PayloadError, match=r"argument 'times' of workflow 'fulfil' does not fit int: .*, got str"):
        env.start(fulfil, ORDER, times="often")
    with pytest.raises(InvalidCall) as refused:
        env.start(fulfil)
    assert str(refused.value) == (
        "workflow 'fulfil' takes (order: 'Order', times: 'int' = 1): missing a required argument: 'order'"
    )
    assert list(env.executor.list()) == []


class Opaque:
    pass


def test_what_can_not_be_recorded_is_refused_where_it_is_passed(env: Env) -> None:
    how = (
        "Recordable are JSON values, pydantic models, dataclasses, enums, datetime, UUID, Decimal, bytes, sets and tuples; "
        "annotate it (the parameter, the return value) with its type, or give the type a pydantic serializer"
    )

    @env.activity
    def charge(order, cents):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return None

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await asyncio.gather(ctx.execute_activity(charge, "A-17", Opaque()), ctx.execute_activity(charge, "B-2", 1))
        except PayloadError as error:
            return str(error)
        return ""

    handle = env.start(fulfil)
    message = (
        "argument 'cents' of activity 'charge': a value of type tests.fundamentals.test_09_values.Opaque can't be recorded as "
        f"JSON without an annotation. {how}"
    )
    assert handle.result().replace(__name__ + ".", "tests.fundamentals.test_09_values.") == message
    assert [each.type for each in env.history(handle)] == ["workflow_started", "workflow_completed"]


def test_an_unrecordable_result_fails_the_run_and_says_which(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return Opaque()

    with pytest.raises(
        WorkflowFailedError, match=r"PayloadError: result of workflow 'fulfil': a value of type .*Opaque can't"
    ):
        env.run(fulfil)


def test_an_unrecordable_result_of_an_activity_fails_it_for_good(env: Env) -> None:
    calls: list[int] = []

    @env.activity
    def charge() -> int:
        calls.append(1)
        return "none"  # type: ignore[return-value]

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        return await ctx.execute_activity(charge)

    with pytest.raises(WorkflowFailedError, match=r"result of activity 'charge' does not fit int"):
        env.run(fulfil)
    assert calls == [1]


def test_a_type_that_nobody_knows_how_to_record_is_refused_where_it_is_declared(env: Env) -> None:
    async def fulfil(ctx: WorkflowContext, thing: Opaque) -> None: ...

    with pytest.raises(
        PayloadError, match=r"argument 'thing' of workflow 'fulfil': pydantic knows no way to record Opaque"
    ):
        env.workflow(fulfil)

    def charge() -> Opaque:
        return Opaque()

    with pytest.raises(PayloadError, match=r"result of activity 'charge': pydantic knows no way to record Opaque"):
        env.activity(charge)
    assert ActivityDefinition("charge", charge, lenient=True).result.annotation is Any
