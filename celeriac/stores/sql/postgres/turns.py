"""Turns on PostgreSQL: one statement to claim, one to read."""

from __future__ import annotations

from typing import Any, Final

from celeriac.orchestrator.model import InboxItem, Message, Micros, TurnView
from celeriac.orchestrator.status import MessageKind
from celeriac.payloads import from_text
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.postgres.texts import NOT_SYNCHRONOUS, Texts, events_of
from celeriac.stores.sql.transactions import Database
from celeriac.stores.sql.turns import Turns, seen_up_to
from celeriac.stores.sql.values import RUN, run_of

_CLAIM: Final = """
    UPDATE {tasks} t SET
        state = 'running', token = %(token)s, started_at = n.now, attempt = t.attempt + 1, published = 0,
        due_at = n.now + %(lease)s, lease_until = n.now + %(lease)s
    FROM {runs} r, (SELECT {now} AS now) n
    WHERE t.run_id = %(run_id)s AND t.kind = 'turn' AND t.seq = 0
        AND (t.state = 'queued' OR (t.state = 'running' AND t.lease_until <= n.now))
        AND r.run_id = t.run_id AND r.open_id IS NOT NULL AND r.status <> 'paused'
    RETURNING {not_synchronous}
"""
_SINCE: Final = "CASE WHEN r.epoch = %(epoch)s AND %(version)s <= r.version THEN %(version)s ELSE 0 END"
# The inbox comes as JSON, made by joining texts: what is in `data` is JSON already.
_READ: Final = """
    SELECT {run}, {now},
        coalesce((SELECT t.attempt FROM {tasks} t WHERE t.run_id = r.run_id AND t.kind = 'turn' AND t.seq = 0), 0),
        {newer},
        (
            SELECT string_agg(
                '[' || i.number || ',"' || i.kind || '",' || to_json(i.key)::text || ',' || i.data || ',' || i.at || ']',
                ',' ORDER BY i.number
            )
            FROM {inbox} i WHERE i.run_id = r.run_id
        )
    FROM {runs} r WHERE r.run_id = %(run_id)s
"""


class PostgresTurns(Turns):
    """Turns in two round trips to begin, one to read."""

    def __init__(self, db: Database, access: Access, texts: Texts) -> None:
        super().__init__(db, access)
        self._take_turn = texts(_CLAIM, not_synchronous=NOT_SYNCHRONOUS)
        self._read_all = texts(_READ, newer=texts.newer(_SINCE))

    def begin(self, run_id: str, *, token: str, lease: Micros, known: tuple[str, int] | None) -> TurnView | None:
        """Claim the run's turn, then read: the snapshot is younger than the claim."""
        values = {"run_id": run_id, "token": token, "lease": lease}
        if self._db.single(lambda session: session.row(self._take_turn, values)) is None:
            return None
        return self.read(run_id, known=known)

    def read(self, run_id: str, *, known: tuple[str, int] | None) -> TurnView | None:
        """Read what a turn needs, from one snapshot."""
        epoch, version = known or ("", 0)
        values = {"run_id": run_id, "epoch": epoch, "version": version}
        row = self._db.single(lambda session: session.row(self._read_all, values))
        if row is None:
            return None
        run = run_of(row)
        now, claims, events, items = row[len(RUN) :]
        return TurnView(
            run,
            events_of(events),
            [_item(*each) for each in from_text(f"[{items}]")] if items else [],
            now,
            seen_up_to(run, known) == 0,
            claims,
        )


def _item(number: int, kind: str, key: str, data: Any, at: Micros) -> InboxItem:
    return InboxItem(number, Message(MessageKind(kind), key, data), at)
