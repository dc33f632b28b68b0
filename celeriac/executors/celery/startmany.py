"""Starting a workflow many times at once: one transaction and one trip to the broker for a few hundred."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from celeriac.errors import InvalidCall, StaleWrite, WorkflowIdInUse
from celeriac.executors.celery import forbidden
from celeriac.executors.celery.onetrip import in_one_trip
from celeriac.executors.celery.starting import OWN, Start, broker_is_away
from celeriac.executors.celery.straight import Letter
from celeriac.orchestrator import many
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.orchestrator.given import arguments_of
from celeriac.orchestrator.model import Created, CreateOutcome

if TYPE_CHECKING:
    from celeriac.executors.celery.workflows import WorkflowTask

_LOG: Final = logging.getLogger("celeriac.workflows")

_FORMS: Final = "a dict such as {'args': (...), 'workflow_id': '...'}"


@dataclass(frozen=True, slots=True)
class _Checked:
    """A start whose arguments fit.

    :param wish: the run that it asks for, where it can be one of many.
    """

    start: Start
    wish: many.Wish | None


def start_many(task: WorkflowTask, starts: Iterable[Any]) -> list[Any]:
    """Start a workflow many times, and return for each start, in order, its result or what refused it.

    :raises InvalidCall, PayloadError: arguments that do not fit; nothing was started.
    """
    forbidden.refuse_to_start(task.name)
    calls = [call_of(task, place, each) for place, each in enumerate(starts)]
    checked = [_check(task, place, call) for place, call in enumerate(calls)]
    publisher = _Publisher(task)
    results: list[Any] = []
    for stretch in _stretches(checked):
        with many.among(len(results), len(checked)):
            if stretch[0].wish is None:
                results.append(or_refusal(functools.partial(stretch[0].start.carry_out, task.sender())))
            else:
                results += _together(task, stretch, publisher)
    return results


def call_of(task: WorkflowTask, place: int, given: Any) -> dict[str, Any]:
    """Return what ``apply_async`` would be called with."""
    if isinstance(given, (tuple, list)):
        return {"args": given}
    if isinstance(given, WorkflowOptions):
        own = {name: getattr(given, name) for name in OWN if name != "start_key"}
        args, kwargs = arguments_of(task.definition, given)
        return {**own, "args": args, "kwargs": kwargs, "task_id": given.start_key, "workflow_id": given.id}
    if not isinstance(given, Mapping):
        raise many.neither(place, given, _FORMS)
    if "task" not in given:
        return dict(given)
    if given["task"] != task.name:
        raise InvalidCall(f"starts[{place}] is a signature of {given['task']!r}, not of {task.name!r}")
    return {**(given.get("options") or {}), "args": given.get("args"), "kwargs": given.get("kwargs")}


def _check(task: WorkflowTask, place: int, call: dict[str, Any]) -> _Checked:
    with many.at(place):
        start = task.prepare(**call)
        return _Checked(start, start.wish() if start.is_plain else None)


def _stretches(checked: Sequence[_Checked]) -> Iterator[Sequence[_Checked]]:
    """Yield, in order, what can be written together, and by itself what can't."""
    stretch: list[_Checked] = []
    for each in checked:
        if stretch and (each.wish is None or len(stretch) == many.CHUNK):
            yield stretch
            stretch = []
        if each.wish is None:
            yield [each]
        else:
            stretch.append(each)
    if stretch:
        yield stretch


def _together(task: WorkflowTask, stretch: Sequence[_Checked], publisher: _Publisher) -> list[Any]:
    made = task.runtime.client.create_many([each.wish for each in stretch if each.wish is not None])
    publisher.publish(
        [
            (each.start, created)
            for each, created in zip(stretch, made, strict=True)
            if isinstance(created, Created) and created.outcome is CreateOutcome.CREATED
        ]
    )
    return [
        each.start.result(created) if isinstance(created, Created) else created
        for each, created in zip(stretch, made, strict=True)
    ]


class _Publisher:
    """Publishes starts that have been recorded, until the broker turns out to be away: relays do the rest then."""

    def __init__(self, task: WorkflowTask) -> None:
        self._task = task
        self._away = False

    def publish(self, recorded: Sequence[tuple[Start, Created]]) -> None:
        if self._away or not recorded or self._as_letters(recorded):
            return
        try:
            with self._task.app.producer_or_acquire() as producer:
                send = functools.partial(self._each, recorded, producer)
                # A start that comes twice is one.
                if not in_one_trip(producer, send, log=_LOG, what=f"{len(recorded)} starts"):
                    send()
                recorded[0][0].learn(producer)
        except broker_is_away(self._task) as error:
            self._away = True
            _LOG.warning("workflows are recorded; their starts will be published later: %s", error)

    def _as_letters(self, recorded: Sequence[tuple[Start, Created]]) -> bool:
        """Push the starts as letters; False where one has no straight way, or may not have arrived."""
        letters: list[Letter] = []
        for start, created in recorded:
            letter = start.letter(created)
            if letter is None:
                return False
            letters.append(letter)
        for start, _ in recorded:
            start.listen()
        return self._task.runtime.dispatcher.quick.push(letters)

    def _each(self, recorded: Sequence[tuple[Start, Created]], producer: Any) -> None:
        send = self._task.sender(producer)
        for start, created in recorded:
            start.publish(created, send)


def or_refusal(start: Callable[[], Any]) -> Any:
    """Return what a start returns, or what refused it."""
    try:
        return start()
    except (WorkflowIdInUse, StaleWrite) as error:
        return error
