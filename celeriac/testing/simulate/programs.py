"""Programs: random trees of what a workflow may do, each node a small JSON object.

One function a kind grows it; :mod:`acting` has one a kind that does it, :mod:`plain` one for those that plain code does its
own way, and :mod:`judging` one that says what may come of it. A further kind of node is one function in each.

=============  ====================================================================================
kind           what it does
=============  ====================================================================================
``act``        an activity: fails so often, then succeeds or gives up; may take long, beat, hang
``local``      a local activity: the same, short
``timer``      sleeps
``signal``     waits for a signal of its own, perhaps not for ever
``stream``     takes several signals of one name, in order
``until``      waits for a condition that a signal handler makes true
``effect``     records a side effect
``seq``        one after the other
``par``        ``asyncio.gather``
``settle``     ``asyncio.gather(return_exceptions=True)``
``group``      ``asyncio.TaskGroup``
``race``       ``ctx.first``
``try``        catches a failure, then cleans up
``guard``      catches a cancellation, cleans up, and lets it pass or not
``timeout``    ``asyncio.timeout`` around the rest
``choice``     goes on by ``ctx.random()``
=============  ====================================================================================
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Final

from celeriac.testing.simulate.dice import Dice

Node = dict[str, Any]
"""``kind``, ``id``, for branches ``children``, and what else the kind needs. Durations are seconds."""

LEASE: Final = 10.0
"""Seconds that a claim of an activity holds in simulated worlds."""
MOST_CHILDREN: Final = 8


class Grower:
    """Grows one tree."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self._numbers = itertools.count(1)

    def tree(self, steps: int) -> Node:
        """Return a tree with this many leaves, cleanups not counted."""
        if steps <= 1:
            return self.leaf()
        kind = self.dice.weigh(BRANCH_WEIGHTS)
        return self._new(kind, BRANCHES[kind](self, steps))

    def leaf(self) -> Node:
        """Return a single step."""
        kind = self.dice.weigh(LEAF_WEIGHTS)
        return self._new(kind, LEAVES[kind](self))

    def _new(self, kind: str, rest: dict[str, Any]) -> Node:
        return {"kind": kind, "id": next(self._numbers), **rest}

    def parts(self, steps: int) -> list[Node]:
        """Share steps out among two or more children."""
        children = self.dice.whole(2, min(steps, MOST_CHILDREN))
        sizes = [1] * children
        for _ in range(steps - children):
            sizes[int(self.dice.random() * children)] += 1
        return [self.tree(each) for each in sizes]

    def short(self) -> float:
        """Return the length of a timer."""
        return round(self.dice.span(0.001, 7200), 3)


def walk(node: Node) -> Iterator[Node]:
    """Go through a tree, parents first."""
    yield node
    for each in node.get("children", ()):
        yield from walk(each)


# -- leaves --------------------------------------------------------------------------------------------------------


def _act(grower: Grower) -> dict[str, Any]:
    dice = grower.dice
    retry = dice.weigh({"forever": 5, "thrice": 2, "once": 2})
    grown: dict[str, Any] = {
        "retry": retry,
        "fails": dice.whole(1, 3) if dice.chance(0.2) else 0,
        "ends": "fatal" if dice.chance(0.08) else "ok",
        "takes": _takes(dice),
        "beats": dice.chance(0.25),
        "hangs": 0,
        "options": {},
    }
    options = grown["options"]
    if dice.chance(0.12):
        options["cancellation"] = dice.pick(("wait", "wait", "abandon"))
    if dice.chance(0.08):
        grown["hangs"] = dice.whole(1, 2)
        options["start_to_close"] = grown["takes"] * 3 + dice.span(1, 100)
    if grown["beats"] and dice.chance(0.4):
        options["heartbeat"] = dice.span(8, 60)
    if dice.chance(0.06):
        options["schedule_to_close"] = dice.span(0.5, 300)
    if dice.chance(0.05):
        options["schedule_to_start"] = dice.span(0.5, 60)
    return grown


def _local(grower: Grower) -> dict[str, Any]:
    dice = grower.dice
    return {
        "retry": dice.weigh({"forever": 5, "thrice": 2, "once": 2}),
        "fails": dice.whole(1, 3) if dice.chance(0.2) else 0,
        "ends": "fatal" if dice.chance(0.08) else "ok",
        "takes": round(dice.span(0.001, 2), 3) if dice.chance(0.3) else 0.0,
        "options": {"schedule_to_close": dice.span(0.5, 300)} if dice.chance(0.06) else {},
    }


def _takes(dice: Dice) -> float:
    length = dice.weigh({"nothing": 6, "little": 3, "long": 1})
    if length == "nothing":
        return 0.0
    return round(dice.span(0.01, 5) if length == "little" else dice.span(LEASE / 2, LEASE * 5), 3)


def _timer(grower: Grower) -> dict[str, Any]:
    return {"length": grower.short()}


def _signal(grower: Grower) -> dict[str, Any]:
    return {"timeout": grower.short() if grower.dice.chance(0.4) else None}


def _stream(grower: Grower) -> dict[str, Any]:
    return {"count": grower.dice.whole(2, 5)}


def _until(grower: Grower) -> dict[str, Any]:
    return {"bumps": grower.dice.whole(1, 4), "timeout": grower.short() if grower.dice.chance(0.4) else None}


def _effect(_: Grower) -> dict[str, Any]:
    return {}


# -- branches ------------------------------------------------------------------------------------------------------


def _children(grower: Grower, steps: int) -> dict[str, Any]:
    return {"children": grower.parts(steps)}


def _seq(grower: Grower, steps: int) -> dict[str, Any]:
    return {"children": grower.parts(steps), "plain": grower.dice.chance(0.25)}


def _one(grower: Grower, steps: int) -> dict[str, Any]:
    """A body and, for those that clean up, what does it."""
    children = [grower.tree(steps - 1)] if steps > 2 else [grower.leaf()]
    return {"children": [*children, grower.leaf()], "plain": grower.dice.chance(0.2)}


def _guard(grower: Grower, steps: int) -> dict[str, Any]:
    return {**_one(grower, steps), "swallows": grower.dice.chance(0.4)}


def _timeout(grower: Grower, steps: int) -> dict[str, Any]:
    return {"children": [grower.tree(steps - 1)], "length": grower.short()}


LEAVES: Final[dict[str, Callable[[Grower], dict[str, Any]]]] = {
    "act": _act,
    "local": _local,
    "timer": _timer,
    "signal": _signal,
    "stream": _stream,
    "until": _until,
    "effect": _effect,
}
BRANCHES: Final[dict[str, Callable[[Grower, int], dict[str, Any]]]] = {
    "seq": _seq,
    "par": _children,
    "settle": _children,
    "group": _children,
    "race": _children,
    "try": _one,
    "guard": _guard,
    "timeout": _timeout,
    "choice": _children,
}
LEAF_WEIGHTS: Final = {
    "act": 8.0,
    "local": 1.2,
    "timer": 1.5,
    "signal": 1.2,
    "stream": 0.4,
    "until": 0.5,
    "effect": 0.6,
}
BRANCH_WEIGHTS: Final = {
    "seq": 5.0,
    "par": 2.5,
    "settle": 1.0,
    "group": 0.7,
    "race": 1.0,
    "try": 1.2,
    "guard": 0.8,
    "timeout": 0.6,
    "choice": 0.3,
}
