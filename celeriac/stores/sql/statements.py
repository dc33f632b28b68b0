"""Statements: written with SQLAlchemy Core, compiled once, run on the driver's own cursor.

Core makes one text for each dialect and quotes what needs quoting; executing through it would cost more CPU
than the rest of a claim. So a :class:`Statement` keeps the text and the order of its parameters, and that is
all that is left at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from sqlalchemy import ARRAY, BigInteger, BindParameter, ColumnElement, Text, bindparam, literal_column
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import ClauseElement

T = TypeVar("T")

_PREFIX: Final = "p_"
"""Core reserves the bare names of columns in INSERT and UPDATE for itself."""
NOW: Final = "now"
"""The parameter that carries the time of an injected or host clock."""


def text(name: str) -> BindParameter[str]:
    """Return a parameter that takes a text or None."""
    return bindparam(_PREFIX + name, type_=Text())


def number(name: str) -> BindParameter[int]:
    """Return a parameter that takes a whole number or None."""
    return bindparam(_PREFIX + name, type_=BigInteger())


def texts(name: str) -> BindParameter[Sequence[str]]:
    """Return a parameter that takes a list of texts as one value, where the database has such values."""
    return bindparam(_PREFIX + name, type_=ARRAY(Text))


def word(value: str) -> ColumnElement[str]:
    """Return one of our own words, a status or kind, as it stands in the statement's text."""
    if not value.replace("_", "").isalnum():  # never a value from outside
        raise ValueError(f"{value!r} is no word")
    return literal_column(f"'{value}'", type_=Text())


ONE: Final[ColumnElement[int]] = literal_column("1", type_=BigInteger())


class Statement:
    """A statement for one dialect.

    :param columns: for a bare INSERT: the columns that get a parameter of the same name.
    """

    __slots__ = ("_constants", "_order", "text", "wants_now")

    def __init__(self, clause: ClauseElement, dialect: Dialect, columns: Sequence[str] | None = None) -> None:
        compiled: Any = clause.compile(dialect=dialect, column_keys=columns)
        self._order: Sequence[str] | None = None
        if compiled.positional:
            self._order = [name.removeprefix(_PREFIX) for name in compiled.positiontup]
        self.text = str(compiled).replace(f"%({_PREFIX}", "%(")
        self.wants_now = _PREFIX + NOW in compiled.binds
        # Numbers that stand in the clause itself; Core makes parameters of them too.
        self._constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def rows(self, *_: Any, **__: Any) -> list[Sequence[Any]] | None:
        """Return None: these have no shorter way than the driver's cursor."""
        return None

    def bind(self, values: Mapping[str, Any]) -> Any:
        """Return the parameters as the driver takes them."""
        if self._constants:
            values = {**values, **self._constants}
        order = self._order
        return values if order is None else [values[name] for name in order]


class Raw:
    """A statement written out for one database, its parameters named as the driver names them.

    :param wants_now: it has a parameter for the time of an injected clock.
    """

    __slots__ = ("text", "wants_now")

    def __init__(self, text: str, *, wants_now: bool) -> None:
        self.text = text
        self.wants_now = wants_now

    def bind(self, values: Mapping[str, Any]) -> Any:
        """Return the parameters as the driver takes them."""
        return values

    def rows(self, *_: Any, **__: Any) -> list[Sequence[Any]] | None:
        """Run the statement a shorter way and return its rows; None where there is none: then it has not been run."""
        return None


class Family:
    """A statement that comes in sizes: one text for every power of two, so that few texts are ever prepared.

    :param build: makes the statement for a number of elements.
    """

    __slots__ = ("sized",)

    MAX: Final = 128
    """Elements in one statement; more are cut into several."""

    def __init__(self, build: Callable[[int], ClauseElement], dialect: Dialect) -> None:
        self.sized = lru_cache(maxsize=None)(lambda size: Statement(build(size), dialect))

    def fit(self, elements: Sequence[Mapping[str, Any]]) -> tuple[Statement, dict[str, Any]]:
        """Return the statement for these elements and its parameters, each name with the element's place
        behind it.

        The last element is repeated to fill the size up, which a condition that lists alternatives does not
        notice.
        """
        size = 1 << (len(elements) - 1).bit_length()
        padded = [*elements, *[elements[-1]] * (size - len(elements))]
        values = {f"{name}_{place}": value for place, one in enumerate(padded) for name, value in one.items()}
        return self.sized(size), values


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut a sequence into pieces of at most ``size``."""
    return [items[start : start + size] for start in range(0, len(items), size)]
