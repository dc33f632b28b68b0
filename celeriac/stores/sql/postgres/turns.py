"""Turns on PostgreSQL: one statement to claim and read, one to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from celeriac.orchestrator.model import InboxItem, Message, Micros, TurnView
from celeriac.orchestrator.status import MessageKind
from celeriac.payloads import from_text
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.postgres.texts import NOT_SYNCHRONOUS, Texts, events_of
from celeriac.stores.sql.statements import Raw
from celeriac.stores.sql.transactions import Database
from celeriac.stores.sql.turns import Turns, seen_up_to
from celeriac.stores.sql.values import RUN, run_of

_CLAIMED: Final = """
    claimed AS (
        UPDATE {tasks} t SET
            state = 'running', token = %(token)s, started_at = n.now, attempt = t.attempt + 1, published = 0,
            due_at = n.now + %(lease)s, lease_until = n.now + %(lease)s
        FROM {runs} r, (SELECT {now} AS now) n
        WHERE t.run_id = %(run_id)s AND t.kind = 'turn' AND t.seq = 0
            AND (t.state = 'queued' OR (t.state = 'running' AND t.lease_until <= n.now))
            AND r.run_id = t.run_id AND r.open_id IS NOT NULL AND r.status <> 'paused'
        RETURNING t.run_id, t.attempt, {not_synchronous}
    )
"""
_SINCE: Final = "CASE WHEN r.epoch = %(epoch)s AND %(version)s <= r.version THEN %(version)s ELSE 0 END"
# The inbox comes as JSON, made by joining texts: what is in `data` is JSON already.
_VIEW: Final = """
    SELECT {run}, {now}, {claims}, {newer},
        (
            SELECT string_agg(
                '[' || i.number || ',"' || i.kind || '",' || to_json(i.key)::text || ',' || i.data || ',' || i.at || ']',
                ',' ORDER BY i.number
            )
            FROM {inbox} i WHERE i.run_id = r.run_id
        )
"""
# What is read is as old as the statement, and the claim may have waited for somebody's commit: then what the turn decides is
# refused for the version, as if that commit had come right after.
_BEGIN: Final = f"WITH {_CLAIMED} {_VIEW} FROM claimed c JOIN {{runs}} r ON r.run_id = c.run_id"
_READ: Final = f"{_VIEW} FROM {{runs}} r WHERE r.run_id = %(run_id)s"
_CLAIMS: Final = """
    coalesce((SELECT t.attempt FROM {tasks} t WHERE t.run_id = r.run_id AND t.kind = 'turn' AND t.seq = 0), 0)
"""


class PostgresTurns(Turns):
    """Turns in one round trip to begin, one to read."""

    def __init__(self, db: Database, access: Access, texts: Texts) -> None:
        super().__init__(db, access)
        newer = texts.newer(_SINCE)
        self._beginning = texts(_BEGIN, not_synchronous=NOT_SYNCHRONOUS, claims="c.attempt", newer=newer)
        self._reading = texts(_READ, claims=_CLAIMS.format(**texts.parts), newer=newer)

    def begin(self, run_id: str, *, token: str, lease: Micros, known: tuple[str, int] | None) -> TurnView | None:
        """Claim the run's turn, and read what it needs."""
        return self._look(self._beginning, {"run_id": run_id, "token": token, "lease": lease}, known)

    def read(self, run_id: str, *, known: tuple[str, int] | None) -> TurnView | None:
        """Read what a turn needs, from one snapshot."""
        return self._look(self._reading, {"run_id": run_id}, known)

    def _look(self, statement: Raw, values: Mapping[str, Any], known: tuple[str, int] | None) -> TurnView | None:
        epoch, version = known or ("", 0)
        values = {**values, "epoch": epoch, "version": version}
        row = self._db.single(lambda session: session.row(statement, values))
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
