"""``celeriac ...``: what needs no app of yours."""

from __future__ import annotations

import click

from celeriac.cli.groups import Group


@click.group(
    cls=Group,
    commands_in={"demo": "demo:demo", "version": "version:version", "completion": "completion:completion"},
    context_settings={"help_option_names": ["-h", "--help"]},
)
def main() -> None:
    """Durable workflows on the Celery, Redis and database you already run.

    The commands for your own workflows come with Celery's: celery -A yourapp workflow --help
    """
