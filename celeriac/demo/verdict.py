"""Whether it went as it has to, by the histories, the ledger and the files."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac.demo import ledger
from celeriac.demo.play import APPROVALS
from celeriac.errors import WorkflowFailedError
from celeriac.orchestrator import events
from celeriac.orchestrator.attempts import activity_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.demo.ledger import Execution
    from celeriac.demo.play import Play
    from celeriac.orchestrator.events import HistoryEvent
    from celeriac.orchestrator.model import Run


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one run.

    :param wrong: what is not as it has to be; empty when all is.
    :param result: the result in a few words.
    :param activities: how many activities its history has.
    :param executions: how many executions the ledger has of them.
    """

    workflow_id: str
    result: str
    activities: int
    executions: int
    wrong: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether all is right."""
        return not self.wrong


def judge(play: Play) -> list[Verdict]:
    """Judge every run of a play."""
    executions = ledger.read(play.stage.ledger)
    return [_judge(play, each.run, executions) for each in play.runs.values()]


def _judge(play: Play, run: Run, executions: Sequence[Execution]) -> Verdict:
    history = play.client.store.history(run.run_id)
    own = [each for each in executions if each.activity_id.startswith(f"{run.run_id}-")]
    scheduled = [each for each in history if each.type == events.ActivityScheduled.tag]
    try:
        value = play.client.outcome(play.client.describe(run.run_id))
    except WorkflowFailedError as error:
        return Verdict(run.workflow_id, "no result", len(scheduled), len(own), [str(error)])
    wrong = [*recorded_once(history), *as_executed(run.run_id, history, own), *_approved_once(run, history)]
    if run.workflow_id in APPROVALS:
        result, faults = _order(run, value)
    else:
        result, faults = _pictures(play, value)
    return Verdict(run.workflow_id, result, len(scheduled), len(own), [*wrong, *faults])


def recorded_once(history: Sequence[HistoryEvent]) -> list[str]:
    """Say what is wrong where not every activity has exactly one outcome, a good one."""
    outcomes = Counter(each.data["activity"] for each in history if each.type == events.ActivityCompleted.tag)
    failed = [each for each in history if each.type == events.ActivityFailed.tag]
    scheduled = [each.data["command"] for each in history if each.type == events.ActivityScheduled.tag]
    wrong = [f"activity #{each} has {outcomes[each]} outcomes" for each in scheduled if outcomes[each] != 1]
    return wrong + [f"activity #{each.data['activity']} failed" for each in failed]


def as_executed(run_id: str, history: Sequence[HistoryEvent], own: Sequence[Execution]) -> list[str]:
    """Say what is wrong where not every activity was executed at least once, or one that was not scheduled."""
    scheduled = [each for each in history if each.type == events.ActivityScheduled.tag]
    wanted = {activity_id(run_id, each.data["command"]) for each in scheduled}
    found = {each.activity_id for each in own}
    wrong = [f"{each} was never executed" for each in sorted(wanted - found)]
    wrong += [f"{each} was executed and never scheduled" for each in sorted(found - wanted)]
    calls = sum(each.name == "shop.charge" for each in own)
    return wrong + (["the bank was asked less than three times"] if 0 < calls < 3 else [])  # noqa: PLR2004


def _approved_once(run: Run, history: Sequence[HistoryEvent]) -> list[str]:
    """Say what is wrong where an approval is not recorded once, however often it was published."""
    times = sum(each.type == events.SignalReceived.tag for each in history)
    wanted = 1 if run.workflow_id in APPROVALS else 0
    return [] if times == wanted else [f"{times} signals recorded, not {wanted}"]


def _order(run: Run, receipt: Any) -> tuple[str, list[str]]:
    approved = APPROVALS[run.workflow_id]
    payment = f"payment-{run.run_id[:8]}"
    parcel = f"parcel-{run.workflow_id}" if approved else None
    right = (run.workflow_id, payment, parcel, not approved)
    words = f"paid, {parcel}" if receipt.parcel else "not approved, refunded"
    found = (receipt.order, receipt.payment, receipt.parcel, receipt.refunded)
    return words, [] if found == right else [f"the receipt is {found}, not {right}"]


def _pictures(play: Play, pictures: Sequence[Any]) -> tuple[str, list[str]]:
    from PIL import Image  # noqa: PLC0415 - only here

    from celeriac.demo.pictures import SIZES  # noqa: PLC0415 - reads the environment that the stage sets

    wrong = []
    for each in pictures:
        original = Path(play.stage.pictures, each.name)
        if hashlib.sha256(original.read_bytes()).hexdigest() != each.sha256:
            wrong.append(f"the checksum of {each.name} is wrong")
        for file, size in zip(each.thumbnails, SIZES, strict=True):
            with Image.open(file) as image, Image.open(original) as whole:
                if max(image.size) != min(size, max(whole.size)):
                    wrong.append(f"{file} is {image.size}")
    there = sorted(play.stage.thumbnails.glob("*.png"))
    if len(there) != len(pictures) * len(SIZES):
        wrong.append(f"{len(there)} thumbnails for {len(pictures)} pictures")
    return f"{len(pictures)} checksums, {len(there)} thumbnails", wrong


def done_again(play: Play) -> list[str]:
    """Say what is wrong with what the kill interrupted: it must have been executed again."""
    executions = ledger.read(play.stage.ledger)
    wrong = []
    for each in play.interrupted:
        others = [one for one in executions if one.activity_id == each.activity_id and one.ended]
        if not others:
            wrong.append(f"{each.name}, interrupted on {each.worker}, was never done again")
    return wrong if play.interrupted else ["nobody was killed: the work was over too soon"]
