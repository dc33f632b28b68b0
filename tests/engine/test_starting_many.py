"""Many starts at once: in order, all or told which not, and nothing written where one of them makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import (
    ConfigurationError,
    Hooks,
    InvalidCall,
    PayloadError,
    RunFilter,
    StartsRefused,
    WorkflowContext,
    WorkflowIdInUse,
    WorkflowOptions,
    apply_middleware,
    with_hooks,
    with_tracing,
)
from celeriac.errors import StoreUnavailable, UnknownDefinition
from celeriac.orchestrator import many
from tests.workflows import Env


@pytest.fixture
def flow(env: Env) -> Any:
    @env.workflow
    async def flow(ctx: WorkflowContext, n: int = 0) -> int:
        return n * 2

    return flow


@pytest.fixture
def patient(env: Env) -> Any:
    @env.workflow
    async def patient(ctx: WorkflowContext, n: int = 0) -> int:
        await ctx.wait_signal("end")
        return n

    return patient


def started(env: Env) -> int:
    return len(env.executor.list(RunFilter(limit=10_000)))


def test_the_handles_come_in_order(env: Env, flow: Any) -> None:
    handles = env.executor.start_many(flow, [(1,), [2], WorkflowOptions(id="three", args=[3]), ()])
    assert [each.result() for each in handles] == [2, 4, 6, 0]
    assert handles[2].id == "three"
    assert env.executor.start_many("flow", iter([(4,)]))[0].result() == 8
    assert env.executor.start_many(flow, []) == []


def test_more_than_fit_into_one_transaction(env: Env, flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    kept = env.executor.store.create_many

    def noting(news: Any) -> Any:
        sizes.append(len(news))
        return kept(news)

    monkeypatch.setattr(env.executor.store, "create_many", noting)
    monkeypatch.setattr(many, "CHUNK", 4)
    handles = env.executor.start_many(flow, [(n,) for n in range(10)])
    assert sizes == [4, 4, 2]
    assert [each.result() for each in handles] == [2 * n for n in range(10)]


@pytest.mark.parametrize(
    ("bad", "kind", "said"),
    [
        (("x",), PayloadError, r"starts\[1\]: argument 'n' of workflow 'flow'"),
        (
            (1, 2),
            InvalidCall,
            r"starts\[1\]: workflow 'flow' takes .*: too many positional arguments. Nothing was started",
        ),
        (
            "x",
            InvalidCall,
            r"starts\[1\] is 'x'. Each start is a tuple of arguments, such as \('x',\), or WorkflowOptions",
        ),
        (
            WorkflowOptions(id="a\nb"),
            InvalidCall,
            r"starts\[1\]: workflow id 'a\\nb' has characters that can't be shown",
        ),
        (WorkflowOptions(id_conflict="wait"), ConfigurationError, r"starts\[1\]: id_conflict='wait': one of 'fail'"),
        (WorkflowOptions(timeout=-1), ValueError, "timeout=-1: a duration must be above zero"),
    ],
)
def test_one_that_makes_no_sense_has_nothing_started(env: Env, flow: Any, bad: Any, kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said):
        env.executor.start_many(flow, [(1,), bad, (3,)])
    assert started(env) == 0


def test_nor_does_a_workflow_that_is_none(env: Env) -> None:
    with pytest.raises(UnknownDefinition, match="no workflow named 'other'"):
        env.executor.start_many("other", [(1,)])


def test_an_id_in_use_refuses_one_start(env: Env, patient: Any) -> None:
    first = env.start(patient, id="a")
    starts = [WorkflowOptions(id=name, args=[n]) for n, name in enumerate("xayb")]
    with pytest.raises(StartsRefused) as refused:
        env.executor.start_many(patient, [*starts, WorkflowOptions(id="b", args=[9])])
    assert str(refused.value) == (
        "2 of 5 starts of workflow 'patient' were refused; all others were made. The first, starts[1]: workflow id 'a' is in "
        "use by 'patient', running since 2030-01-01T00:00:00+00:00. Take another workflow_id, or pass id_conflict='attach' to "
        "get a handle on the run that has it. What became of each is in .results; with return_exceptions=True it is returned."
    )
    assert sorted(refused.value.refused) == [1, 4]
    assert refused.value.workflow == "patient"
    results = refused.value.results
    assert [isinstance(each, WorkflowIdInUse) for each in results] == [False, True, False, False, True]
    assert results[1].run_id == first.run_id
    for handle in (results[0], results[2], results[3], first):
        handle.signal("end")
    assert [results[place].result() for place in (0, 2, 3)] == [0, 2, 3]
    assert started(env) == 4


def test_refusals_are_returned_where_that_is_asked_for(env: Env, patient: Any) -> None:
    options = WorkflowOptions(id="a")
    first, second = env.executor.start_many(patient, [options, options], return_exceptions=True)
    assert isinstance(second, WorkflowIdInUse)
    assert second.run_id == first.run_id
    first.terminate()


def test_each_has_its_own_way_with_an_id_in_use(env: Env, patient: Any) -> None:
    attach, instead = env.start(patient, id="a"), env.start(patient, id="t")
    starts = [WorkflowOptions(id=name, id_conflict=how) for name, how in (("a", "attach"), ("t", "terminate"))]
    first, second = env.executor.start_many(patient, starts)
    assert first.run_id == attach.run_id
    assert second.run_id != instead.run_id
    assert [instead.status(), first.status(), second.status()] == ["terminated", "running", "running"]
    for each in (first, second):
        each.terminate()


def test_the_same_keys_once_more_are_the_same_starts(env: Env, flow: Any) -> None:
    starts = [WorkflowOptions(start_key=f"key {n}", args=[n]) for n in range(3)]
    first = env.executor.start_many(flow, starts)
    again = env.executor.start_many(flow, starts)
    assert [each.run_id for each in again] == [each.run_id for each in first]
    assert started(env) == 3


def test_a_store_that_goes_away_says_how_many_were_made(env: Env, flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = env.executor.store.create_many

    def once(news: Any) -> Any:
        monkeypatch.setattr(env.executor.store, "create_many", away)
        return kept(news)

    def away(news: Any) -> Any:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(env.executor.store, "create_many", once)
    monkeypatch.setattr(many, "CHUNK", 4)
    with pytest.raises(StoreUnavailable, match="the store is away") as left:
        env.executor.start_many(flow, [(n,) for n in range(10)])
    assert left.value.__notes__ == ["4 of 10 starts were made before that; the next ones may have been"]
    assert started(env) == 4


def test_middleware_sees_each_of_them(env: Env, patient: Any) -> None:
    told: list[Any] = []
    hooks = Hooks(on_workflow_start=lambda *args: told.append(args), on_signal=lambda *args: told.append(args))
    executor = apply_middleware(env.executor, with_tracing(), with_hooks(hooks))
    options = WorkflowOptions(id="a", args=[1])
    first, refused, last = executor.start_many(
        patient, [options, options, WorkflowOptions(id="b", input=2)], return_exceptions=True
    )
    assert isinstance(refused, WorkflowIdInUse)
    assert told == [("a", [1]), ("b", 2)]
    first.signal("end")
    assert told[2:] == [("a", "end", None)]
    with pytest.raises(StartsRefused):
        executor.start_many(patient, [options, WorkflowOptions(id="b")])
    last.terminate()
