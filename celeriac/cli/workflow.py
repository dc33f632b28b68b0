"""``celery -A proj workflow ...``: a plug-in of Celery's own command line."""

from __future__ import annotations

import click

from celeriac.cli.groups import Group


@click.group(
    cls=Group,
    commands_in={
        "start": "start:start",
        "list": "listing:list_",
        "show": "show:show",
        "signal": "send:signal",
        "query": "query:query",
        "cancel": "send:cancel",
        "terminate": "send:terminate",
        "pause": "send:pause",
        "resume": "send:resume",
        "migrate": "schema:migrate",
        "purge": "purge:purge",
        "doctor": "doctor:doctor",
    },
)
def workflow() -> None:
    """Start durable workflows, look at them, and tell them things."""
