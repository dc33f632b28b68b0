"""What workflow code asks for: commands, imperative, numbered in program order.

A command is a wish; the engine alone makes it a fact by committing the event that :meth:`Command.recorded` gives.
On replay the wish is held against the fact: :meth:`Command.agrees` says whether the history has the same one there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from celeriac.frozen import quick
from celeriac.orchestrator import events
from celeriac.payloads import Json


@dataclass(frozen=True, slots=True)
class Command:
    """Something that workflow code asks for.

    :param number: its place among all commands of the run, in program order, from 1. What was taken back within one
        step leaves a gap.
    """

    number: int

    effect: ClassVar[type[events.Effect]] = events.Effect
    """What records it."""

    def recorded(self) -> events.Effect:
        """Return the event that records this command."""
        raise NotImplementedError

    def agrees(self, effect: events.Effect) -> bool:
        """Say whether a recorded effect is this command's: same kind, same number, same name.

        Arguments, durations and timeouts may differ; the recorded ones stand.
        """
        return type(effect) is self.effect and effect.command == self.number

    def phrase(self) -> str:
        """Name the command the way its author would, for messages."""
        return describe(self.recorded())


@quick
@dataclass(frozen=True, slots=True)
class ScheduleActivity(Command):
    """Run an activity."""

    activity: str
    args: list[Json]
    kwargs: dict[str, Json]
    options: dict[str, Json]

    def recorded(self) -> events.ActivityScheduled:
        """Return ``activity_scheduled``."""
        return events.ActivityScheduled(self.number, self.activity, self.args, self.kwargs, self.options)

    def agrees(self, effect: events.Effect) -> bool:
        """Compare kind, number and the activity's name."""
        return (
            isinstance(effect, events.ActivityScheduled)
            and effect.command == self.number
            and effect.activity == self.activity
        )


@dataclass(frozen=True, slots=True)
class CancelActivity(Command):
    """Give up on an activity that an earlier step scheduled."""

    activity: int
    reason: str = ""
    wait: bool = False
    """The code waits until the activity has stopped."""

    def recorded(self) -> events.ActivityCancelRequested:
        """Return ``activity_cancel_requested``."""
        return events.ActivityCancelRequested(self.number, self.activity, self.reason)

    def agrees(self, effect: events.Effect) -> bool:
        """Compare kind, number and target."""
        return (
            isinstance(effect, events.ActivityCancelRequested)
            and effect.command == self.number
            and effect.activity == self.activity
        )


@quick
@dataclass(frozen=True, slots=True)
class StartTimer(Command):
    """Wake the run at ``fire_at`` (microseconds since the epoch)."""

    fire_at: int

    effect = events.TimerStarted

    def recorded(self) -> events.TimerStarted:
        """Return ``timer_started``."""
        return events.TimerStarted(self.number, self.fire_at)


@dataclass(frozen=True, slots=True)
class CancelTimer(Command):
    """Forget a timer that an earlier step started."""

    timer: int

    def recorded(self) -> events.TimerCanceled:
        """Return ``timer_canceled``."""
        return events.TimerCanceled(self.number, self.timer)

    def agrees(self, effect: events.Effect) -> bool:
        """Compare kind, number and target."""
        return isinstance(effect, events.TimerCanceled) and effect.command == self.number and effect.timer == self.timer


@dataclass(frozen=True, slots=True)
class RecordSideEffect(Command):
    """Keep what a side effect returned."""

    value: Json

    effect = events.SideEffectRecorded

    def recorded(self) -> events.SideEffectRecorded:
        """Return ``side_effect_recorded``."""
        return events.SideEffectRecorded(self.number, self.value)


@dataclass(frozen=True, slots=True)
class MarkPatch(Command):
    """Take the new side of a patch."""

    patch: str

    def recorded(self) -> events.PatchMarked:
        """Return ``patch_marked``."""
        return events.PatchMarked(self.number, self.patch)

    def agrees(self, effect: events.Effect) -> bool:
        """Compare kind, number and the patch's name."""
        return isinstance(effect, events.PatchMarked) and effect.command == self.number and effect.patch == self.patch


@dataclass(frozen=True, slots=True)
class CompleteWorkflow(Command):
    """End the run with a result."""

    result: Json

    effect = events.WorkflowCompleted

    def recorded(self) -> events.WorkflowCompleted:
        """Return ``workflow_completed``."""
        return events.WorkflowCompleted(self.number, self.result)


@dataclass(frozen=True, slots=True)
class FailWorkflow(Command):
    """End the run with a failure."""

    failure: dict[str, Json]

    effect = events.WorkflowFailed

    def recorded(self) -> events.WorkflowFailed:
        """Return ``workflow_failed``."""
        return events.WorkflowFailed(self.number, self.failure)


@dataclass(frozen=True, slots=True)
class CancelWorkflow(Command):
    """End the run as canceled."""

    reason: str = ""

    effect = events.WorkflowCanceled

    def recorded(self) -> events.WorkflowCanceled:
        """Return ``workflow_canceled``."""
        return events.WorkflowCanceled(self.number, self.reason)


def local(activity: str, number: int) -> str:
    """Put a call of a local activity into words."""
    return f"local activity {activity!r} (command {number})"


def describe(effect: events.Effect) -> str:
    """Put a recorded command into words, such as ``activity 'shop.charge' (command 3)``."""
    match effect:
        case events.ActivityScheduled(activity=name):
            what = f"activity {name!r}"
        case events.ActivityCancelRequested(activity=target):
            what = f"cancel of activity {target}"
        case events.TimerStarted():
            what = "timer"
        case events.TimerCanceled(timer=target):
            what = f"cancel of timer {target}"
        case events.SideEffectRecorded():
            what = "side effect"
        case events.PatchMarked(patch=name):
            what = f"patch {name!r}"
        case events.WorkflowCompleted():
            what = "return of the workflow"
        case events.WorkflowFailed(failure=failure):
            what = f"failure of the workflow ({failure.get('type')}: {failure.get('message')})"
        case events.WorkflowCanceled():
            what = "cancellation of the workflow"
        case _:
            what = effect.tag
    return f"{what} (command {effect.command})"
