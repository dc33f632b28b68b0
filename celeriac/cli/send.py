"""What is told to a run: signals, cancel, terminate, pause, resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from celeriac.cli.access import durable
from celeriac.cli.options import JsonValue, id_argument, json_option, reason_option
from celeriac.cli.screen import Screen
from celeriac.cli.text import visible
from celeriac.orchestrator.executor import Signal

if TYPE_CHECKING:
    from celeriac.orchestrator.client import Client
    from celeriac.payloads import Json


@click.command("signal")
@id_argument
@click.argument("name")
@click.argument("payload", type=JsonValue(), default="null", metavar="[PAYLOAD]")
@click.option("--key", metavar="TEXT", help="The same key again is the same signal.  [default: a random one]")
@json_option
@click.pass_context
def signal(ctx: click.Context, *, workflow_id: str, name: str, payload: Json, key: str | None, as_json: bool) -> None:
    """Send a signal. PAYLOAD is JSON. Once this command ends well the signal can't be lost."""
    client = durable(ctx, definitions=True).client
    declared = client.registry.signal_type(name)
    value = payload if declared is None else declared.read(payload)
    client.signal(workflow_id, Signal(name=name, payload=value, key=key))
    _done(ctx, client, workflow_id, f"signal {name!r} recorded", as_json=as_json)


@click.command("cancel")
@id_argument
@reason_option
@json_option
@click.pass_context
def cancel(ctx: click.Context, *, workflow_id: str, reason: str, as_json: bool) -> None:
    """Ask a run to stop. Its code decides how, and may clean up."""
    client = durable(ctx).client
    client.cancel(workflow_id, reason)
    _done(ctx, client, workflow_id, "cancel requested", as_json=as_json)


@click.command("terminate")
@id_argument
@reason_option
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@json_option
@click.pass_context
def terminate(ctx: click.Context, *, workflow_id: str, reason: str, yes: bool, as_json: bool) -> None:
    """End a run at once. None of its code runs, so nothing is cleaned up; rather try to cancel it."""
    client = durable(ctx).client
    run = client.describe(workflow_id)
    if run.status.open and not yes:
        who = f"{visible(run.workflow_id)} ({visible(run.name)}, {run.status.value})"
        click.confirm(f"Terminate {who}? Its own cleaning up will not happen", abort=True, err=True)
    client.terminate(workflow_id, reason)
    _done(ctx, client, workflow_id, "terminated", as_json=as_json)


@click.command("pause")
@id_argument
@json_option
@click.pass_context
def pause(ctx: click.Context, *, workflow_id: str, as_json: bool) -> None:
    """Keep a run from going on until it is resumed.

    It goes on taking signals, and activities under way come to their end.
    """
    client = durable(ctx).client
    client.pause(workflow_id)
    _done(ctx, client, workflow_id, "paused", as_json=as_json)


@click.command("resume")
@id_argument
@json_option
@click.pass_context
def resume(ctx: click.Context, *, workflow_id: str, as_json: bool) -> None:
    """Let a paused run go on, or have a blocked one tried again at once."""
    client = durable(ctx).client
    client.resume(workflow_id)
    _done(ctx, client, workflow_id, "resumed", as_json=as_json)


def _done(ctx: click.Context, client: Client, workflow_id: str, what: str, *, as_json: bool) -> None:
    run = client.describe(workflow_id)
    screen = Screen.of(ctx)
    if as_json:
        screen.json({"id": run.workflow_id, "run_id": run.run_id, "status": run.status.value, "done": what})
    else:
        screen.say((visible(run.workflow_id), "bold"), f"  {visible(what)}")
