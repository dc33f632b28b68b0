"""What the outside does to a run: starts, signals, cancellations, questions, each at its time, retried as clients do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from celeriac.errors import QueryFailed, StoreError, WorkflowClosed, WorkflowIdInUse
from celeriac.orchestrator.client import run_ref
from celeriac.orchestrator.executor import Signal, WorkflowOptions
from celeriac.orchestrator.many import Wish
from celeriac.orchestrator.model import Created, CreateOutcome, IdConflict, IdReuse
from celeriac.orchestrator.ports import TurnReady
from celeriac.testing.simulate.acting import BUMP, TYPED
from celeriac.testing.simulate.programs import Node, walk
from celeriac.testing.simulate.scheduler import Violation

if TYPE_CHECKING:
    from celeriac.testing.simulate.process import Process
    from celeriac.testing.simulate.world import World

T = TypeVar("T")
NOISE: Final = "noise"
"""A signal that nobody waits for."""
ECHO: Final = "echo"
"""One that is published on the channel, so that every worker hears it."""
CHANNEL: Final = "channel"
"""The sender of those that are published on the channel; in no order."""
MANY: Final = 16
"""In one world of so many, runs are started among others."""
Deed = tuple[float, Callable[[], None]]
"""When (seconds after the start) and what."""


@dataclass(slots=True)
class Sent:
    """A signal as it was sent.

    :param number: its place among those of its sender.
    :param acknowledged: whether the sender was told that it is recorded.
    """

    name: str
    payload: str
    sender: str
    number: int
    key: str | None
    acknowledged: bool = False


@dataclass(slots=True)
class Story:
    """One run: its program, what was done to it, and what its senders know.

    :param asked: what somebody asked for: ``cancel``, ``terminate``, ``timeout``.
    :param busy: how many clients have not finished with it.
    """

    workflow_id: str
    name: str
    tree: Node
    run_id: str = ""
    sent: list[Sent] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    busy: int = 1

    def acknowledged(self, name: str) -> int:
        """Return how many signals of a name their senders know to be recorded."""
        return sum(each.acknowledged for each in self.sent if each.name == name)


class Clients:
    """The clients of one run: whoever starts it, its senders, those who ask and those who stop it."""

    def __init__(self, world: World, process: Process, story: Story) -> None:
        self.world = world
        self.dice = world.dice
        self.process = process
        self.client = process.client
        self.story = story
        self._echoed = 0
        self._effects = any(each["kind"] == "effect" for each in walk(story.tree))

    def begin(self) -> None:
        """Start the run; the others begin once it is there."""
        plans = self._plans()
        self.story.busy = 1 + len(plans)
        self.process.act("start", partial(self._start, plans))

    def _start(self, plans: dict[str, list[Deed]]) -> None:
        story, dice = self.story, self.dice
        timeout = dice.span(1, 3000) if dice.chance(0.04) else None
        if timeout is not None:
            story.asked.add("timeout")
        options = WorkflowOptions(id=story.workflow_id, start_key=story.workflow_id, timeout=timeout)
        origin = {"started by": "sim"} if dice.chance(0.4) else None
        definition = self.client.definition(story.name)
        arguments = definition.signature.write((json.dumps(story.tree),), {})
        wish = partial(self.client.wish, definition, arguments, options, origin=origin)
        if self.world.seed % MANY == 0:
            created = self._among_others(wish)
        else:
            created = self._insist(lambda: self.client.create(definition, arguments, options, origin=origin))
        if created.outcome is CreateOutcome.CREATED:
            self.client.engine.publish([TurnReady(run_ref(created.run))])
        story.run_id = created.run.run_id
        for name, plan in plans.items():
            self.world.hub.later(0, partial(self.process.act, name, partial(self._follow, plan)))
        story.busy -= 1

    def _among_others(self, wish: Callable[[], Wish]) -> Created:
        """Start it as one of many: twice by its key, of which one counts, and beside one that its id refuses."""
        other = replace(wish().new, start_key="another start", id_reuse=IdReuse.NEVER)  # nor that of one that has ended
        many = [wish(), wish(), Wish(other, IdConflict.FAIL)]
        first, again, refused = self._insist(lambda: self.client.create_many(many))
        if not isinstance(first, Created) or not isinstance(again, Created) or first.run.run_id != again.run.run_id:
            raise Violation(f"one start, made twice, came to {first} and {again}")
        if again.outcome is not CreateOutcome.SAME_START or not isinstance(refused, WorkflowIdInUse):
            raise Violation(f"the same start came to {again}, another with its id to {refused}")
        return first

    def _follow(self, plan: list[Deed]) -> None:
        begin = self.world.clock.now
        for when, do in plan:
            wait = when - (self.world.clock.now - begin) / 1e6
            if wait > 0:
                self.world.hub.sleep(wait)
            do()
        self.story.busy -= 1

    def _insist(self, call: Callable[[], T]) -> T:
        """Call until the store answers."""
        while True:
            try:
                return call()
            except StoreError:
                self.world.hub.sleep(self.dice.span(0.05, 20))

    # -- plans -----------------------------------------------------------------------------------------------------

    def _plans(self) -> dict[str, list[Deed]]:
        dice, plans = self.dice, {}
        first, second = self._signals()
        plans["sender a"] = self._timed(first, "a")
        if second:
            plans["sender b"] = self._timed(second, "b")
        if dice.chance(0.15):
            plans["canceler"] = [(self._when(), self._cancel) for _ in range(dice.pick((1, 1, 2)))]
        if dice.chance(0.15):
            plans["asker"] = [(self._when(), self._ask) for _ in range(dice.whole(1, 2))]
        if dice.chance(0.07):
            pause = self._when()
            plans["pauser"] = [(pause, self._pause), (pause + dice.span(0.1, 200), self._resume)]
        if dice.chance(0.03):
            plans["terminator"] = [(self._when(), self._terminate)]
        if dice.chance(0.15):
            plans["publisher"] = [(self._when(), self._publish) for _ in range(dice.whole(1, 2))]
        for plan in plans.values():
            plan.sort(key=lambda deed: deed[0])
        return plans

    def _when(self) -> float:
        return self.dice.span(0.001, 1000) if self.dice.chance(0.8) else 0.0

    def _signals(self) -> tuple[list[str], list[str]]:
        """Share out among two senders the names of the signals that the program needs, and some that it does not."""
        needed: list[list[str]] = []
        bumps = 0
        for node in walk(self.story.tree):
            if node["kind"] == "signal" and (node["timeout"] is None or self.dice.chance(0.6)):
                needed.append([f"s{node['id']}"])
            elif node["kind"] == "stream":
                needed.append([f"s{node['id']}"] * node["count"])
            elif node["kind"] == "until" and (node["timeout"] is None or self.dice.chance(0.6)):
                bumps = max(bumps, node["bumps"])
        needed += [[BUMP]] * (bumps if bumps or self.dice.chance(0.7) else 2)
        if self.dice.chance(0.3):
            needed += [[NOISE]] * self.dice.whole(1, 6)
        shared: tuple[list[str], list[str]] = ([], [])
        for names in needed:
            shared[self.dice.chance(0.3)].extend(names)
        return shared

    def _timed(self, names: list[str], sender: str) -> list[Deed]:
        style = self.dice.pick(("at once", "spread", "flood"))
        begin = 0.0 if style == "at once" else self._when()
        deeds: list[Deed] = []
        for name in names:
            when = self._when() if style == "spread" else begin
            key = self.dice.chance(0.6)
            deeds.append((when, partial(self._signal, name, sender, keyed=key)))
        return deeds

    # -- deeds -----------------------------------------------------------------------------------------------------

    def _signal(self, name: str, sender: str, *, keyed: bool) -> None:
        """Send a signal until it is known to be recorded: with a key the same one, without one another one."""
        sent = self._sent(name, sender, keyed=keyed)
        while True:
            try:
                signal = Signal(name=name, payload=sent.payload, sender_id=sender, key=sent.key)
                self.client.signal(self.story.workflow_id, signal)
            except WorkflowClosed:
                return
            except StoreError:
                self.world.hub.sleep(self.dice.span(0.05, 20))
                if not keyed:
                    sent = self._sent(name, sender, keyed=False)
            else:
                sent.acknowledged = True
                return

    def _sent(self, name: str, sender: str, *, keyed: bool) -> Sent:
        number = sum(each.sender == sender for each in self.story.sent) + 1
        payload = f"{sender}{number}"
        sent = Sent(name, payload, sender, number, f"key {payload}" if keyed else None)
        self.story.sent.append(sent)
        return sent

    def _publish(self) -> None:
        """Publish a signal on the channel, with an id: all workers that hear it record it, once."""
        self._echoed += 1
        name = self.dice.pick((ECHO, TYPED))  # of the second kind every other one does not fit what is declared
        payload = f"echo{self._echoed}" if name == ECHO or self.dice.chance(0.5) else self._echoed
        signal = Signal(name=name, payload=payload, sender_id=CHANNEL, key=f"echo {self._echoed}")
        for worker in self.world.workers:
            call = partial(worker.hear, self.story.workflow_id, signal)
            self.world.hub.later(self.dice.pick((0.0, 0.0, self.dice.span(0.001, 5))), call)

    def _cancel(self) -> None:
        self.story.asked.add("cancel")
        self._unless_closed(lambda: self.client.cancel(self.story.workflow_id, "enough"))

    def _terminate(self) -> None:
        self.story.asked.add("terminate")
        self._unless_closed(lambda: self.client.terminate(self.story.workflow_id, "now"))

    def _pause(self) -> None:
        self._unless_closed(lambda: self.client.pause(self.story.workflow_id))

    def _resume(self) -> None:
        self._unless_closed(lambda: self.client.resume(self.story.workflow_id))

    def _unless_closed(self, call: Callable[[], None]) -> None:
        try:
            self._insist(call)
        except WorkflowClosed:
            return

    def _ask(self) -> None:
        """Ask for the signals that the run has seen: all that were acknowledged before must be among them."""
        known = self.story.acknowledged(BUMP)
        try:
            told: Any = self._insist(lambda: self.client.query(self.story.workflow_id, "bumps"))
        except QueryFailed as error:
            told = error
        # Known only now: it may have been ended while the answer was on its way, which runs no code, also not for what had come.
        if self._effects or self.story.asked & {"terminate", "timeout"}:
            return
        if isinstance(told, QueryFailed):
            raise told  # it has begun, and no side effect lies ahead: there is no excuse
        if len(told) < known:
            raise Violation(f"a query saw {len(told)} signals of {known} that were acknowledged before it")
