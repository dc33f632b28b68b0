"""``workflow query``: ask a run, open or closed, without leaving a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from celeriac.cli.access import durable
from celeriac.cli.data import event_document
from celeriac.cli.options import JsonValue, id_argument, json_option
from celeriac.cli.screen import Screen
from celeriac.cli.text import pretty, visible
from celeriac.errors import PayloadError
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.queries import BUILT_IN
from celeriac.payloads import plain

if TYPE_CHECKING:
    from celeriac.payloads import Json


@click.command("query", epilog=f"Every workflow answers: {', '.join(BUILT_IN)}.")
@id_argument
@click.argument("name")
@click.argument("args", nargs=-1, type=JsonValue())
@json_option
@click.pass_context
def query(ctx: click.Context, *, workflow_id: str, name: str, args: tuple[Json, ...], as_json: bool) -> None:
    """Ask a run a question. ARGS are JSON."""
    client = durable(ctx, definitions=True).client
    answer = _recordable(client.query(workflow_id, name, *args))
    screen = Screen.of(ctx)
    if as_json:
        screen.json({"id": workflow_id, "query": name, "answer": answer})
    elif isinstance(answer, str):
        screen.console.print(visible(answer, lines=True), soft_wrap=True)
    else:
        screen.console.print(pretty(answer), soft_wrap=True)


def _recordable(answer: Any) -> Json:
    """Return an answer as JSON; of what has no such form, how Python shows it."""
    if isinstance(answer, list) and answer and isinstance(answer[0], HistoryEvent):
        return [event_document(each) for each in answer]
    try:
        return plain(answer)
    except PayloadError:
        return repr(answer)
