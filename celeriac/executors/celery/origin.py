"""How a run gets back to the one who started it through Celery: the execution options of its task, kept with the run.

The last message with the task's own id carries them again, so that Celery itself does links, chains, chords and errbacks.
What the run's activities are to carry too stands beside them, under ``carried``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from celery import Celery
from kombu.exceptions import EncodeError
from kombu.utils import json

from celeriac.errors import InvalidCall
from celeriac.executors.celery.headers import HEADER
from celeriac.payloads import Json

_DUMPS: Final[Callable[[Any], str]] = json.dumps
_LOADS: Final[Callable[[str], Any]] = json.loads
"""JSON as messages have it: with dates, decimals and UUIDs."""
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
_SHOWN: Final = ("argsrepr", "kwargsrepr", "headers")
"""What is kept besides."""
_NO_STAMP: Final = frozenset(
    (
        *_KEPT,
        *_SHOWN,
        *("task_id", "name", "args", "kwargs", "countdown", "eta", "expires", "retries", "callbacks", "errbacks"),
        *("time_limit", "soft_time_limit", "create_sent_event", "now", "timezone", "producer", "message", "exchange"),
        *("routing_key", "queue", "event_dispatcher", "retry", "retry_policy", "serializer", "delivery_mode"),
        *("compression", "declare", "exchange_type", "timeout", "confirm_timeout", "content_type", "content_encoding"),
    )
)
"""What a stamp may not be called: it is an option of sending, and whoever stamps a task is not to choose the serializer."""


def from_options(
    app: Celery, task_id: str, workflow_id: str, options: Mapping[str, Any], shown: Mapping[str, str]
) -> dict[str, Json]:
    """Return what to keep of the options that a workflow was started with.

    :param shown: ``argsrepr`` and ``kwargsrepr``, for those who watch.
    :raises InvalidCall: a later link holds a value that JSON lacks.
    """
    kept = _chosen(options)
    parent = app.current_worker_task
    if parent is not None and not parent.request.called_directly:
        kept.setdefault("root_id", parent.request.root_id or parent.request.id)
        kept.setdefault("parent_id", parent.request.id)
    kept.setdefault("reply_to", app.thread_oid)
    return _pack(task_id, {**kept, **shown}, options.get("headers"), named=workflow_id != task_id)


def from_request(request: Any, *, named: bool = False) -> dict[str, Json]:
    """Return the same of a task that is being executed.

    :param named: the workflow id is another than the task's.
    """
    options = request.as_execution_options()
    kept = _chosen(options)
    priority = (request.delivery_info or {}).get("priority")
    if priority:
        kept["priority"] = priority
    if request.ignore_result:
        kept["ignore_result"] = True
    for name in ("argsrepr", "kwargsrepr"):
        if getattr(request, name, None):
            kept[name] = getattr(request, name)
    return _pack(request.id, kept, custom_headers(request), named=named)


def custom_headers(request: Any) -> dict[str, Any]:
    """Return the headers of a message that are neither Celery's nor ours: a tenant's, a trace's."""
    return {name: value for name, value in (request.headers or {}).items() if name != HEADER}


def _chosen(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be kept of options, and may be sent again."""
    kept = {name: options[name] for name in _KEPT if options.get(name) is not None}
    listed = kept.pop("stamped_headers", None)
    stamps = listed if isinstance(listed, (list, tuple)) else ()
    named = [name for name in stamps if isinstance(name, str) and name in options and name not in _NO_STAMP]
    return {**kept, **({"stamped_headers": named} if named else {}), **{name: options[name] for name in named}}


def _pack(task_id: str, kept: dict[str, Any], headers: Any, *, named: bool) -> dict[str, Json]:
    own = {name: value for name, value in (headers or {}).items() if name != HEADER}
    if own:
        kept["headers"] = own
    try:
        packed: dict[str, Json] = {"task_id": task_id, "options": _DUMPS(kept)}
        carried = _carried(task_id, kept, own, named=named)
    except (EncodeError, TypeError, ValueError) as error:
        raise InvalidCall(
            f"the workflow can't be started with these options, because a later link could not be sent: {error}. "
            f"Arguments of links, chains and chords must be JSON"
        ) from None
    return {**packed, "carried": carried} if carried else packed


def _carried(task_id: str, kept: Mapping[str, Any], headers: Mapping[str, Any], *, named: bool) -> dict[str, Json]:
    """Return what goes with every activity of the run, where it can't be told from the workflow id."""
    carried: dict[str, Json] = {}
    if named:
        carried["parent_id"] = task_id
    if named or kept.get("root_id", task_id) != task_id:
        carried["root_id"] = kept.get("root_id", task_id)
    if headers:
        carried["headers"] = _DUMPS(headers)
    return carried


def carried_options(data: Mapping[str, Json], workflow_id: str) -> dict[str, Any]:
    """Return the options of ``apply_async`` that an activity has from its workflow's start.

    :param data: the data of the activity's row.
    """
    carried = data.get("carried") or {}
    parent = carried.get("parent_id", workflow_id)
    found: dict[str, Any] = {"parent_id": parent, "root_id": carried.get("root_id", parent)}
    if "headers" in carried:
        found["headers"] = _LOADS(carried["headers"])
    return found


def unpack(origin: Mapping[str, Json]) -> tuple[str, dict[str, Any]]:
    """Return the task id and the options that were kept; of what stands there no more than :func:`_chosen` keeps."""
    options = _LOADS(origin["options"])
    return origin["task_id"], {**_chosen(options), **{name: options[name] for name in _SHOWN if name in options}}
