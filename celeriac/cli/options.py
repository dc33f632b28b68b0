"""Options and arguments that several commands have, and the kinds of values they take."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from celeriac.payloads import Json

    _ParamType = click.ParamType[Any]
else:  # in older releases of click it takes no parameter
    _ParamType = click.ParamType

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; it is kept in the history.")
id_argument = click.argument("workflow_id", metavar="ID")
_UNITS: Final = {"d": 86_400, "h": 3600, "min": 60, "m": 60, "s": 1, "": 1}


class JsonValue(_ParamType):
    """A value written as JSON.

    :param kind: the type it has to be, or None for any.
    """

    name = "json"

    def __init__(self, kind: type | None = None) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Json:
        """Read a value, or say how it would be written right."""
        if not isinstance(value, str):
            return value
        try:
            read = json.loads(value, parse_constant=_refuse)
        except ValueError as error:
            hint = f" A text is written with its quotes: '{json.dumps(value)}'" if "'" not in value else ""
            self.fail(f"{value!r} is not JSON: {error}.{hint}", param, ctx)
        if self.kind is dict and not isinstance(read, dict):
            self.fail(f"{value!r} is no JSON object. Write one like '{{\"cents\": 4200}}'", param, ctx)
        return read


def _refuse(word: str) -> Any:
    raise ValueError(f"JSON has no {word}")


class Seconds(_ParamType):
    """A number of seconds above zero.

    :param alone: what the option means without a value; a hint is given on how the two are told apart.
    """

    name = "seconds"

    def __init__(self, *, alone: bool = False) -> None:
        self.alone = alone

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number."""
        try:
            seconds = float(value)
        except ValueError:
            hint = ". Write --wait=30, or --wait as the last word" if self.alone else ""
            self.fail(f"{value!r} is no number of seconds{hint}", param, ctx)
        if not seconds > 0:
            self.fail(f"{value!r}: a number of seconds above zero", param, ctx)
        return seconds


class Age(_ParamType):
    """A length of time: ``30d``, ``12h``, ``90min``, or a number of seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it as seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(d|h|min|m|s|)", str(value))
        if found is None:
            self.fail(f"{value!r} is no age. Write one like 30d, 12h, 90min or 3600", param, ctx)
        return float(found[1]) * _UNITS[found[2]]
