"""What to do about a run that is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.payloads import Json

_DEPLOY: Final = "It goes on by itself when workers with code that fits are up; `workflow resume` has it tried at once."

_BY_REASON: Final[Mapping[str, str]] = {
    "NonDeterminismError": "Put back what the history records, or keep both sides as shown above, and "
    f"deploy. {_DEPLOY}",
    "ForbiddenCallError": f"Move the call into an activity and deploy. {_DEPLOY}",
    "TurnAbandoned": "Move the long work into an activity, or the wait to `await ctx.sleep(...)`, and "
    f"deploy. {_DEPLOY}",
    "NoWorker": "Start a worker that has this workflow in this version and consumes its queue; `workflow "
    "doctor` names queues that nobody consumes.",
    "UnreadablePayload": "Have the type read what was recorded (a default for a new field, a validator) and "
    f"deploy. {_DEPLOY}",
    "UnreadableHistory": "A newer celeriac has written this history. Upgrade celeriac on the workers.",
    "BlockedByChoice": "The workflow declares (`blocks_on`) that this error holds it. Mend what it says. " + _DEPLOY,
    "RuntimeFault": "This is a mistake of celeriac's own. Please report it together with the run's "
    "`workflow show --json`.",
    "Held": "Look into the workers' logs for what ends them (memory, a crash in an extension module). "
    "`workflow resume` has it tried again; `workflow terminate` ends it.",
}


def advice(blocked: Mapping[str, Json]) -> str:
    """Return what to do about the reason for which a run is held."""
    return _BY_REASON.get(str(blocked.get("reason")), _DEPLOY)
