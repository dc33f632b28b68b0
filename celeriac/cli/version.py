"""``celeriac version``: what to say in a bug report."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from celeriac.cli.options import json_option
from celeriac.cli.screen import Screen


@click.command("version")
@json_option
@click.pass_context
def version(ctx: click.Context, *, as_json: bool) -> None:
    """Print the versions of celeriac, of what it stands on, and of Python."""
    found = versions()
    screen = Screen.of(ctx)
    if as_json:
        screen.json(found)
    else:
        others = ", ".join(f"{name} {number}" for name, number in found.items() if name != "celeriac")
        screen.say(f"celeriac {found['celeriac']} ({others})")


def versions() -> dict[str, str]:
    """Return names and versions, celeriac's first."""
    names = ("celeriac", "celery", "kombu", "redis", "sqlalchemy")
    return {**{name: _version(name) for name in names}, "python": platform.python_version()}


def _version(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:  # run from a checkout
        return "(not installed)"
