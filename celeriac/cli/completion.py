"""``celeriac completion``: what makes a shell complete the words of both commands."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from celeriac.cli.groups import Group

_HOW: Final = {
    "bash": 'eval "$(celeriac completion bash)"    in ~/.bashrc',
    "zsh": 'eval "$(celeriac completion zsh)"     in ~/.zshrc, below compinit',
    "fish": "celeriac completion fish | source     in ~/.config/fish/config.fish",
}


@click.command("completion", epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(list(_HOW)))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete `celeriac ...` and `celery ... workflow ...`."""
    found = get_completion_class(shell)
    if found is None:  # a click without this shell
        raise click.ClickException(f"this release of click knows no completion for {shell}")
    for program in ("celeriac", "celery"):
        complete = found(Group(program), {}, program, f"_{program.upper()}_COMPLETE")
        click.echo(complete.source())
