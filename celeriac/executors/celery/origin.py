"""How a run gets back to the one who started it through Celery: the execution options of its task, kept with the run.

The last message with the task's own id carries them again, so that Celery itself does links, chains, chords and errbacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from celery import Celery
from kombu.exceptions import EncodeError
from kombu.utils.json import dumps, loads

from celeriac.errors import InvalidCall
from celeriac.executors.celery.headers import HEADER
from celeriac.payloads import Json

_KEPT: Final = (
    "root_id",
    "parent_id",
    "group_id",
    "group_index",
    "shadow",
    "chord",
    "chain",
    "link",
    "link_error",
    "reply_to",
    "replaced_task_nesting",
    "origin",
    "ignore_result",
    "priority",
    "stamped_headers",
)
"""What is kept of a task's options: not expires, eta, limits and retries, which were the start's alone."""


def from_options(app: Celery, task_id: str, options: Mapping[str, Any], shown: Mapping[str, str]) -> dict[str, Json]:
    """Return what to keep of the options that a workflow was started with.

    :param shown: ``argsrepr`` and ``kwargsrepr``, for those who watch.
    :raises InvalidCall: a later link holds a value that JSON lacks.
    """
    kept = {name: options[name] for name in _KEPT if options.get(name) is not None}
    kept.update({name: options[name] for name in options.get("stamped_headers") or () if name in options})
    parent = app.current_worker_task
    if parent is not None and not parent.request.called_directly:
        kept.setdefault("root_id", parent.request.root_id or parent.request.id)
        kept.setdefault("parent_id", parent.request.id)
    kept.setdefault("reply_to", app.thread_oid)
    return _pack(task_id, {**kept, **shown}, options.get("headers"))


def from_request(request: Any) -> dict[str, Json]:
    """Return the same of a task that is being executed."""
    options = request.as_execution_options()
    kept = {name: options[name] for name in _KEPT if options.get(name) is not None}
    kept.update({name: options[name] for name in options.get("stamped_headers") or () if name in options})
    if request.ignore_result:
        kept["ignore_result"] = True
    for name in ("argsrepr", "kwargsrepr"):
        if getattr(request, name, None):
            kept[name] = getattr(request, name)
    return _pack(request.id, kept, options.get("headers"))


def _pack(task_id: str, kept: dict[str, Any], headers: Any) -> dict[str, Json]:
    own = {name: value for name, value in (headers or {}).items() if name != HEADER}
    if own:
        kept["headers"] = own
    try:
        return {"task_id": task_id, "options": dumps(kept)}
    except (EncodeError, TypeError, ValueError) as error:
        raise InvalidCall(
            f"the workflow can't be started with these options, because a later link could not be sent: {error}. "
            f"Arguments of links, chains and chords must be JSON"
        ) from None


def unpack(origin: Mapping[str, Json]) -> tuple[str, dict[str, Any]]:
    """Return the task id and the options that were kept."""
    return origin["task_id"], loads(origin["options"])
