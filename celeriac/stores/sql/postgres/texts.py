"""The statements' texts: tables by name, the time, and rows that travel as one JSON parameter."""

from __future__ import annotations

from typing import Final

from celeriac.orchestrator.events import HistoryEvent
from celeriac.payloads import from_text
from celeriac.stores.sql.postgres.direct import Direct
from celeriac.stores.sql.statements import NOW, Raw
from celeriac.stores.sql.transactions import Database
from celeriac.stores.sql.values import HEAD, REF, RUN, TASK

NOT_SYNCHRONOUS: Final = "set_config('synchronous_commit', 'off', true)"
"""Lets the transaction that calls it end without waiting for the disk: for claims that may be lost in a crash."""


class Texts:
    """Makes statements for one store.

    In a text ``{runs}``, ``{tasks}``, ``{events}`` and ``{inbox}`` stand for the tables, ``{now}`` for the time in
    microseconds; ``{run}``, ``{ref}`` and ``{task}`` for columns as ``values`` reads them, of tables called ``r`` and ``t``.
    """

    def __init__(self, db: Database) -> None:
        tables = db.tables
        quoted = db.dialect.identifier_preparer.format_table
        self._injected = db.injected is not None
        self.parts: dict[str, str] = {
            "runs": quoted(tables.runs),
            "tasks": quoted(tables.tasks),
            "events": quoted(tables.events),
            "inbox": quoted(tables.inbox),
            # Read once in a statement, and not before its locks are taken where that matters.
            "now": f"%({NOW})s::bigint"
            if self._injected
            else "(extract(epoch from clock_timestamp()) * 1000000)::bigint",
            "run": ", ".join(f"r.{name}" for name in RUN),
            "head": ", ".join(f"r.{name}" for name in HEAD),
            "ref": ", ".join(f"r.{name}" for name in REF),
            "task": ", ".join(f"t.{name}" for name in TASK),
        }

    def newer(self, since: str) -> str:
        """Return what selects the events of run ``r`` beyond a version, for :func:`events_of`.

        They come as JSON, made by joining texts: what is in ``data`` is JSON already.
        """
        return f"""(
            SELECT string_agg(
                '[' || e.number || ',"' || e.type || '",' || e.at || ',' || e.data || ',' || e.version || ','
                || coalesce(to_json(e.key)::text, 'null') || ']', ',' ORDER BY e.number
            )
            FROM {self.parts["events"]} e WHERE e.run_id = r.run_id AND e.number > {since}
        )"""  # noqa: S608 - of texts that are written here

    def __call__(self, template: str, **more: str) -> Raw:
        """Fill a template in."""
        text = " ".join(template.format(**self.parts, **more).split())
        return Direct(text, wants_now=self._injected and f"%({NOW})s" in text)


def events_of(found: str | None) -> list[HistoryEvent]:
    """Read what :meth:`Texts.newer` has selected."""
    return [HistoryEvent(*each) for each in from_text(f"[{found}]")] if found else []


FENCE: Final = """
    t.run_id = %(run_id)s AND t.kind = %(kind)s AND t.seq = %(seq)s AND coalesce(t.token, '') = %(token)s
"""
"""A task row as one claim left it."""
