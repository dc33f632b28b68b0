"""The versions of the tables, and which code works with which.

A version is a number of four digits, the first two of which are its generation. Within a generation later tables only have more
to them, such as an index, or a column that may be empty. So code of an earlier version works with them, and workers of two
releases run side by side while a deploy goes through. What earlier code could not work with begins a new generation.
"""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Column, MetaData, String, Table

HEAD: Final = "0002"
"""The version that this celeriac makes, and the earliest one that it works with."""
HOW: Final = "run: celery -A yourapp workflow migrate"


def is_ours(found: str | None) -> bool:
    """Whether it is a version that this celeriac can bring up to :data:`HEAD`, or that one."""
    return found is not None and re.fullmatch(r"\d{4}", found) is not None and found <= HEAD


def is_later(found: str | None) -> bool:
    """Whether it is a later one that this celeriac works with all the same."""
    return found is not None and re.fullmatch(f"{HEAD[:2]}\\d\\d", found) is not None and found > HEAD


def is_fit(found: str | None) -> bool:
    """Whether this celeriac works with tables of a version."""
    return found == HEAD or is_later(found)


def is_strange(found: str | None) -> bool:
    """Whether tables of a version are none that this celeriac may touch."""
    return found is not None and not is_ours(found) and not is_later(found)


def difference(found: str | None) -> str:
    """Say what is the matter with tables of a version that is not fit, and what to do."""
    if found is None:
        return f"the store's tables are not there yet; {HOW}"
    if is_ours(found):
        return f"the store's tables are of version {found}, this celeriac needs {HEAD}; {HOW}"
    return (
        f"the store's tables are of version {found}, which this celeriac (up to {HEAD}) does not know; upgrade celeriac"
    )


def version_table(prefix: str, schema: str | None) -> Table:
    """Describe the table that holds the version, as Alembic makes it."""
    return Table(f"{prefix}alembic_version", MetaData(), Column("version_num", String(32)), schema=schema)
