"""Options whose names are almost ours: Celery takes any name, and what is meant for a workflow would silently do nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from celeriac.errors import InvalidCall

NEAR: Final = 0.75
"""How much of two names has to agree, by difflib's ratio; Celery's own names agree less."""
_CELERYS: Final = frozenset(
    {
        "chain", "chord", "compression", "connection", "countdown", "delivery_mode", "eta", "exchange", "expires", "group_id",
        "group_index", "headers", "ignore_result", "immediate", "link", "link_error", "mandatory", "parent_id", "priority",
        "queue", "replaced_task_nesting", "reply_to", "retries", "retry", "retry_policy", "root_id", "route_name", "router",
        "routing_key", "serializer", "shadow", "soft_time_limit", "stamped_headers", "stamps", "task_id", "time_limit",
        "workflow_id",
    }
)  # fmt: skip


def refuse_misspelt(names: Iterable[str], own: Iterable[str], what: str) -> None:
    """Refuse a name that is almost one of ours.

    :param own: our names.
    :param what: whose options they are, for the message.
    :raises InvalidCall: with the name that is meant.
    """
    for name in names:
        if name in _CELERYS:
            continue
        near = difflib.get_close_matches(name, [*own], n=1, cutoff=NEAR)
        if near and near[0] != name:
            raise InvalidCall(f"{what} has no option {name!r}. Did you mean {near[0]!r}?")
