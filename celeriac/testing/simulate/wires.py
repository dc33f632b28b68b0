"""The ports of a simulated process: the real store and a network of hints behind points where others may run.

At each call the process may lose the processor before and after it, be killed, find the store away, or not hear of what
was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from celeriac.errors import StoreUnavailable
from celeriac.orchestrator.model import Commit, CommitOutcome, Micros
from celeriac.orchestrator.ports import ActivityReady, Hint, RunFinished
from celeriac.testing.simulate.faults import Fault
from celeriac.testing.simulate.scheduler import Crash

if TYPE_CHECKING:
    from celeriac.testing.simulate.process import Process
    from celeriac.testing.simulate.world import World


class PublishFailed(ConnectionError):
    """The broker could not be reached."""


class WiredStore:
    """The world's store as one process reaches it. Every call of the :class:`Store` protocol is one of these."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def now(self) -> Micros:
        """Return the store's clock."""
        self._process.check_alive()
        return self._world.clock.now

    def commit_meanwhile(self, commit: Commit, meanwhile: Callable[[], None]) -> CommitOutcome:
        """Commit, and call ``meanwhile`` before the commit is written: whoever it tells may be faster, or be misled."""
        world = self._world
        if world.early.chance(0.7):
            meanwhile()
            if world.early.chance(0.5):
                world.hub.sleep(world.early.span(0.0001, 1.0))
        outcome: CommitOutcome = self.commit(commit)
        return outcome

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._world.store, name)
        saw = self._world.watch.saw.get(name)
        process, world = self._process, self._world
        weather, draw, let_go, note, clock = world.weather, world.dice.random, world.hub.let_go, world.note, world.clock
        letting_go = weather.letting_go

        def wired(*args: Any, **kwargs: Any) -> Any:  # the busiest function of a world, so it looks up and calls little
            if not process.alive:
                raise Crash
            trouble = None
            if weather.left > 0 and draw() < weather.call_rate:
                trouble = world.trouble_before(process, name)
            if draw() < letting_go:
                let_go()
            if world.outage_until > clock.now:
                raise StoreUnavailable("the store is away (simulated)")
            came = call(*args, **kwargs)
            note(name, args, came)
            if saw is not None:
                saw(came, *args, **kwargs)
            if trouble is not None:
                world.trouble(process, trouble, "after it")
            if draw() < letting_go:
                let_go()
            return came

        self.__dict__[name] = wired
        return wired


class WiredDispatcher:
    """Publishes into the world's network, for one process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def publish(self, hints: Sequence[Hint]) -> None:
        """Publish hints, some of which may come late, twice or not at all.

        :raises PublishFailed: the broker is away; some may have got through.
        """
        process, world = self._process, self._world
        process.check_alive()
        trouble = world.before_call(process, "publish")
        dice, weather = world.dice, world.weather
        fails = weather.left > 0 and dice.random() < weather.hint_rate / 8
        through = hints[: dice.whole(0, len(hints))] if fails else hints
        for hint in through:
            world.network.send(hint, 0.0 if isinstance(hint, RunFinished) else hint.delay)
        world.note("publish", [type(each).__name__ for each in through], None)
        if fails:
            world.meet(Fault.PUBLISH_FAILED)
            raise PublishFailed("the broker is away (simulated)")
        world.after_call(process, trouble)

    def publish_early(self, hints: Sequence[ActivityReady]) -> bool:
        """Publish hints before their commit is written, in worlds where that is done.

        :raises PublishFailed: the broker is away; some may have got through.
        """
        if not self._world.publishes_early:
            return False
        self.publish(hints)
        return True

    def expect(self, due_at: Micros) -> None:
        """Have this process's relay look then."""
        self._process.check_alive()
        self._world.hub.at(due_at, self._process.tick)

    def backlog(self, queue: str | None) -> int | None:
        """Return how many hints wait, where the broker tells."""
        self._process.check_alive()
        network = self._world.network
        return len(network.waiting) if network.tells_backlog else None


BEFORE: Final = frozenset({Fault.STORE_AWAY})
AFTER: Final = frozenset({Fault.ANSWER_LOST})
"""Which faults strike before a call and which after it; the others may do either."""
