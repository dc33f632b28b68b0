"""A recorded failure, its causes below it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

import celeriac.failures
from celeriac.cli.text import brief, visible
from celeriac.failures import summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.failures import Failure

_FRAMES: Final = 3
"""How many frames of each stack are shown, the innermost ones that are not celeriac's."""
_CELERIAC: Final = str(Path(celeriac.failures.__file__).parent)


def failure_text(failure: Failure, *, full: bool = False) -> Text:
    """Return a failure with its causes and where each was raised.

    :param full: with whole stacks and details.
    """
    return Text("\n").join(_lines(failure, full=full))


def _lines(failure: Failure, *, full: bool) -> Iterator[Text]:
    causes = list(_chain(failure))
    for depth, each in enumerate(causes):
        lead = "" if depth == 0 else "caused by "
        repeated = depth + 1 < len(causes) and summary(causes[depth + 1]) in summary(each)
        message = visible(summary(each), lines=True)
        yield Text.assemble((lead, "dim"), (message, "red" if depth == 0 or not repeated else ""))
        yield from _particulars(each, full=full)


def _particulars(failure: Failure, *, full: bool) -> Iterator[Text]:
    if failure.get("details") is not None:
        yield Text(f"  details {brief(failure['details'], None if full else 200)}", "dim")
    stack = [str(frame) for frame in failure.get("stack") or []]
    own = [frame for frame in stack if not frame.startswith(_CELERIAC)]
    for frame in stack if full else own[-_FRAMES:]:
        yield Text(f"  {visible(frame)}", "dim")
    for other in failure.get("others") or []:
        yield Text(f"  and {visible(summary(other))}", "dim")


def _chain(failure: Failure) -> Iterator[Failure]:
    current: Any = failure
    while isinstance(current, dict):
        yield current
        current = current.get("cause")
