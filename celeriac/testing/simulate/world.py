"""A world: one seed, one store, one broker, some workers, some clients, some trouble; driven until it comes to rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from celeriac.errors import StoreUnavailable
from celeriac.orchestrator.engine import EngineSettings
from celeriac.orchestrator.model import DueTask, Micros
from celeriac.orchestrator.ports import Hint
from celeriac.orchestrator.status import TaskKind
from celeriac.stores.memory import InMemoryStore
from celeriac.testing.simulate import checks
from celeriac.testing.simulate.acting import BAD_CODE, EFFECTS, GOOD_CODE, NAME, OTHER_CODE, PLAIN_NAME
from celeriac.testing.simulate.acts import Acts
from celeriac.testing.simulate.clients import Clients, Story
from celeriac.testing.simulate.dice import Dice
from celeriac.testing.simulate.faults import Fault, Weather
from celeriac.testing.simulate.listener import listening
from celeriac.testing.simulate.localacts import settings_of
from celeriac.testing.simulate.network import Network
from celeriac.testing.simulate.process import NAMESPACE, Process
from celeriac.testing.simulate.programs import LEASE, Grower
from celeriac.testing.simulate.scheduler import Hub, ManualClock, SoftLimit, Strand, Violation
from celeriac.testing.simulate.trace import Trace
from celeriac.testing.simulate.watch import Watch
from celeriac.testing.simulate.wires import AFTER, BEFORE

BEGIN: Final[Micros] = 1_900_000_000_000_000
"""The time at which every world begins."""
_SETTINGS: Final = [
    EngineSettings(namespace=NAMESPACE, turn_lease=LEASE * 6, republish_after=LEASE, max_rereads=most)
    for most in (0, 1, 2, 8)
]
_WORKERS_ONLY: Final = frozenset({Fault.CRASH, Fault.SOFT_LIMIT})
LEAST_STEPS: Final = 5
MOST_STEPS: Final = 50
REPLAYED: Final = 20
"""Of so many worlds one has its histories replayed from every step on."""
DECISIONS_PER_STEP: Final = 600
DECISIONS: Final = 6000
"""A world that needs more decisions than this, and so many for each step, is one that does not come to rest."""
ROUGH_UNTIL: Final = 0.3
"""The part of these after which the weather clears up whatever is left of it."""


class World:
    """Everything there is in one schedule.

    :param seed: decides everything.
    :param store: another in-memory store than the usual (for tests of the simulator itself).
    :param whole_trace: keep the whole trace, not only its end.
    """

    def __init__(self, seed: int, *, store: type[InMemoryStore] = InMemoryStore, whole_trace: bool = False) -> None:
        self.seed = seed
        self.dice = Dice(seed)
        self.clock = ManualClock(BEGIN)
        self.hub = Hub(self.clock)
        self.trace = Trace(BEGIN, whole=whole_trace)
        self.store = store(self.clock)
        self.watch = Watch(self.store, self.clock)
        self.outage_until: Micros = 0
        self.decisions = 0
        self.replays = seed % REPLAYED == 0
        self.acts = Acts(self)
        self.local = settings_of(self)
        self._doomed: list[Process] = []
        self._began: dict[str, int] = {}
        EFFECTS.begin()
        self.stories = list(self._stories())
        self.steps = sum(each.tree["steps"] for each in self.stories)
        self.weather = Weather.draw(self.dice, self.steps)
        self._limit = DECISIONS + DECISIONS_PER_STEP * self.steps
        self._rough_until = self._limit * ROUGH_UNTIL
        if self.weather.fine:
            self.watch.saw["take_due"] = self._must_be_announced
        self.settings = self.dice.pick(_SETTINGS)
        self.network = Network(self)
        self.inline = self.dice.chance(0.6)
        # Of their own, so that a seed's world is otherwise what it was before there were such hints.
        self.early = Dice(f"early {seed}")
        self.publishes_early = self.early.chance(0.5)
        self._cache = self.dice.weigh({1000: 8, 1: 1, 0: 1})
        self._slots = self.dice.whole(1, 4)
        self.client = Process(self, "clients", GOOD_CODE, slots=0, cache=0)
        self.workers = [self._worker(f"w{number}") for number in range(self.dice.whole(1, 4))]

    def _stories(self) -> Iterator[Story]:
        dice = self.dice
        for number in range(dice.weigh({1: 12, 2: 1, 3: 0.3})):
            steps = _draw_steps(dice)
            tree = {**Grower(dice).tree(steps), "steps": steps}
            yield Story(f"run{number}", PLAIN_NAME if dice.chance(0.25) else NAME, tree)

    def _worker(self, slot: str) -> Process:
        times = self._began[slot] = self._began.get(slot, 0) + 1
        return Process(self, f"{slot}.{times}", GOOD_CODE, slots=self._slots, cache=self._cache)

    # -- driving -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let everything happen, and hold what has come of it against the promises.

        :raises Violation: one of them was broken.
        """
        with listening() as listener:
            try:
                for process in self.workers:
                    process.start()
                for story in self.stories:
                    Clients(self, self.client, story).begin()
                while self._decide():
                    pass
                self._check()
            finally:
                self._end()
        if listener.heard is not None:
            error = listener.heard
            raise Violation(f"celeriac has logged {type(error).__name__}: {error}") from error

    def _check(self) -> None:
        for story in self.stories:
            checks.check(self, story, replay=self.replays)
        left = list(checks.leftovers(self))
        if left:
            raise Violation(f"left over: {', '.join(left)}")

    def _end(self) -> None:
        for process in (*self.workers, self.client):
            process.alive = False
            for strand in process.strands:
                self.hub.unwind(strand)
            process.engine.cache.clear()

    def _decide(self) -> bool:
        """Let one thing happen; False when nothing is left to happen."""
        self.decisions += 1
        if self.decisions > self._limit:
            raise Violation(f"no rest after {self._limit} decisions")
        if self.weather.left > 0:
            self._rough()
        goes_on = self._go_on()
        if self._doomed:
            while self._doomed:
                self._bury(self._doomed.pop())
            goes_on = True
        if self.watch.broken:
            raise Violation(self.watch.broken[0])
        return goes_on

    def _go_on(self) -> bool:
        hub, draw = self.hub, self.dice.random
        ready, to_come = hub.ready, hub.to_come
        if to_come and to_come[0][0] <= self.clock.now and (not ready or draw() < 0.5):
            hub.happen()
        elif ready and (not self.network.waiting or draw() < 0.7):
            hub.resume(ready.pop(int(draw() * len(ready))))
        elif self.network.waiting and (worker := self._taker()) is not None:
            worker.handle(self.network.take())
        elif ready:
            hub.resume(ready.pop(int(draw() * len(ready))))
        else:
            return self._idle()
        return True

    def _idle(self) -> bool:
        """Nothing can go on by itself: have a relay look at what is due, or jump to what happens next."""
        due, next_at = self.store.next_due(NAMESPACE), self.hub.next_at
        relays = [each for each in self.workers if each.can_tick] if due is not None else []
        if relays and due is not None and (next_at is None or due <= next_at):
            self.clock.now = max(self.clock.now, due)
            self.dice.pick(relays).tick()
            return True
        if next_at is None:
            return False
        self.clock.now = max(self.clock.now, next_at)
        self.hub.happen()
        return True

    def _taker(self) -> Process | None:
        free = [each for each in self.workers if each.free]
        return self.dice.pick(free) if free else None

    def _must_be_announced(self, due: Sequence[DueTask], *_: Any, **__: Any) -> None:
        """Where nothing is lost a turn that a relay finds due has been announced already."""
        for row in due:
            if row.task.kind is TaskKind.TURN and not self.network.announces(row.task.run_id):
                self.watch.broken.append("a relay found a turn due that nobody had announced")

    def note(self, what: str, given: Sequence[Any] | None, came: Any) -> None:
        """Keep a line of what the running strand does."""
        self.trace.keep((self.clock.now, self.hub.running, what, given, came))

    # -- trouble -----------------------------------------------------------------------------------------------------

    def meet(self, fault: Fault) -> None:
        """Count a fault that has struck, and let the weather clear up after the last one."""
        self.weather.spend(fault)
        self.note(f"*** {fault}", None, None)
        if self.weather.left <= 0:
            self._clear_up()

    def _clear_up(self) -> None:
        """End what would go on by itself: from here on all is as it should be, or soon will be."""
        self.weather.left = 0
        self.outage_until = 0
        self.hub.later(0, self._deploy_good)

    def _rough(self) -> None:
        weather, dice = self.weather, self.dice
        if self.decisions > self._rough_until:
            self._clear_up()
            return
        if dice.random() < weather.passing:
            small = dice.random() < 0.8
            self.clock.now += round(dice.span(10, 100_000) if small else dice.span(100_000, 100_000_000))
            self._tick_someone()
        if weather.left > 0 and dice.random() < weather.rate:
            self._strike(dice.weigh(weather.any_time))

    def _tick_someone(self) -> None:
        due = self.store.next_due(NAMESPACE)
        relays = [each for each in self.workers if each.can_tick]
        if relays and due is not None and due <= self.clock.now:
            self.dice.pick(relays).tick()

    def _strike(self, fault: Fault) -> None:
        """Let a fault strike that is nobody's call of a port."""
        worker, dice = self.dice.pick(self.workers), self.dice
        if not worker.alive:
            return
        self.meet(fault)
        match fault:
            case Fault.CRASH:
                self._bury(worker)
            case Fault.OUTAGE:
                self.outage_until = self.clock.now + round(dice.span(100_000, 60_000_000))
            case Fault.WORKER_FROZEN:
                worker.freeze(dice.span(1, 200))
            case Fault.FLUSHED:
                self.network.flush()
            case Fault.CODE_GONE:
                self._deploy(worker, dice.pick(({}, OTHER_CODE)))
            case Fault.CODE_BAD:
                self._deploy(worker, BAD_CODE)
            case _:
                worker.deaf = True

    def before_call(self, process: Process, name: str) -> Fault | None:
        """Let others run, or trouble strike, before a strand's call of a port.

        :returns: the trouble that strikes after the call.
        :raises Crash, StoreUnavailable: before it.
        """
        weather, dice = self.weather, self.dice
        fault = None
        if weather.left > 0 and dice.random() < weather.call_rate:
            fault = self.trouble_before(process, name)
        if dice.random() < weather.letting_go:
            self.hub.let_go()
        return fault

    def trouble_before(self, process: Process, name: str) -> Fault | None:
        """Let trouble strike a call of a port: now, or, returned, after it.

        :raises Crash, SoftLimit, StoreUnavailable: before it.
        """
        fault = self._drawn(process)
        if fault in BEFORE or (fault not in AFTER and self.dice.chance(0.5)):
            self.trouble(process, fault, name)
            return None
        return fault

    def _drawn(self, process: Process) -> Fault:
        """Draw the fault that strikes a call: one that a process without executor can't meet is a lost answer there."""
        fault = self.dice.weigh(self.weather.at_calls)
        alone = process is self.client or self.hub.current.hint is None
        return Fault.ANSWER_LOST if alone and fault in _WORKERS_ONLY else fault

    def after_call(self, process: Process, fault: Fault | None) -> None:
        """Let others run, or trouble strike, after a strand's call of a port."""
        if fault is not None:
            self.trouble(process, fault, "after it")
        if self.dice.random() < self.weather.letting_go:
            self.hub.let_go()

    def trouble(self, process: Process, fault: Fault | None, name: str) -> None:
        """Let trouble strike a call of a port, or of a local activity, where it stands.

        :raises Crash, SoftLimit, StoreUnavailable: as it does.
        """
        if fault is None:
            return
        self.meet(fault)
        match fault:
            case Fault.CRASH:
                self._doomed.append(process)
                process.alive = False
                self.hub.wait()
            case Fault.SOFT_LIMIT:
                raise SoftLimit
            case Fault.THREAD_STALLED:
                self.hub.sleep(self.dice.span(0.01, 150))
            case Fault.WORKER_FROZEN:
                seconds = self.dice.span(1, 200)
                self.hub.later(0, lambda: process.freeze(seconds))
                self.hub.let_go()
            case _:
                raise StoreUnavailable(f"the store is away (simulated, {name})")

    def lost_in_hand(self, hint: Hint) -> None:
        """Give back to the broker, perhaps, a hint that a killed worker was handling."""
        if self.weather.left > 0 and self.dice.chance(0.5):
            self.meet(Fault.REDELIVERED)
            self.hub.later(self.dice.span(0.1, 60), lambda: self.network.waiting.append(hint))

    # -- workers come and go -------------------------------------------------------------------------------------------

    def _bury(self, process: Process) -> None:
        process.kill()
        delay = self.dice.span(0.1, 60)
        slot = process.name.partition(".")[0]
        self.hub.later(delay, lambda: self._replace(process, self._worker(slot)))

    def _replace(self, old: Process, new: Process) -> None:
        self.workers[self.workers.index(old)] = new
        new.start()

    def _deploy(self, worker: Process, code: Any) -> None:
        """Have a worker restarted with other code, the way deploys go: what it was doing is done first, or lost."""
        slot = worker.name.partition(".")[0]
        worker.kill()
        new = self._worker(slot)
        new.engine.definitions.workflows = dict(code)  # type: ignore[attr-defined]  # a Registry
        self._replace(worker, new)
        self.hub.later(self.dice.span(1, 300), lambda: self._redeploy(new))

    def _redeploy(self, worker: Process) -> None:
        if worker.alive and worker in self.workers:
            worker.kill()
            self._replace(worker, self._worker(worker.name.partition(".")[0]))

    def _deploy_good(self) -> None:
        for worker in list(self.workers):
            if worker.alive and dict(worker.engine.definitions.workflows) != GOOD_CODE:  # type: ignore[attr-defined]
                self._redeploy(worker)
            worker.deaf = False


def _draw_steps(dice: Dice) -> int:
    """Draw the size of a program: twice the size, a seventh as often."""
    least, most = LEAST_STEPS**-2.8, MOST_STEPS**-2.8
    return round((least + dice.random() * (most - least)) ** (-1 / 2.8))


__all__ = ["Strand", "World"]
