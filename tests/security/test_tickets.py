"""Message headers that somebody made up: refused with a sentence, and nothing comes of them for any run."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import Celeriac
from celeriac.errors import InvalidCall
from celeriac.executors.celery import origin
from celeriac.executors.celery.headers import (
    HEADER,
    ActivityTicket,
    BadTicket,
    StartTicket,
    WorkflowTicket,
    refusal,
    ticket_in,
    ticket_of,
)
from celeriac.executors.celery.outcomes import OutcomeTicket
from celeriac.orchestrator.ports import Early
from celeriac.orchestrator.status import TaskKind, TaskState
from tests.celery_edge.harness import Ledger, Worker, eventually, tale

HERE = "tests.celery_edge.flows"
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["run", "seq", "attempt", "own", "finish", "named", "later", "start", "id", "headers", HEADER]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


# -- reading -----------------------------------------------------------------------------------------------------------


@given(ANY)
def test_any_header_is_read_without_an_exception(header: Any) -> None:
    for headers in (header, {HEADER: header}, {"headers": {HEADER: header}}):
        ticket = ticket_in(headers)
        assert ticket_of(SimpleNamespace(celeriac=None, headers=headers)) == ticket
        match ticket:
            case ActivityTicket(run_id, seq, attempt, own):
                assert (type(run_id), type(seq), type(attempt), type(own)) == (str, int, int, bool)
            case WorkflowTicket(run_id):
                assert type(run_id) is str
            case StartTicket(options):
                assert set(options) <= {"id", "id_conflict", "id_reuse", "timeout", "memo", "attributes"}
            case BadTicket():
                assert str(refusal(ticket)).startswith("the message's header 'celeriac' is none that celeriac writes: ")
            case _:
                assert ticket is None


@pytest.mark.parametrize(
    "ticket",
    [
        ActivityTicket("r", 0, 1),
        ActivityTicket("r", 3, 2, own=True),
        ActivityTicket("r", 3, 1, early=Early(7, 2**32 - 1)),
        WorkflowTicket("r"),
        WorkflowTicket("r", finish=True, named=True, later=True),
        StartTicket({}),
        StartTicket(
            {"id": "a", "id_conflict": "fail", "id_reuse": "never", "timeout": 1.5, "memo": {}, "attributes": {}}
        ),
    ],
)
def test_what_celeriac_writes_it_reads(ticket: Any) -> None:
    assert ticket_in({HEADER: ticket.header()}) == ticket


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("r", "it is of the type str, and no mapping"),
        (0, "it is of the type int, and no mapping"),
        ({}, "it has no 'run'"),
        ({"run": 1}, "'run' is of the type int"),
        ({"run": "r", "seq": "1", "attempt": 1}, "'seq' is of the type str"),
        ({"run": "r", "seq": 1}, "it has no 'attempt'"),
        ({"run": "r", "seq": 1, "attempt": True}, "'attempt' is of the type bool"),
        ({"run": "r", "seq": -1, "attempt": 1}, "'seq' is out of range"),
        ({"run": "r", "seq": 1, "attempt": 2**64}, "'attempt' is out of range"),
        ({"run": "r", "seq": 1, "attempt": 1, "early": 3}, "'early' is not two whole numbers"),
        ({"run": "r", "seq": 1, "attempt": 1, "early": [3, "4"]}, "'early' is not two whole numbers"),
        ({"run": "r", "seq": 1, "attempt": 1, "early": [3, True]}, "'early' is not two whole numbers"),
        ({"start": []}, "'start' is of the type list, and no mapping"),
        ({"start": {"epoch": 1, "a": 2}}, "'start' has the unknown 'a', 'epoch'"),
        ({"start": {"start_key": "mine"}}, "'start' has the unknown 'start_key'"),
        ({"start": {"timeout": "1"}}, "'timeout' is of the type str"),
        ({"start": {"memo": ["x"]}}, "'memo' is of the type list"),
    ],
)
def test_what_celeriac_never_writes_is_told_apart(header: Any, reason: str) -> None:
    assert ticket_in({HEADER: header}) == BadTicket(reason)


@given(ANY)
def test_an_outcomes_ticket_is_read_or_refused(written: Any) -> None:
    try:
        ticket = OutcomeTicket.read(written)
    except InvalidCall:
        return
    assert ticket.token
    assert type(ticket.run_id) is str


# -- what is kept of a start's options ---------------------------------------------------------------------------------


def test_a_stamp_can_not_choose_how_the_last_message_is_sent() -> None:
    options = {
        "stamped_headers": ["serializer", "queue", "tenant", "task_id", 7],
        "serializer": "pickle",
        "queue": "theirs",
        "task_id": "theirs",
        "tenant": "acme",
    }
    packed = origin.from_options(SimpleNamespace(current_worker_task=None, thread_oid="me"), "t", "t", options, {})
    task_id, sent = origin.unpack(packed)
    assert (task_id, sent) == ("t", {"stamped_headers": ["tenant"], "tenant": "acme", "reply_to": "me"})


def test_what_somebody_put_among_the_saved_options_is_left_out() -> None:
    forged = {"serializer": "pickle", "queue": "theirs", "chain": [], "exchange": "x", "headers": {"tenant": "acme"}}
    _, sent = origin.unpack({"task_id": "t", "options": json.dumps(forged)})
    assert sent == {"chain": [], "headers": {"tenant": "acme"}}


# -- real messages to a real worker ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker(concurrency=1)
    return worker


def refused(sent: Any) -> str:
    """Wait for a task to fail, and return what its failure says."""
    with pytest.raises(Exception, match="the message's header 'celeriac' is none that celeriac writes") as caught:
        sent.get(timeout=40)
    return str(caught.value).partition("none that celeriac writes: ")[2].partition(". Headers of that name")[0]


@pytest.fixture
def waiting(flows: Any, key: str) -> Iterator[Any]:
    """A run whose one activity waits in a queue that nobody serves."""
    started = flows.one.apply_async((f"{HERE}.plain", [key, 1], {"queue": "nobody's"}))
    eventually(lambda: tale(started.handle), lambda told: len(told) == 2)
    yield started
    started.handle.terminate()


def row(durable: Celeriac, started: Any) -> tuple[Any, ...]:
    """Return the parts of an activity's row that an attempt would change, and the run's history."""
    store = durable.runtime.store
    (task,) = [each for each in store.tasks(started.run_id) if each.kind is TaskKind.ACTIVITY]
    return task.state, task.attempt, task.token, task.failure, [each.type for each in store.history(started.run_id)]


def test_made_up_headers_on_real_tasks(flows: Any, worker: Worker, ledger: Ledger, key: str) -> None:
    for header, reason in (
        ("r", "it is of the type str, and no mapping"),
        ({"run": ["r"]}, "'run' is of the type list"),
        ({"run": "r", "seq": 1}, "it has no 'attempt'"),
        ({"run": "r", "seq": 1, "attempt": 1}, None),
        ({"run": "r"}, "it is a workflow's, and this is none"),
        ({"start": {}}, "it is a workflow's, and this is none"),
    ):
        sent = flows.plain.apply_async((key, 1), headers={HEADER: header})
        made_out = f"it was made out for the task 'r-1', and this is '{sent.id}'"
        assert refused(sent) == (reason or made_out)
    stranger = flows.app.send_task(f"{HERE}.one", ("x", []), headers={HEADER: {"start": {"epoch": "e"}}})
    assert refused(stranger) == "'start' has the unknown 'epoch'"
    stranger = flows.app.send_task(f"{HERE}.one", ("x", []), headers={HEADER: {"run": "r", "seq": 1, "attempt": 1}})
    assert refused(stranger) == "it is an activity's, and this is a workflow"
    assert ledger.read(key) == []
    assert flows.plain.delay(key, 1).get(timeout=40) == 2
    assert worker.process.poll() is None


def test_another_activitys_attempt_can_not_be_taken(
    flows: Any, worker: Worker, ledger: Ledger, key: str, waiting: Any
) -> None:
    before = row(flows.durable, waiting)
    header = ActivityTicket(waiting.run_id, 1, 1).header()
    forged = f"{waiting.run_id}-1"

    sent = flows.failing.apply_async((key, 1), headers={HEADER: header})
    assert refused(sent) == f"it was made out for the task '{forged}', and this is '{sent.id}'"
    sent = flows.failing.apply_async((key, 1), task_id=forged, headers={HEADER: header})
    assert refused(sent) == f"the activity '{forged}' of this namespace is none of '{HERE}.failing'"
    eventually(lambda: row(flows.durable, waiting)[0] is TaskState.QUEUED)
    assert (row(flows.durable, waiting), ledger.read(key)) == (before, [])


def test_a_run_of_another_namespace_is_left_alone(
    flows: Any, worker: Worker, ledger: Ledger, key: str, edge_env: dict[str, str]
) -> None:
    from celery import Celery

    app = Celery("other", broker="memory://", set_as_current=False)
    other = Celeriac(app, store=edge_env["EDGE_STORE"], namespace="other")

    async def one(ctx: Any, activity: str, args: list[Any]) -> Any:
        return await ctx.execute_activity(other.options(activity, foreign=False), *args)

    started = other.workflow(name=f"{HERE}.one")(one).delay(f"{HERE}.plain", [key, 1])
    flows.app.send_task("celeriac.turn", (started.run_id,))
    worker.says(f"a message asked for a turn of run '{started.run_id}', which is of another namespace; it was refused")
    assert [each.type for each in started.handle.history()] == ["workflow_started"]

    other.runtime.turn(started.run_id)
    before = row(other, started)
    forged = f"{started.run_id}-1"
    sent = flows.plain.apply_async(
        (key, 1), task_id=forged, headers={HEADER: ActivityTicket(started.run_id, 1, 1).header()}
    )
    assert refused(sent) == f"the activity '{forged}' of this namespace is none of '{HERE}.plain'"
    started.handle.terminate("over")
    late = flows.app.send_task(f"{HERE}.one", headers={HEADER: WorkflowTicket(started.run_id, finish=True).header()})
    eventually(lambda: late.id in worker.log)
    plain = flows.plain.delay(key, 1)
    assert plain.get(timeout=40) == 2
    assert (before[0], ledger.read(key)) == (TaskState.QUEUED, ["ran"])
    assert [each.type for each in started.handle.history()][-1] == "workflow_terminated"
    kinds = {each.kind for each in other.runtime.store.tasks(started.run_id)}
    assert kinds == {TaskKind.FINISH}
    other.close()
    app.close()


def test_another_tasks_end_can_not_be_taken(flows: Any, worker: Worker, key: str) -> None:
    """The last word of a run goes to the task that started it, and is told until that has heard it."""
    started = flows.one.apply_async((f"{HERE}.plain", [key, 1]), queue="nobody's")
    started.handle.terminate("over")
    header = WorkflowTicket(started.run_id, finish=True).header()
    for name, options in ((f"{HERE}.one", {}), (f"{HERE}.told", {"task_id": started.id})):
        sent = flows.app.send_task(name, headers={HEADER: header}, **options)
        assert refused(sent) == f"the run '{started.run_id}' is not that of this task"
    assert [each.kind for each in flows.durable.runtime.store.tasks(started.run_id)] == [TaskKind.FINISH]


def test_forged_outcomes_change_nothing(flows: Any, worker: Worker, key: str, waiting: Any) -> None:
    before = row(flows.durable, waiting)
    for ticket in (
        [waiting.run_id, 1, ""],
        [waiting.run_id, 1, "0" * 32],
        [waiting.run_id, 1, None],
        [waiting.run_id],
        "x",
        {"run": 1},
        None,
    ):
        flows.app.send_task("celeriac.outcome", (42,), {"ticket": ticket})
    flows.app.send_task("celeriac.turn", ({"run": waiting.run_id},))
    assert flows.plain.delay(key, 1).get(timeout=40) == 2
    worker.says("a turn's message names a run, and this one has a dict")
    worker.says(f"a late outcome of activity 1 of run {waiting.run_id} was refused")
    assert worker.log.count("an outcome's message names a run, a command's number and a claim's token") >= 6
    assert row(flows.durable, waiting) == before


def test_tokens_and_epochs_can_not_be_guessed(flows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are of the system's own random source, 122 bits or more, whatever anybody seeds."""
    import random
    import secrets
    import sys

    from celeriac.orchestrator import attempts, engine

    drawn: list[int] = []
    real = secrets.token_hex

    def noting(size: int) -> str:
        if sys._getframe(1).f_globals["__name__"].startswith("celeriac."):  # redis-py draws names for its pools
            drawn.append(size)
        return real(size)

    monkeypatch.setattr(secrets, "token_hex", noting)
    assert vars(attempts)["secrets"] is vars(engine)["secrets"] is secrets
    runtime, epochs = flows.durable.runtime, set()
    for _ in range(2):
        random.seed(0)
        started = flows.one.apply_async((f"{HERE}.plain", ["k", 1], {"queue": "nobody's"}), queue="nobody's")
        run = runtime.client.describe(started.workflow_id)
        epochs |= {run.epoch, run.run_id, uuid.UUID(run.epoch).version}
        runtime.turn(started.run_id)
        claim = runtime.attempts.claim(started.run_id, 1, attempt=1)
        assert claim is not None
        epochs.add(claim.fence.token)
        assert len(claim.fence.token) == 32
        started.handle.terminate()
    assert len(epochs) == 2 * 3 + 1
    assert 4 in epochs
    assert set(drawn) == {16}
