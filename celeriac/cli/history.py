"""A history as a table whose rows may also come one by one, as they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from celeriac.cli.text import offset
from celeriac.cli.words import Narrator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.orchestrator.events import HistoryEvent

_NUMBER_WIDTH: Final = 4
_OFFSET_WIDTH: Final = 12  # "+14d 3:04:05"
_WHAT_WIDTH: Final = 25  # "activity cancel requested"


class HistoryTable:
    """Turns events into rows; the columns of every piece are the same.

    :param limit: how many characters of a value are shown, on one line that ends where the terminal does; None
        for all, on as many lines as they take.
    """

    def __init__(self, *, limit: int | None) -> None:
        self._full = limit is None
        self._narrator = Narrator(limit)
        self._start: int | None = None

    def heading(self) -> Table:
        """Return the columns' titles."""
        columns = _columns()
        columns.add_row(*(Text(word, "bold dim") for word in ("#", "time", "event", "details")))
        return columns

    def rows(self, events: Sequence[HistoryEvent]) -> Table:
        """Return the next events of the history."""
        columns = _columns()
        for event in events:
            if self._start is None:
                self._start = event.at
            phrase = self._narrator.tell(event)
            columns.add_row(
                Text(str(event.number), "dim"),
                Text(offset(event.at - self._start), "dim"),
                Text(phrase.what, phrase.style),
                # The text and not the column is what may not be folded: a column that may not takes room from the others.
                Text(
                    phrase.details,
                    "dim" if phrase.style == "dim" else "",
                    no_wrap=not self._full,
                    overflow="fold" if self._full else "ellipsis",
                ),
            )
        return columns


def _columns() -> Table:
    columns = Table.grid(padding=(0, 2, 0, 0))
    columns.add_column(justify="right", min_width=_NUMBER_WIDTH, no_wrap=True)
    columns.add_column(justify="right", min_width=_OFFSET_WIDTH, no_wrap=True)
    columns.add_column(min_width=_WHAT_WIDTH, no_wrap=True)
    columns.add_column(overflow="fold")
    return columns
