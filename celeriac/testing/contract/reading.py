"""The contract of ``find_run``, ``history``, ``tasks`` and ``list``."""
# ruff: noqa: D102, S101 - these are tests: their names say what they show

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import RunFilter
from celeriac.orchestrator.status import OPEN, WorkflowStatus
from celeriac.testing.contract.base import ContractBase

if TYPE_CHECKING:
    from celeriac.orchestrator.model import Run
    from celeriac.testing.contract.world import World


def _newest_first(*runs: Run) -> list[str]:
    return [run.run_id for run in sorted(runs, key=lambda run: (run.created_at, run.run_id), reverse=True)]


def _listed(world: World, **where: Any) -> list[str]:
    return [run.run_id for run in world.store.list(world.namespace, RunFilter(**where))]


class Reading(ContractBase):
    """Runs are found by their ids and listed newest first, a page at a time."""

    def test_a_run_is_found_by_either_id(self, world: World) -> None:
        run = world.start("order-1")
        assert world.store.find_run(world.namespace, run_id=run.run_id) == run
        assert world.second.find_run(world.namespace, workflow_id="order-1") == run

    def test_a_run_is_found_by_its_start_key_open_or_closed(self, world: World) -> None:
        run = world.start("order-1", start_key="task-1")
        world.start("order-2", start_key="task-2")
        assert world.store.find_run(world.namespace, start_key="task-1") == run
        run = world.commit(run, status=WorkflowStatus.FAILED)
        world.start("order-1")
        assert world.store.find_run(world.namespace, start_key="task-1") == run
        assert world.store.find_run(world.namespace, start_key="TASK-1") is None
        assert world.store.find_run(f"{world.namespace}-other", start_key="task-1") is None

    def test_what_is_not_there_is_none(self, world: World) -> None:
        assert world.store.find_run(world.namespace, run_id="0" * 32) is None
        assert world.store.find_run(world.namespace, workflow_id="nobody") is None

    def test_a_run_is_found_in_its_namespace_only(self, world: World) -> None:
        run = world.start("order-1")
        other = f"{world.namespace}-other"
        assert world.store.find_run(other, run_id=run.run_id) is None
        assert world.store.find_run(other, workflow_id="order-1") is None

    def test_a_workflow_id_finds_its_latest_run(self, world: World) -> None:
        earlier = world.closed("order-1")
        world.wait(1)
        latest = world.start("order-1")
        assert world.store.find_run(world.namespace, workflow_id="order-1") == latest
        latest = world.commit(latest, status=WorkflowStatus.FAILED)
        assert world.store.find_run(world.namespace, workflow_id="order-1") == latest
        assert world.store.find_run(world.namespace, run_id=earlier.run_id) == earlier

    # -- history -----------------------------------------------------------------------------------

    def test_history_is_in_order_and_can_be_read_in_parts(self, world: World) -> None:
        run = world.start()
        for name in "abcd":
            run = world.commit(run, SignalReceived(name), SignalReceived(name))
        whole = list(world.store.history(run.run_id))
        assert [event.number for event in whole] == list(range(1, 10))
        assert list(world.store.history(run.run_id, after=7)) == whole[7:]
        assert list(world.store.history(run.run_id, after=2, limit=3)) == whole[2:5]
        assert list(world.store.history(run.run_id, limit=2)) == whole[:2]
        assert list(world.store.history(run.run_id, after=9)) == []
        assert list(world.store.history(run.run_id, after=8, limit=100)) == whole[8:]

    def test_a_long_history_keeps_its_order(self, world: World) -> None:
        run = world.commit(world.start(), *(SignalReceived(f"s{number}") for number in range(250)))
        history = world.store.history(run.run_id)
        assert [event.number for event in history] == list(range(1, 252))
        assert [event.data["name"] for event in history[1:]] == [f"s{number}" for number in range(250)]

    def test_a_run_that_is_not_there_has_no_history_and_no_rows(self, world: World) -> None:
        assert list(world.store.history("0" * 32)) == []
        assert list(world.store.tasks("0" * 32)) == []

    # -- lists -------------------------------------------------------------------------------------

    def test_runs_are_listed_newest_first(self, world: World) -> None:
        runs = []
        for _ in range(5):
            runs.append(world.start())
            world.wait(1)
        assert _listed(world) == [run.run_id for run in reversed(runs)]

    def test_a_list_holds_whole_runs(self, world: World) -> None:
        run = world.closed(memo={"a": 1})
        assert list(world.store.list(world.namespace, RunFilter())) == [run]

    def test_a_namespace_lists_its_own_runs(self, world: World) -> None:
        run = world.start()
        world.start(namespace=f"{world.namespace}-other")
        assert _listed(world) == [run.run_id]

    def test_a_namespace_without_runs_lists_none(self, world: World) -> None:
        assert _listed(world) == []

    def test_runs_are_listed_by_status(self, world: World) -> None:
        runs = {status: world.in_status(status) for status in WorkflowStatus}
        for status, run in runs.items():
            assert _listed(world, statuses=[status]) == [run.run_id]
        assert _listed(world, statuses=sorted(OPEN)) == _newest_first(*(runs[status] for status in OPEN))

    def test_runs_are_listed_by_name_workflow_id_and_parent(self, world: World) -> None:
        one = world.start("order-1", name="shop.fulfil", parent_run_id="p1")
        two = world.start("order-2", name="shop.refund", parent_run_id="p1")
        three = world.start("order-3", name="shop.fulfil", parent_run_id="p2")
        assert _listed(world, name="shop.fulfil") == _newest_first(one, three)
        assert _listed(world, workflow_id="order-2") == [two.run_id]
        assert _listed(world, parent_run_id="p1") == _newest_first(one, two)
        assert _listed(world, parent_run_id="p1", name="shop.fulfil") == [one.run_id]
        assert _listed(world, name="shop.FULFIL") == []

    def test_all_runs_of_a_workflow_id_are_listed(self, world: World) -> None:
        runs = [world.closed("order-1"), world.closed("order-1"), world.start("order-1")]
        world.start("order-2")
        assert _listed(world, workflow_id="order-1") == _newest_first(*runs)

    def test_runs_are_listed_by_when_they_were_created_both_ends_left_out(self, world: World) -> None:
        runs = []
        for _ in range(4):
            runs.append(world.start())
            world.wait(1)
        first, second, third, last = runs
        assert _listed(world, created_after=second.created_at) == _newest_first(third, last)
        assert _listed(world, created_before=second.created_at) == [first.run_id]
        between = {"created_after": first.created_at, "created_before": last.created_at}
        assert _listed(world, **between) == _newest_first(second, third)

    def test_a_list_goes_on_after_the_cursor(self, world: World) -> None:
        runs = [world.start() for _ in range(7)]
        expected = _newest_first(*runs)
        pages: list[list[str]] = []
        cursor = None
        while page := _listed(world, limit=3, cursor=cursor):
            pages.append(page)
            cursor = page[-1]
        assert pages == [expected[:3], expected[3:6], expected[6:]]

    def test_a_filter_holds_on_every_page(self, world: World) -> None:
        runs = [world.start(name=name) for name in ("a", "b") * 4]
        expected = _newest_first(*runs[1::2])
        first = _listed(world, name="b", limit=2)
        rest = _listed(world, name="b", limit=10, cursor=first[-1])
        assert first + rest == expected

    @pytest.mark.parametrize("between", ["updated", "closed", "started"])
    def test_each_run_is_listed_once_while_runs_change(self, world: World, between: str) -> None:
        runs = [world.idle() for _ in range(6)]
        expected = _newest_first(*runs)
        world.wait(1)
        found: list[str] = []
        cursor = None
        while page := _listed(world, limit=2, cursor=cursor):
            found += page
            cursor = page[-1]
            if between == "started":
                world.start()
            else:
                status = WorkflowStatus.RUNNING if between == "updated" else WorkflowStatus.COMPLETED
                world.commit(runs.pop(), SignalReceived("a"), status=status)
        assert found == expected

    def test_a_cursor_whose_run_is_gone_ends_the_list(self, world: World) -> None:
        world.start()
        assert _listed(world, cursor="0" * 32) == []
