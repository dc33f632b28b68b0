"""The command groups: what goes wrong is told in a sentence, never as a traceback.

Celery loads this with every ``celery`` command, workers included; so the commands themselves are imported
when they are asked for, and nothing here costs much.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import click

from celeriac.errors import CeleriacError, Held, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


class Group(click.Group):
    """A group of commands whose errors are messages on standard error.

    Exit codes: 0 done, 1 it could not be done, 2 the command was written wrong.

    :param commands_in: where each command is found: ``module:attribute``, the module one of ``celeriac.cli``.
    """

    def __init__(self, *args: Any, commands_in: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = dict(commands_in or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they are declared."""
        return [*self._places, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None when there is none of that name."""
        place = self._places.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        found: click.Command = getattr(importlib.import_module(f"celeriac.cli.{module}"), attribute)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except (CeleriacError, Held) as error:
            raise _told(str(error)) from None
        except Exception as error:
            if sys.flags.dev_mode:
                raise
            raise _told(
                f"{type(error).__name__}: {error}\n"
                f"This was not expected. To see where it comes from, set PYTHONDEVMODE=1 and try again."
            ) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was asked for, or name the one that was meant."""
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            hint = did_you_mean(name, known) or f" There are: {', '.join(known)}."
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


def _told(message: str) -> click.ClickException:
    from celeriac.cli.text import visible  # noqa: PLC0415 - needed rarely

    return click.ClickException(visible(message, lines=True))
