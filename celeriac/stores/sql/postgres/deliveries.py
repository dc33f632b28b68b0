"""Deliveries on PostgreSQL, one statement each."""

# ruff: noqa: S608 - what is put into the texts are names of columns and parts of our own

from __future__ import annotations

from typing import Any, Final

from celeriac.orchestrator.model import Delivery, DeliveryOutcome, Fence, Message
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.deliveries import Deliveries
from celeriac.stores.sql.faults import CheckFailed, UniqueViolation
from celeriac.stores.sql.ids import index_form
from celeriac.stores.sql.postgres.texts import FENCE, Texts
from celeriac.stores.sql.statements import Raw
from celeriac.stores.sql.transactions import Database
from celeriac.stores.sql.values import message_values, ref_of

# `seen` is the run as the snapshot has it. The gate waits for the run's lock, then looks at the run as it is, and opens only
# if no commit came between: then the keys that the snapshot shows are all there are, and the turn row is idle if it was.
# The one thing that may have come is another delivery: the index tells of the same key, and the turn row of its wake-up.
# Other tables are asked about the one run by a value and not by a join, and its namespace by an expression that has no index: a
# connection plans once, maybe for next to no rows, where reading them all costs as little as an index does.
_DELIVER: Final = """
    WITH seen AS MATERIALIZED (
        SELECT run_id, turns, status FROM {runs} WHERE {which}
    ), gate AS (
        UPDATE {runs} r SET inbox_seq = r.inbox_seq + 1
        FROM seen
        WHERE r.run_id = seen.run_id AND r.turns = seen.turns AND r.status = seen.status
            AND r.open_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM {inbox} i WHERE i.run_id = (SELECT run_id FROM seen) AND i.key_index = %(key_index)s)
            AND NOT EXISTS (SELECT FROM {events} e WHERE e.run_id = (SELECT run_id FROM seen) AND e.key_index = %(key_index)s)
            {fenced}
        RETURNING {ref}, r.inbox_seq, {now} AS now
    ), item AS (
        INSERT INTO {inbox} (run_id, number, kind, key, key_index, at, data)
        SELECT gate.run_id, gate.inbox_seq, %(message)s, %(key)s, %(key_index)s, gate.now, %(data)s FROM gate
    ), turn AS (
        UPDATE {tasks} t SET
            state = 'queued', token = NULL, lease_until = NULL,
            published = CASE WHEN gate.status = 'paused' THEN 0 ELSE 1 END,
            due_at = CASE WHEN gate.status = 'paused' THEN NULL ELSE gate.now + {redeliver} END
        FROM gate
        WHERE t.run_id = (SELECT run_id FROM gate) AND t.kind = 'turn' AND t.seq = 0
            AND (t.state = 'idle' OR (t.state = 'queued' AND gate.status = 'blocked'))
        RETURNING t.seq
    ) {settled}
    SELECT r.*, EXISTS (SELECT FROM turn) AND r.status <> 'paused' {checked} FROM gate r
"""
_BY_RUN: Final = "run_id = %(run_id)s AND coalesce(namespace) = %(namespace)s"
_BY_NAME: Final = "namespace = %(namespace)s AND open_id = %(open_id)s"
_SETTLING: Final = {
    "which": "run_id = %(run_id)s",
    "fenced": f"AND EXISTS (SELECT FROM {{tasks}} t WHERE {FENCE})",
    "settled": f", taken AS (DELETE FROM {{tasks}} t USING gate WHERE {FENCE} RETURNING t.seq)",
    # The claim went while this waited: an error undoes it all.
    "checked": ", CAST(CASE WHEN (SELECT count(*) FROM taken) = 1 THEN '1' ELSE 'the claim is gone' END AS int)",
}


class PostgresDeliveries(Deliveries):
    """Deliveries in one round trip; what is not plainly a delivery is left to the portable path."""

    def __init__(self, db: Database, access: Access, texts: Texts) -> None:
        super().__init__(db, access)
        redeliver = str(db.redeliver_after)
        plain = {"fenced": "", "settled": "", "checked": "", "redeliver": redeliver}
        self._by_run = texts(_DELIVER, which=_BY_RUN, **plain)
        self._by_name = texts(_DELIVER, which=_BY_NAME, **plain)
        settling = {name: part.format(**texts.parts) for name, part in _SETTLING.items()}
        self._settling = texts(_DELIVER, **settling, redeliver=redeliver)

    def deliver(self, message: Message, *, namespace: str, workflow_id: str | None, run_id: str | None) -> Delivery:
        """Put a message into the inbox of an open run."""
        statement = self._by_name if run_id is None else self._by_run
        values = {
            **_message(message),
            "namespace": namespace,
            "run_id": run_id,
            "open_id": index_form(workflow_id or ""),
        }
        return self._try(statement, values) or super().deliver(
            message, namespace=namespace, workflow_id=workflow_id, run_id=run_id
        )

    def settle(self, fence: Fence, message: Message) -> Delivery:
        """Deliver the outcome of a task row and delete the row."""
        key = {"run_id": fence.run_id, "kind": fence.kind.value, "seq": fence.seq, "token": fence.token}
        return self._try(self._settling, {**_message(message), **key}) or super().settle(fence, message)

    def _try(self, statement: Raw, values: dict[str, Any]) -> Delivery | None:
        try:
            row = self._db.single(lambda session: session.row(statement, values))
        except (UniqueViolation, CheckFailed):
            return None
        return None if row is None else Delivery(DeliveryOutcome.DELIVERED, ref_of(row), row[8])


def _message(message: Message) -> dict[str, Any]:
    values = message_values(message)
    values["message"] = values.pop("kind")
    return values
