"""The relay's part on PostgreSQL: what differs from the portable path."""

from __future__ import annotations

from typing import Final

from celeriac.orchestrator.status import TaskKind
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.postgres.texts import NOT_SYNCHRONOUS, Texts
from celeriac.stores.sql.relay import Relay
from celeriac.stores.sql.transactions import Database

_REMOVE: Final = """
    DELETE FROM {tasks} t WHERE t.run_id = %(run_id)s AND t.kind = %(kind)s AND t.seq = %(seq)s RETURNING {not_synchronous}
"""


class PostgresRelay(Relay):
    """Removes a row without waiting for the disk: one that a crash brings back is carried out once more."""

    def __init__(self, db: Database, access: Access, texts: Texts) -> None:
        super().__init__(db, access)
        self._remove = texts(_REMOVE, not_synchronous=NOT_SYNCHRONOUS)

    def remove(self, run_id: str, kind: TaskKind, seq: int) -> bool:
        """Delete a row, whoever has claimed it."""
        values = {"run_id": run_id, "kind": kind.value, "seq": seq}
        return self._db.single(lambda session: session.row(self._remove, values)) is not None
