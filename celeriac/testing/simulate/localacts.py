"""The local activity of simulated worlds: its process may be killed, interrupted or stopped before and after its effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celeriac.activities.context import activity_context
from celeriac.activities.definition import ActivityDefinition
from celeriac.orchestrator.inprocess import InProcess
from celeriac.orchestrator.local import LocalSettings
from celeriac.orchestrator.model import SECOND
from celeriac.testing.simulate.acting import read
from celeriac.testing.simulate.acts import Boom, Entry, Fatal
from celeriac.testing.simulate.faults import Fault
from celeriac.testing.simulate.scheduler import Crash, SoftLimit, Strand, running_strand

if TYPE_CHECKING:
    from celeriac.testing.simulate.world import World

_OF_STORES: Final = frozenset({Fault.STORE_AWAY, Fault.ANSWER_LOST})


def local(text: str) -> list[int]:
    """Do what a node, read from its text, says, and return ``[id, attempt]``.

    :raises Boom, Fatal: as the node says.
    """
    node, context, strand = read(text), activity_context(), running_strand()
    world: World = strand.process.world
    entry = Entry(context.run_id, int(context.activity_id.rpartition("-")[2]), context.attempt, world.clock.now)
    world.acts.local_ledger.append(entry)
    _trouble(world, strand)
    if node["takes"]:
        world.hub.sleep(node["takes"])
    if context.attempt <= node["fails"]:
        raise Boom(f"attempt {context.attempt}")
    if node["ends"] == "fatal":
        raise Fatal("for good")
    entry.ended = world.clock.now
    _trouble(world, strand)
    return [node["id"], context.attempt]


LOCAL: Final = ActivityDefinition("local", local)


def settings_of(world: World) -> LocalSettings:
    """Return how engines of a world call local activities: by its clock and its dice."""
    return LocalSettings(
        runner=_Runner, clock=lambda: world.clock.now / SECOND, sleep=world.hub.sleep, draw=world.dice.random
    )


def _Runner() -> InProcess:  # noqa: N802 - it stands for a class
    return InProcess((Crash, SoftLimit))


def _trouble(world: World, strand: Strand) -> None:
    weather, dice = world.weather, world.dice
    if weather.left > 0 and weather.at_calls and dice.random() < weather.local_rate:
        fault = dice.weigh(weather.at_calls)
        if fault not in _OF_STORES:
            world.trouble(strand.process, fault, "local activity")
