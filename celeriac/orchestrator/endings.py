"""What attempts are called and how timeouts end them, wherever they run."""

from __future__ import annotations

from celeriac.activities.options import ActivityOptions
from celeriac.failures import Failure


def activity_id(run_id: str, seq: int) -> str:
    """Return the name of one activity of one run: its Celery task id, the same for all its attempts."""
    return f"{run_id}-{seq}"


def schedule_to_close_failure(options: ActivityOptions) -> Failure:
    """Return the failure of an activity whose whole time is up."""
    return timeout_failure(
        "schedule_to_close", f"was not done within {options.schedule_to_close:g} s, retries included"
    )


def timeout_failure(kind: str, message: str) -> Failure:
    """Return the failure of a timeout."""
    return {"type": "ActivityTimeoutError", "message": message, "timeout": kind}
