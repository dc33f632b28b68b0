"""Runs an activity's function for a claimed attempt, in this process. Executors that have runners of their own don't need it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from celeriac.activities.context import ActivityCanceled, running
from celeriac.activities.definition import ActivityDefinition
from celeriac.errors import PayloadError, UnknownDefinition
from celeriac.failures import failure_of
from celeriac.orchestrator.attempts import AttemptEnd, Attempts
from celeriac.orchestrator.model import Claim
from celeriac.payloads import Arguments, check_size


def run_attempt(
    attempts: Attempts,
    claim: Claim,
    activity: ActivityDefinition,
    call: Callable[..., Any] | None = None,
    *,
    inline: bool = False,
) -> bool:
    """Run a claimed attempt to its end and record that. False when its outcome came too late.

    :param call: what to call instead of the activity's own function (mocks).
    """
    context = attempts.context(claim)
    try:
        fn = call or activity.fn
        if fn is None:
            raise UnknownDefinition("activity", activity.name)  # noqa: TRY301 - the attempt's outcome like any other
        data = claim.task.data
        args, kwargs = activity.read(Arguments(data.get("args", ()), data.get("kwargs", {})))
        with running(context):
            value = fn(*args, **kwargs)
            if asyncio.iscoroutine(value):
                value = asyncio.run(value)
    except KeyboardInterrupt:
        attempts.release(claim)
        raise
    except BaseException as error:  # noqa: BLE001 - whatever an activity raises is its outcome
        # asyncio turns an ActivityCanceled that leaves a coroutine into a CancelledError.
        if isinstance(error, ActivityCanceled) or (context.canceled and isinstance(error, asyncio.CancelledError)):
            return attempts.canceled(claim.task, claim.fence)
        return attempts.raised(claim, error, inline=inline) is not AttemptEnd.REFUSED
    return record_result(attempts, claim, activity, value, inline=inline)


def record_result(
    attempts: Attempts,
    claim: Claim,
    activity: ActivityDefinition,
    value: Any,
    *,
    inline: bool = False,
    elapsed: float = 0.0,
) -> bool:
    """Record what an activity returned; a value that can't be recorded fails it for good.

    :param elapsed: seconds since the claim.
    """
    try:
        what = f"result of activity {activity.name!r}"
        result = activity.result.write(value, what)
        check_size(result, attempts.engine.definitions.max_payload, what)
    except PayloadError as error:
        failure = {**failure_of(error, stack=False), "non_retryable": True}
        return attempts.failed(claim.task, claim.run, claim.fence, failure, inline=inline) is not AttemptEnd.REFUSED
    return attempts.completed(claim, result, inline=inline, elapsed=elapsed)
