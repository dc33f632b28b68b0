"""``workflow start``: start a run, and wait for its result if that is wanted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from celeriac.cli.access import durable
from celeriac.cli.data import run_document
from celeriac.cli.options import JsonValue, Seconds, json_option
from celeriac.cli.screen import Screen
from celeriac.cli.startmany import start_from
from celeriac.cli.text import pretty, visible
from celeriac.errors import InvalidCall
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.orchestrator.model import IdConflict, IdReuse
from celeriac.payloads import Arguments

if TYPE_CHECKING:
    from celeriac.orchestrator.client import Client
    from celeriac.orchestrator.executor import WorkflowHandle
    from celeriac.payloads import Json


@click.command("start")
@click.argument("name")
@click.option("--id", "workflow_id", metavar="ID", help="The workflow id.  [default: a random one]")
@click.option("--arg", "args", multiple=True, type=JsonValue(), help="An argument; may be repeated.")
@click.option("--kwargs", type=JsonValue(dict), help="Arguments by name, as a JSON object.")
@click.option("--input", "input_", type=JsonValue(), help="Short for the one --arg.")
@click.option(
    "--from",
    "file",
    type=click.File(encoding="utf-8"),
    help="Start many, a JSON document a line: an array of arguments, or an object with args, kwargs, id. - is standard input.",
)
@click.option(
    "--id-conflict",
    type=click.Choice([each.value for each in IdConflict]),
    default=IdConflict.FAIL.value,
    show_default=True,
    help="What to do when the id belongs to an open run.",
)
@click.option(
    "--id-reuse",
    type=click.Choice([each.value for each in IdReuse]),
    default=IdReuse.ALLOW.value,
    show_default=True,
    help="Whether the id of closed runs may be taken again.",
)
@click.option("--timeout", type=Seconds(), help="The longest the run may take, in seconds.")
@click.option(
    "--wait",
    type=Seconds(alone=True),
    is_flag=False,
    flag_value=math.inf,
    help="Wait for the result, at most so many seconds where a number is given.",
)
@json_option
@click.pass_context
def start(
    ctx: click.Context,
    /,
    *,
    name: str,
    args: tuple[Json, ...],
    kwargs: dict[str, Json] | None,
    input_: Json,
    file: Any,
    wait: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Start a workflow by its name, once or many times. Arguments are JSON: --arg '"A-17"' --arg 4200."""
    has_input = ctx.get_parameter_source("input_") is not click.core.ParameterSource.DEFAULT  # which may be null
    if args and has_input:
        raise click.UsageError("--input is short for the one --arg; give one of them")
    if file is not None and (args or kwargs or has_input or options["workflow_id"] or wait is not None):
        raise click.UsageError("--from takes arguments and ids from its lines, and does not wait")
    if file is not None:
        del options["workflow_id"]
        client = durable(ctx, definitions=True).client
        start_from(Screen.of(ctx), client, name, file, as_json=as_json, **options)
        return
    given = Arguments([input_] if has_input else list(args), kwargs or {})
    client = durable(ctx, definitions=True).client
    handle = _execute(ctx.obj.app, client, name, given, options)
    screen = Screen.of(ctx)
    if not as_json:
        screen.say("started ", (visible(handle.id), "bold"), ("  run " + visible(handle.run_id), "dim"))
    if wait is None:
        if as_json:
            screen.json({"id": handle.id, "run_id": handle.run_id, "name": name})
        return
    client.result(handle.run_id, None if math.isinf(wait) else wait)  # raises what went wrong
    run = client.describe(handle.run_id)
    if as_json:
        screen.json(run_document(run))
    else:
        screen.console.print(pretty(run.result), soft_wrap=True)


def _execute(app: Any, client: Client, name: str, given: Arguments, options: dict[str, Any]) -> WorkflowHandle[Any]:
    definition = client.definition(name)
    signature = definition.signature
    try:
        signature.signature.bind(*given.args, **given.kwargs)
    except TypeError as error:
        raise InvalidCall(f"{signature.label} takes {signature.signature}: {error}") from None
    args, kwargs = signature.read(given)
    task = app.tasks.get(definition.name)
    if task is None or app.conf.task_always_eager:  # an eager app would run it here, and leave nothing behind
        options["id"] = options.pop("workflow_id")
        return client.execute(definition, WorkflowOptions(args=args, kwargs=kwargs, **options))
    handle: WorkflowHandle[Any] = task.apply_async(args, kwargs, **options).handle
    return handle
