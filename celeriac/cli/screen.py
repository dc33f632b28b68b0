"""Where the commands write to: a terminal, in colours and within its width, or a pipe, plain and wide."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from celeriac.cli.text import visible

if TYPE_CHECKING:
    import click
    from rich.console import RenderableType

_PIPE_WIDTH: Final = 10_000
"""Columns of what is no terminal: nobody's ids are broken or cut there."""


class Screen:
    """Writes to standard output.

    :param color: False for none even on a terminal.
    """

    def __init__(self, *, color: bool = True) -> None:
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:  # an old terminal gets "\u2026" for what its character set lacks, not a traceback
            reconfigure(errors="backslashreplace")
        self.console = Console(no_color=not color or None, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = _PIPE_WIDTH

    @classmethod
    def of(cls, ctx: click.Context) -> Screen:
        """Return the screen of a command; ``celery --no-color`` is obeyed."""
        return cls(color=not getattr(ctx.obj, "no_color", False))

    @property
    def wide(self) -> bool:
        """Whether what is written is not folded at a terminal's width."""
        return not self.console.is_terminal

    def write(self, *renderables: RenderableType) -> None:
        """Write tables and texts, one below the other."""
        if self.console.is_terminal:
            self.console.print(*renderables, sep="\n")
            return
        with self.console.capture() as captured:
            self.console.print(*renderables, sep="\n")
        lines = (line.rstrip() for line in captured.get().split("\n"))  # a table's cells are filled up with blanks
        self.console.file.write("\n".join(lines))
        self.console.file.flush()

    def say(self, *parts: str | tuple[str, str]) -> None:
        """Write a line of texts, each plain or with a style, with what could steer a terminal written out."""
        shown = [
            visible(each, lines=True) if isinstance(each, str) else (visible(each[0], lines=True), each[1])
            for each in parts
        ]
        self.console.print(Text.assemble(*shown), soft_wrap=True)

    def json(self, document: Any) -> None:
        """Write one JSON document: ASCII, so that nothing in it can steer a terminal."""
        text = json.dumps(document, indent=2, default=str).replace(
            "\x7f", "\\u007f"
        )  # the one that json leaves as it is
        sys.stdout.write(text + "\n")


def plain(text: str, style: str = "") -> Text:
    """Return what somebody else wrote as a text without markup and without control characters."""
    return Text(visible(text), style)
