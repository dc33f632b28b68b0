"""The store's clock as an SQL expression: whole microseconds since the epoch.

On a server it is the server's, read by the statement that needs it, so that no host's clock matters. SQLite
has none of its own: there, and where a clock is injected for a test, the time travels as the statement's
parameter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, literal_column

from celeriac.stores.sql.statements import NOW, number

Clock = Callable[[], int]
"""Returns microseconds since the epoch."""

# Not clock_timestamp(): a statement that uses the time twice means one time.
POSTGRESQL: Final = "(extract(epoch from statement_timestamp()) * 1000000)::bigint"
MYSQL: Final = "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))"
_EXPRESSIONS: Final = {"postgresql": POSTGRESQL, "mysql": MYSQL, "mariadb": MYSQL}


def host_clock() -> int:
    """Return the host's time in microseconds since the epoch."""
    return time.time_ns() // 1000


def store_now(dialect: str, injected: Clock | None) -> ColumnElement[int]:
    """Return the expression for now.

    :param dialect: the name of SQLAlchemy's dialect.
    :param injected: the clock in force instead of the server's, or None.
    """
    expression = _EXPRESSIONS.get(dialect) if injected is None else None
    return number(NOW) if expression is None else literal_column(expression, type_=BigInteger())
