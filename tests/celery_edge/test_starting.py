"""Workflows started by Celery's verbs, from anywhere, in any place of a canvas."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, chain, chord, group, signature

from celeriac import InvalidCall, PayloadError, RunFilter, WorkflowFailedError, WorkflowIdInUse, WorkflowNotFound
from tests.celery_edge.harness import Ledger, Process, Worker, eventually, tale

HERE = "tests.celery_edge.flows"


@pytest.fixture(scope="module", autouse=True)
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker(concurrency=2)
    return worker


@pytest.fixture
def stranger(edge_env: Any) -> Any:
    """An app that has never heard of celeriac."""
    with Celery("stranger", broker=edge_env["EDGE_BROKER"], backend=edge_env["EDGE_BROKER"]) as app:
        yield app


# -- one workflow ----------------------------------------------------------------------------------------------------


def test_delay(flows: Any) -> None:
    result = flows.double.delay(21)
    assert result.get(timeout=20) == 42
    assert result.handle.result() == 42
    assert result.state == "SUCCESS"
    assert result.handle.id == result.id


def test_an_id_of_its_own(flows: Any, key: str) -> None:
    result = flows.double.apply_async((21,), workflow_id=f"order {key}")
    assert result.get(timeout=20) == 42
    assert flows.durable.handle(f"order {key}").run_id == result.run_id
    assert result.id != f"order {key}"


def test_send_task_where_celeriac_is(flows: Any) -> None:
    assert flows.app.send_task(f"{HERE}.double", (21,)).get(timeout=20) == 42


def test_send_task_from_a_program_without_celeriac(flows: Any, stranger: Any) -> None:
    result = stranger.send_task(f"{HERE}.double", kwargs={"x": 21})
    assert result.get(timeout=20) == 42
    assert flows.durable.handle(result.id).result() == 42
    assert flows.durable.client.describe(result.id).queue == "celery"


def test_arguments_are_read_as_the_annotations_say(flows: Any, stranger: Any) -> None:
    result = stranger.send_task(f"{HERE}.ordered", ({"id": "A", "cents": "7"}, ["b", "a"]))
    assert result.get(timeout=20) == {"id": "A a b", "cents": 7}
    assert flows.durable.handle(result.id).result() == flows.Order(id="A a b", cents=7)


def test_arguments_that_do_not_fit_are_refused_where_they_are_given(flows: Any) -> None:
    with pytest.raises(InvalidCall, match="double"):
        flows.double.delay()
    with pytest.raises(PayloadError, match="argument 'x' of workflow"):
        flows.double.delay("many")


def test_arguments_that_do_not_fit_fail_a_start_that_came_by_message(flows: Any, stranger: Any) -> None:
    result = stranger.send_task(f"{HERE}.double", ("many",))
    with pytest.raises(Exception, match="argument 'x' of workflow"):
        result.get(timeout=20)
    with pytest.raises(WorkflowNotFound):
        flows.durable.handle(result.id)


def test_beat(flows: Any, start_process: Any, tmp_path: Any) -> None:
    process: Process = start_process("beat", "beat", "-s", str(tmp_path / "beat"), "-l", "INFO")

    def by_beat() -> set[str]:
        runs = flows.durable.client.list(RunFilter(name=f"{HERE}.ticked"))
        return {run.result for run in runs if run.result is not None}

    eventually(by_beat, lambda found: found == {"by beat", "by beat, for a while"})
    assert "Scheduler: Sending due task tick" in process.log
    process.stop()


def test_called_like_a_function(flows: Any) -> None:
    with pytest.raises(InvalidCall) as caught:
        flows.double(21)
    assert str(caught.value) == (
        f"workflow '{HERE}.double' was called like a function, but a workflow only runs under replay. Start it with "
        "double.delay(...) or double.apply_async(args=(...), workflow_id=...). In a test, do so inside WorkflowEnvironment."
    )


# -- later, once, or not at all ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["countdown", "eta", "naive eta"])
def test_later(flows: Any, ledger: Ledger, key: str, when: str) -> None:
    eta = datetime.now(UTC) + timedelta(seconds=1.5)
    given: dict[str, Any] = {
        "countdown": {"countdown": 1.5},
        "eta": {"eta": eta},
        "naive eta": {"eta": eta.replace(tzinfo=None)},
    }[when]
    result = flows.parked.apply_async((key,), **given)
    result.signal("go", "early")  # it waits for the start, it does not bring it about
    assert result.get(timeout=20) == "early"
    first = result.handle.history()
    types = ["workflow_started", "signal_received", "side_effect_recorded", "workflow_completed"]
    assert sorted(each.type for each in first) == sorted(types)
    assert first[-1].at - first[0].at >= 1_400_000
    assert ledger.read(key) == ["parked"]


def test_the_same_task_id_twice_is_one_run(flows: Any, ledger: Ledger, key: str) -> None:
    first = flows.parked.apply_async((key,), task_id=f"task {key}")
    second = flows.parked.apply_async((key,), task_id=f"task {key}")
    assert second.run_id == first.run_id
    first.signal("go", 1)
    assert [first.get(timeout=20), second.get(timeout=20)] == [1, 1]
    third = flows.parked.apply_async((key,), task_id=f"task {key}")
    assert (third.run_id, third.handle.result()) == (first.run_id, 1)
    assert ledger.read(key) == ["parked"]


def test_the_same_start_by_message_twice_is_one_run(flows: Any, stranger: Any, ledger: Ledger, key: str) -> None:
    for _ in range(3):
        result = stranger.send_task(f"{HERE}.parked", (key,), task_id=f"task {key}")
    ledger.has(key, 1)
    flows.durable.signal(result.id, "go", 1)
    assert result.get(timeout=20) == 1
    assert ledger.read(key) == ["parked"]


def test_an_id_in_use(flows: Any, ledger: Ledger, key: str) -> None:
    first = flows.parked.apply_async((key,), workflow_id=key)
    with pytest.raises(WorkflowIdInUse, match=f"'{key}' is in use by '{HERE}.parked'"):
        flows.parked.apply_async((key,), workflow_id=key)
    attached = flows.parked.apply_async((key,), workflow_id=key, id_conflict="attach")
    assert (attached.run_id, attached.id) == (first.run_id, first.id)
    other = flows.parked.apply_async((key,), workflow_id=key, id_conflict="terminate")
    assert other.run_id != first.run_id
    with pytest.raises(WorkflowFailedError, match="another run was started with its id"):
        first.get(timeout=20)
    other.signal("go", 1)
    assert other.get(timeout=20) == 1


def test_a_start_that_expires_begins_only_in_time(flows: Any, start_worker: Any, ledger: Ledger, key: str) -> None:
    result = flows.parked.apply_async((key,), queue="expiring", expires=0.5, workflow_id=key)
    in_time = flows.double.apply_async((4,), expires=60, workflow_id=f"{key} in time", timeout=timedelta(minutes=1))
    assert in_time.get(timeout=20) == 8
    assert flows.durable.handle(f"{key} in time").result() == 8
    expired = datetime.now(UTC) + timedelta(seconds=0.6)
    eventually(lambda: datetime.now(UTC) > expired)
    start_worker("-Q", "expiring", concurrency=1).says(f"Discarding revoked task: {HERE}.parked[{result.id}]")
    assert ledger.read(key) == []
    with pytest.raises(WorkflowNotFound):
        flows.durable.handle(key)
    eventually(lambda: result.state == "REVOKED")  # Celery stores it after it has logged it


# -- canvas ------------------------------------------------------------------------------------------------------------


def test_chain(flows: Any) -> None:
    result = chain(flows.prepare.s(20), flows.double.s(), flows.report.s()).apply_async()
    assert result.get(timeout=20) == "report: 42"
    assert result.parent.state == "SUCCESS"


def test_chain_of_workflows(flows: Any) -> None:
    assert chain(flows.double.s(1), flows.double.s(), flows.double.s()).apply_async().get(timeout=20) == 8


def test_chain_by_names_from_a_program_without_celeriac(stranger: Any) -> None:
    steps = [
        signature(f"{HERE}.{name}", args, app=stranger)
        for name, args in (("prepare", (20,)), ("double", ()), ("report", ()))
    ]
    assert chain(*steps, app=stranger).apply_async().get(timeout=20) == "report: 42"


def test_group(flows: Any) -> None:
    assert group(flows.double.s(n) for n in range(3)).apply_async().get(timeout=20) == [0, 2, 4]


def test_chord(flows: Any) -> None:
    result = chord([flows.double.s(1), flows.prepare.s(1), flows.double.s(2)])(flows.total.s())
    assert result.get(timeout=20) == 8


def test_chord_into_a_workflow_and_on(flows: Any) -> None:
    steps = chain(chord([flows.prepare.s(1), flows.double.s(2)], flows.total.s()), flows.double.s(), flows.report.s())
    assert steps.apply_async().get(timeout=20) == "report: 12"


def test_chord_whose_body_is_a_workflow(flows: Any) -> None:
    assert chord([flows.prepare.s(1), flows.double.s(2)])(flows.summed.s()).get(timeout=20) == 6


def test_chain_inside_a_chord(flows: Any) -> None:
    header = [chain(flows.prepare.s(1), flows.double.s(), flows.prepare.s()), flows.prepare.s(4)]
    assert chord(header)(flows.total.s()).get(timeout=20) == 10


def test_link(flows: Any) -> None:
    result = flows.double.apply_async((4,), link=flows.report.s())
    assert result.get(timeout=20) == 8
    children = eventually(lambda: flows.app.AsyncResult(result.id).children)
    assert children[0].get(timeout=20) == "report: 8"


def test_link_error(flows: Any, ledger: Ledger) -> None:
    result = flows.stumbling.apply_async((4,), link_error=[flows.apology.s(), flows.letter.s()])
    with pytest.raises(WorkflowFailedError, match="ValueError: stumbled over 4"):
        result.get(timeout=20)
    told = ledger.has(f"apology:{result.id}", 1)
    assert told == [
        f"WorkflowFailedError: workflow '{result.id}' ({HERE}.stumbling) failed: ValueError: stumbled over 4"
    ]
    assert ledger.has(f"letter:{result.id}", 1) == ["sorry"]


def test_failure_in_a_chain(flows: Any, ledger: Ledger) -> None:
    result = chain(flows.stumbling.s(4), flows.report.s()).apply_async(link_error=flows.apology.s())
    with pytest.raises(WorkflowFailedError, match="ValueError: stumbled over 4"):
        result.get(timeout=20)
    assert result.parent.state == "FAILURE"
    assert len(ledger.has(f"apology:{result.parent.id}", 1)) == 1


def test_failure_in_a_chord(flows: Any) -> None:
    result = chord([flows.stumbling.s(4), flows.prepare.s(1)])(flows.total.s())
    with pytest.raises(Exception, match="stumbled over 4"):
        result.get(timeout=20)


def test_an_argument_of_a_later_link_that_json_lacks_is_refused_at_the_start(flows: Any) -> None:
    link = flows.report.si(object())
    with pytest.raises(InvalidCall, match=r"because a later link could not be sent: .*object.* must be JSON"):
        flows.double.apply_async((1,), link=link)


def test_stamps_come_along(flows: Any) -> None:
    steps = chain(flows.double.s(2), flows.report.s())
    steps.stamp(order="A-17")
    result = steps.apply_async()
    assert result.get(timeout=20) == "report: 4"


# -- not in a workflow -------------------------------------------------------------------------------------------------

INSTEAD = {
    "activity": ("charge('A', 1)", "write `await ctx.execute_activity(charge, 'A', 1)`"),
    "task": ("plain('A', x=1)", "write `await ctx.execute_activity(plain, 'A', x=1)`"),
    "delay": ("plain.apply_async(...)", "write `await ctx.execute_activity(plain, ...)`"),
    "send_task": (
        f"app.send_task('{HERE}.plain', ...)",
        f"write `await ctx.execute_activity('{HERE}.plain', ...)`",
    ),
    "workflow": ("double.apply_async(...)", "start it in an activity"),
    "caught": ("plain.apply(...)", "write `await ctx.execute_activity(plain, ...)`"),
    "canvas": ("plain.apply_async(...)", "write `await ctx.execute_activity(plain, ...)`"),
}


@pytest.mark.parametrize("how", INSTEAD)
def test_tasks_are_neither_called_nor_sent_in_workflow_code(flows: Any, ledger: Ledger, how: str) -> None:
    result = flows.forbidden.delay(how)
    run = eventually(result.handle.describe, lambda run: run.status == "blocked")
    call, instead = INSTEAD[how]
    message = run.blocked["message"]
    assert message.startswith(f"{call} at {flows.__file__}:")
    assert message.endswith(f"can't be used in a workflow, because replay can't reproduce it: {instead}")
    assert tale(result.handle) == ["workflow_started"]
    assert ledger.read("A") == []
    result.handle.terminate("it is stuck")


def test_plain_code_is_told_in_its_own_words(flows: Any) -> None:
    result = flows.forbidden_plain.delay()
    run = eventually(result.handle.describe, lambda run: run.status == "blocked")
    assert run.blocked["message"].endswith("write `ctx.execute_activity(charge, 'A', cents=1).result()`")
    result.handle.terminate("it is stuck")


def test_nothing_went_wrong_behind_the_scenes(worker: Worker) -> None:
    assert worker.troubles() == []
