"""A simulated worker process: the real engine, attempts, relay and client over wired ports, and what it does with hints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from celeriac.activities.context import ActivityContext
from celeriac.errors import CeleriacError, StoreError
from celeriac.orchestrator.attempts import Attempts, AttemptSettings
from celeriac.orchestrator.cache import RunCache
from celeriac.orchestrator.client import Client
from celeriac.orchestrator.definition import Registry, WorkflowDefinition
from celeriac.orchestrator.engine import Engine
from celeriac.orchestrator.executor import Signal
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.model import SECOND, Claim, Fence, Micros, Pulse
from celeriac.orchestrator.ports import ActivityReady, Hint, TurnReady
from celeriac.orchestrator.relay import Relay
from celeriac.orchestrator.runner import run_attempt
from celeriac.orchestrator.status import TaskKind
from celeriac.orchestrator.watchdog import Watchdog
from celeriac.payloads import Json
from celeriac.testing.simulate.acting import SIGNALS
from celeriac.testing.simulate.faults import Fault
from celeriac.testing.simulate.programs import LEASE
from celeriac.testing.simulate.scheduler import Crash, SoftLimit, Strand, TurnLock
from celeriac.testing.simulate.wires import WiredDispatcher, WiredStore

if TYPE_CHECKING:
    from celeriac.testing.simulate.world import World

NAMESPACE: Final = "sim"
_NOTHING: Final = nullcontext()


class Unwatched(Watchdog):
    """Limits nothing: strands of one thread have no processor time of their own."""

    def watching(self, _: Callable[[], int] | None = None) -> AbstractContextManager[None]:
        """Do nothing."""
        return _NOTHING


_UNWATCHED: Final = Unwatched()
_HOOKS: Final = Hooks()
_ATTEMPTS: Final = AttemptSettings(lease=LEASE, republish_after=LEASE)


def _no_hooks() -> Hooks:
    return _HOOKS


class SimClient(Client):
    """A client whose ids and clock are the world's."""

    world: World

    def fresh_id(self) -> str:
        """Return the next id of the world's dice."""
        return f"{self.world.dice.getrandbits(64):016x}"

    def wall_time(self) -> float:
        """Return the world's time, in seconds."""
        return self.world.clock.now / SECOND


class SimAttempts(Attempts):
    """Attempts of a worker that may misjudge how long its activities took."""

    world: World

    def completed(self, claim: Claim, result: Json, *, inline: bool = False, elapsed: float = 0.0) -> bool:
        """Record a result."""
        world = self.world
        elapsed = (world.clock.now - claim.now) / SECOND
        if world.weather.skews and world.weather.left > 0 and world.dice.chance(0.2):
            elapsed = world.dice.pick((0.0, elapsed * 0.5, elapsed * 3, elapsed + 100.0))
            world.meet(Fault.CLOCK_SKEWED)
        return super().completed(claim, result, inline=inline, elapsed=elapsed)


class Process:
    """One process, from its start until it is killed.

    :param name: the worker's name and how often it has been started.
    :param code: the workflows that it has.
    :param slots: how many hints it handles at once.
    """

    def __init__(
        self, world: World, name: str, code: Mapping[str, WorkflowDefinition], *, slots: int, cache: int
    ) -> None:
        self.world = world
        self.name = name
        self.slots = slots
        self.alive = True
        self.is_frozen = False
        self.deaf = False
        self.strands: list[Strand] = []
        self.frozen: list[Strand] = []
        self.held: dict[Fence, ActivityContext | None] = {}
        self.store = WiredStore(world, self)
        self.turns = TurnLock(world.hub)
        self._relaying = False
        self._resting_until: Micros = 0
        self._renewing = False
        self.engine = Engine(
            self.store,  # type: ignore[arg-type]  # its methods are the store's own
            Registry(workflows=dict(code), signals=SIGNALS),
            WiredDispatcher(world, self),
            settings=world.settings,
            cache=RunCache(cache),
            watchdog=_UNWATCHED,
            hooks=_no_hooks,
            interrupts=(SoftLimit,),
            run_turn=self.turns.run,
            keep=self._keeping,
            local=world.local,
        )
        self.attempts = SimAttempts(
            self.engine, _ATTEMPTS, draw=world.dice.random, sleep=world.hub.sleep, hooks=_no_hooks
        )
        self.attempts.world = world
        self.relay = Relay(
            self.attempts, namespace=NAMESPACE, batch=world.dice.pick((1, 3, 100)), draw=world.dice.random
        )
        self.client = SimClient(self.engine, self.engine.definitions, namespace=NAMESPACE)  # type: ignore[arg-type]
        self.client.world = world

    def check_alive(self) -> None:
        """Keep a killed process from having any effect.

        :raises Crash: it was killed.
        """
        if not self.alive:
            raise Crash

    @property
    def free(self) -> bool:
        """Whether it can take another hint."""
        busy = sum(each.hint is not None for each in self.strands)
        return self.alive and not self.is_frozen and busy < self.slots

    # -- strands ---------------------------------------------------------------------------------------------------

    def act(self, name: str, call: Callable[[], Any], hint: Hint | None = None) -> None:
        """Begin an action."""

        def body() -> None:
            try:
                call()
            except (Crash, SoftLimit, StoreError) as error:
                self.world.note("ends with", (type(error).__name__,), None)

        self.world.hub.begin(Strand(body, self, name, hint))

    def ended(self, strand: Strand) -> None:
        """Forget an action that has come to its end."""
        if strand in self.strands:
            self.strands.remove(strand)

    def kill(self) -> None:
        """End the process where it stands: its strands are unwound without effect, its live runs are gone."""
        self.alive = False
        strands, self.strands = self.strands, []
        ready = self.world.hub.ready
        ready[:] = [each for each in ready if each.process is not self]
        self.frozen.clear()
        for each in strands:
            self.world.hub.unwind(each)
            if each.hint is not None:
                self.world.lost_in_hand(each.hint)
        self.engine.cache.clear()

    def freeze(self, seconds: float) -> None:
        """Stop the whole process for a while."""
        if self.is_frozen:
            return
        self.is_frozen = True
        hub = self.world.hub
        self.frozen += [each for each in hub.ready if each.process is self]
        hub.ready[:] = [each for each in hub.ready if each.process is not self]
        hub.later(seconds, self.thaw)

    def thaw(self) -> None:
        """Let it go on."""
        self.is_frozen = False
        if self.alive:
            self.world.hub.ready += self.frozen
        self.frozen.clear()

    # -- what a worker does ----------------------------------------------------------------------------------------

    def handle(self, hint: Hint) -> None:
        """Do what a hint says."""
        if isinstance(hint, TurnReady):
            self.act("turn", lambda: self.turns.run(lambda: self.engine.turn(hint.run.run_id)), hint)
        elif isinstance(hint, ActivityReady):
            self.act(f"activity {hint.seq}", lambda: self._attempt(hint), hint)
        else:
            self.act("finish", lambda: self.store.remove_task(hint.run.run_id, TaskKind.FINISH, 0), hint)

    def _attempt(self, hint: ActivityReady) -> None:
        claim = self.attempts.claim(hint.run.run_id, hint.seq, attempt=hint.attempt, worker=self.name, early=hint.early)
        if claim is None:
            return
        activity = self.engine.definitions.activity(claim.task.data["name"])

        def perform(text: str) -> Any:
            return self.world.acts.perform(self, claim, text)

        with self._keeping(claim.fence):
            run_attempt(self.attempts, claim, activity, perform, inline=self.world.inline)

    @contextmanager
    def _keeping(self, fence: Fence) -> Iterator[None]:
        """Renew a claim while the block runs."""
        self.held[fence] = None
        if not self._renewing:
            self._renewing = True
            self.world.hub.later(LEASE / 3, self._renew)
        try:
            yield
        finally:
            self.held.pop(fence, None)

    def _renew(self) -> None:
        if not self.alive or not self.held:
            self._renewing = False
            return
        self.world.hub.later(LEASE / 3, self._renew)
        if self.is_frozen:
            return

        def renew() -> None:
            found: Mapping[Fence, Pulse] = self.store.renew(list(self.held), lease=round(LEASE * SECOND))
            for fence, pulse in found.items():
                context = self.held.get(fence)
                if pulse is not Pulse.ALIVE and context is not None:
                    context.withdraw()
                if pulse is Pulse.GONE:
                    self.held.pop(fence, None)

        self.act("renewal", renew)

    def tick(self) -> None:
        """Have the relay look at what is due, unless it is looking."""
        if not self.alive or self.is_frozen or self._relaying:
            return
        self._relaying = True

        def look() -> None:
            try:
                self.relay.tick()
            except StoreError:
                self._resting_until = self.world.clock.now + SECOND // 2
                self.world.hub.at(self._resting_until, self.tick)
            finally:
                self._relaying = False

        self.act("relay", look)

    @property
    def can_tick(self) -> bool:
        """Whether its relay could look now."""
        idle = self.alive and not self.is_frozen and not self._relaying
        return idle and self._resting_until <= self.world.clock.now

    def start(self) -> None:
        """Do what a worker does when it starts: blocked runs are tried at once."""
        self.act("start", lambda: self.store.wake_blocked(NAMESPACE))

    def hear(self, workflow_id: str, signal: Signal) -> None:
        """Record a signal that somebody published on the channel."""

        def record() -> None:
            try:
                self.client.deliver_signal(workflow_id, signal)
            except CeleriacError as error:
                self.world.note("not taken:", (error,), None)

        if self.alive and not self.is_frozen and not self.deaf:
            self.act("listener", record)
