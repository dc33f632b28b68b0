"""``workflow start --from FILE``: many runs of one workflow, a line each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from celeriac.cli.text import count, visible
from celeriac.errors import CeleriacError, InvalidCall
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.payloads import Arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from celeriac.cli.screen import Screen
    from celeriac.orchestrator.client import Client
    from celeriac.orchestrator.definition import WorkflowDefinition

_KEYS: Final = ("args", "kwargs", "id", "memo", "attributes")
_CHUNK: Final = 1000
"""Starts between two movements of the bar."""


def start_from(
    screen: Screen, client: Client, name: str, lines: Iterable[str], *, as_json: bool, **common: Any
) -> None:
    """Start a run for each line, all lines checked before the first start, and tell of those that were refused.

    :param common: what all of them have, as ``WorkflowOptions`` has it.
    :raises click.exceptions.Exit: with 1, some were refused.
    """
    definition = client.definition(name)
    starts = dict(_read(definition, lines, common))
    refused: list[dict[str, Any]] = []
    numbers, options = list(starts), list(starts.values())
    for place, each in enumerate(_started(client, definition, options)):
        if isinstance(each, Exception):
            refused.append({"line": numbers[place], "id": options[place].id, "message": str(each)})
    started = len(options) - len(refused)
    if as_json:
        screen.json({"name": definition.name, "started": started, "refused": refused})
    else:
        screen.say(f"{count(started, 'run')} started")
        for line in refused:
            screen.say((f"line {line['line']}: {visible(line['message'])}", "red"))
    if refused:
        raise click.exceptions.Exit(1)


def _started(client: Client, definition: WorkflowDefinition, starts: Sequence[WorkflowOptions]) -> Iterator[Any]:
    console = Console(stderr=True)
    columns = TextColumn("starting"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("starting", total=len(starts))
        for begin in range(0, len(starts), _CHUNK):
            chunk = starts[begin : begin + _CHUNK]
            yield from client.start_many(definition, chunk, return_exceptions=True)
            progress.advance(bar, len(chunk))


def _read(
    definition: WorkflowDefinition, lines: Iterable[str], common: dict[str, Any]
) -> Iterator[tuple[int, WorkflowOptions]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, _options(definition, json.loads(line), common)
        except (CeleriacError, ValueError) as error:
            raise click.UsageError(f"line {number}: {visible(str(error))}. Nothing was started") from None


def _options(definition: WorkflowDefinition, written: Any, common: dict[str, Any]) -> WorkflowOptions:
    if isinstance(written, list):
        written = {"args": written}
    if not isinstance(written, dict) or not written.keys() <= set(_KEYS):
        raise InvalidCall(f"an array of arguments, or an object with some of {', '.join(_KEYS)}, not {written!r}")
    given = Arguments(written.get("args") or [], written.get("kwargs") or {})
    try:
        definition.signature.signature.bind(*given.args, **given.kwargs)
    except TypeError as error:
        raise InvalidCall(f"{definition.signature.label} takes {definition.signature.signature}: {error}") from None
    args, kwargs = definition.signature.read(given)
    rest = {name: written[name] for name in ("id", "memo", "attributes") if name in written}
    return WorkflowOptions(args=args, kwargs=kwargs, **rest, **common)
