"""Activity attempts on PostgreSQL, one statement each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from celeriac.orchestrator.model import Claim, Fence, Micros, Pulse
from celeriac.orchestrator.status import TaskKind
from celeriac.payloads import Json, to_text
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.postgres.texts import FENCE, NOT_SYNCHRONOUS, Texts, events_of
from celeriac.stores.sql.tasks import FEW_EVENTS, YOUNG, Tasks
from celeriac.stores.sql.transactions import Database
from celeriac.stores.sql.values import REF, TASK, head_of, ref_of, task_of, text_of

_CLAIM: Final = """
    UPDATE {tasks} t SET
        state = 'running', token = %(token)s, worker = %(worker)s, inner_retries = %(inner)s, published = 0,
        started_at = n.now, lease_until = n.now + %(lease)s, schedule_to_start_by = NULL,
        start_to_close_by = n.now + t.start_to_close, heartbeat_by = n.now + t.heartbeat,
        due_at = least(n.now + %(lease)s, n.now + t.start_to_close, n.now + t.heartbeat, t.schedule_to_close_by)
    FROM {runs} r, (SELECT {now} AS now) n
    WHERE t.run_id = %(run_id)s AND t.kind = 'activity' AND t.seq = %(seq)s
        AND t.attempt = %(attempt)s AND t.cancel_requested = 0
        AND (t.state = 'queued' OR (t.state = 'running' AND t.inner_retries < %(inner)s))
        AND r.run_id = t.run_id AND r.open_id IS NOT NULL
    RETURNING {task}, {ref}, {head}, r.status = 'running' AND NOT EXISTS (SELECT 1 FROM {inbox} i WHERE i.run_id = t.run_id),
        CASE WHEN (r.epoch = %(epoch)s OR %(epoch)s = '' AND r.version <= {young})
            AND r.version > %(version)s AND r.version <= %(version)s + {few} THEN {newer} END,
        n.now, CASE WHEN t.repeatable = 1 THEN {not_synchronous} END
"""
_HELD: Final = "t.state = 'running' AND " + FENCE
_BEAT: Final = """
    UPDATE {tasks} t SET
        details = %(details)s, heartbeat_by = n.now + t.heartbeat,
        due_at = least(t.lease_until, t.start_to_close_by, n.now + t.heartbeat, t.schedule_to_close_by)
    FROM (SELECT {now} AS now) n
    WHERE {held}
    RETURNING t.cancel_requested, {not_synchronous}
"""
_RENEW: Final = """
    WITH held AS MATERIALIZED (
        SELECT t.run_id, t.kind, t.seq, n.now
        FROM {tasks} t
        JOIN json_to_recordset(%(fences)s::json) AS f(run_id text, kind text, seq bigint, token text)
            ON t.run_id = f.run_id AND t.kind = f.kind AND t.seq = f.seq AND t.token = f.token, (SELECT {now} AS now) n
        WHERE t.state = 'running'
        ORDER BY t.run_id, t.kind, t.seq
        FOR NO KEY UPDATE OF t
    )
    UPDATE {tasks} t SET
        lease_until = h.now + %(lease)s,
        due_at = least(h.now + %(lease)s, t.start_to_close_by, t.heartbeat_by, t.schedule_to_close_by)
    FROM held h
    WHERE t.run_id = h.run_id AND t.kind = h.kind AND t.seq = h.seq
    RETURNING t.run_id, t.kind, t.seq, t.token, t.cancel_requested, {not_synchronous}
"""
_REQUEUE: Final = """
    UPDATE {tasks} t SET
        state = 'queued', token = NULL, worker = '', published = %(published)s, started_at = NULL,
        lease_until = NULL, heartbeat_by = NULL, start_to_close_by = NULL, schedule_to_start_by = NULL,
        due_at = least(n.now + %(delay)s, t.schedule_to_close_by),
        attempt = t.attempt + %(next)s, inner_retries = CASE WHEN %(next)s = 1 THEN 0 ELSE t.inner_retries END,
        failure = coalesce(%(failure)s, t.failure)
    FROM (SELECT {now} AS now) n
    WHERE {held}
"""


class PostgresTasks(Tasks):
    """Activity attempts, one round trip each."""

    def __init__(self, db: Database, access: Access, texts: Texts) -> None:
        super().__init__(db, access)
        held = _HELD
        self._claim = texts(
            _CLAIM,
            not_synchronous=NOT_SYNCHRONOUS,
            few=str(FEW_EVENTS),
            young=str(YOUNG),
            newer=texts.newer("%(version)s"),
        )
        self._beat = texts(_BEAT, not_synchronous=NOT_SYNCHRONOUS, held=held)
        self._renew_all = texts(_RENEW, not_synchronous=NOT_SYNCHRONOUS)
        self._requeue = texts(_REQUEUE, held=held)

    def claim(
        self,
        run_id: str,
        seq: int,
        *,
        attempt: int,
        inner: int,
        token: str,
        lease: Micros,
        worker: str,
        known: tuple[str, int] | None = None,
    ) -> Claim | None:
        """Claim an attempt, or return None when it is not to be run."""
        epoch, version = known or (None, 0)
        values = {
            "run_id": run_id,
            "epoch": epoch,
            "version": version,
            "seq": seq,
            "attempt": attempt,
            "inner": inner,
            "token": token,
            "lease": lease,
            "worker": worker,
        }
        row = self._db.single(lambda session: session.row(self._claim, values))
        if row is None:
            return None
        head = head_of(row[len(TASK) + len(REF) :]) if row[-4] else None
        return Claim(task_of(row), ref_of(row[len(TASK) :]), row[-2], head, events_of(row[-3]))

    def heartbeat(self, fence: Fence, details: Json) -> Pulse:
        """Record progress and move on the heartbeat's deadline."""
        values = {**_key(fence), "details": text_of(details)}
        row = self._db.single(lambda session: session.row(self._beat, values))
        if row is None:
            return Pulse.GONE
        return Pulse.CANCEL if row[0] else Pulse.ALIVE

    def requeue(
        self,
        fence: Fence,
        *,
        delay: Micros,
        grace: Micros,
        next_attempt: bool,
        failure: Mapping[str, Json] | None,
    ) -> bool:
        """Give a claimed row back as queued."""
        values = {
            **_key(fence),
            "delay": delay + grace,
            "next": int(next_attempt),
            "published": int(grace > 0),
            "failure": text_of(failure),
        }
        return self._db.change(self._requeue, values) > 0

    def renew(self, fences: Sequence[Fence], *, lease: Micros) -> Mapping[Fence, Pulse]:
        """Move on the leases of attempts that are running."""
        found = dict.fromkeys(fences, Pulse.GONE)
        if not found:
            return found
        values = {"fences": to_text([_key(fence) for fence in found]), "lease": lease}
        for row in self._db.single(lambda session: session.rows(self._renew_all, values)):
            run_id, kind, seq, token, canceling = row[:5]
            pulse = Pulse.CANCEL if canceling else Pulse.ALIVE
            found[Fence(run_id, TaskKind(kind), seq, token)] = pulse
        return found


def _key(fence: Fence) -> dict[str, Json]:
    return {"run_id": fence.run_id, "kind": fence.kind.value, "seq": fence.seq, "token": fence.token}
