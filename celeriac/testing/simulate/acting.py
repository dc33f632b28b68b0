"""The workflow of simulated worlds: it does what a tree says, one function a kind of node."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from celeriac.activities.definition import ActivityDefinition
from celeriac.activities.options import RetryPolicy
from celeriac.errors import ActivityError
from celeriac.orchestrator.bridge import run_sync
from celeriac.orchestrator.context import WorkflowContext
from celeriac.orchestrator.definition import WorkflowDefinition, WorkflowSettings
from celeriac.orchestrator.signals import SignalType
from celeriac.testing.simulate.programs import Node

NAME: Final = "sim"
PLAIN_NAME: Final = "sim-plain"
BUMP: Final = "bump"
"""The signal that a handler counts."""
TYPED: Final = "typed"
"""A declared signal, whose payload has to be a number."""
SIGNALS: Final = {TYPED: SignalType(TYPED, int)}
ACTIVITY: Final = ActivityDefinition("act")
RETRIES: Final = {
    "forever": RetryPolicy(max_attempts=None, max_interval=5),
    "thrice": RetryPolicy(),
    "once": RetryPolicy.never(),
}


class NodeFailed(Exception):
    """A node has failed: the message is its id and the type of the failure.

    :param node: the node's id.
    :param kind: the failure's type.
    """

    def __init__(self, node: int, kind: str) -> None:
        super().__init__(f"{node} {kind}")
        self.node = node
        self.kind = kind


class BadDeploy(Exception):
    """What the workflow of a bad deploy raises; it is declared to hold runs, not to fail them."""


class Effects:
    """Where side effects get their values from: numbers that never come twice in a world."""

    def __init__(self) -> None:
        self._numbers: Iterator[int] = itertools.count(1)

    def begin(self) -> None:
        """Begin anew, for another world."""
        self._numbers = itertools.count(1)

    def next(self) -> int:
        """Return the next number."""
        return next(self._numbers)


EFFECTS: Final = Effects()
_ACTIVITIES: Final[dict[str, ActivityDefinition]] = {}


class Actor:
    """One run of a tree: what its nodes share.

    :param ctx: the workflow's context.
    """

    __slots__ = ("bumps", "ctx", "done")

    def __init__(self, ctx: WorkflowContext) -> None:
        self.ctx = ctx
        self.bumps: list[Any] = []
        self.done: list[int] = []
        ctx.on_signal(BUMP, self.bumps.append)
        ctx.query_as("bumps")(self._told_bumps)
        ctx.query_as("done")(self._told_done)

    async def do(self, node: Node) -> Any:
        """Do what a node says and return its value.

        :raises NodeFailed: it, or one below it, has failed.
        """
        value = await ACT[node["kind"]](self, node)
        self.done.append(node["id"])
        return value

    def _told_bumps(self) -> list[Any]:
        return self.bumps.copy()

    def _told_done(self) -> list[int]:
        return self.done.copy()

    def schedule(self, node: Node) -> Any:
        """Return the future of a node's activity."""
        call = node.get("call")
        if call is None:
            call = node["call"] = (activity_of(node), json.dumps(node))
        return self.ctx.execute_activity(*call)

    def call(self, node: Node) -> Any:
        """Return the future of a node's local activity."""
        from celeriac.testing.simulate.localacts import LOCAL  # noqa: PLC0415 - the two know each other

        call = node.get("call")
        if call is None:
            call = node["call"] = (activity_of(node, LOCAL), json.dumps(node))
        return self.ctx.execute_local_activity(*call)


def activity_of(node: Node, activity: ActivityDefinition = ACTIVITY) -> ActivityDefinition:
    """Return the activity of a node, with its options."""
    key = f"{activity.name} {node['retry']} {node['options']}"
    found = _ACTIVITIES.get(key)
    if found is None:
        if len(_ACTIVITIES) > 1000:
            _ACTIVITIES.clear()
        found = activity.with_options({"retry": RETRIES[node["retry"]], **node["options"]})
        _ACTIVITIES[key] = found
    return found


def failed(node: Node, error: ActivityError) -> NodeFailed:
    """Return what an activity's failure is in a tree."""
    return NodeFailed(node["id"], str(error.failure["type"]))


async def _act(actor: Actor, node: Node) -> Any:
    try:
        return await actor.schedule(node)
    except ActivityError as error:
        raise failed(node, error) from None


async def _local(actor: Actor, node: Node) -> Any:
    try:
        return await actor.call(node)
    except ActivityError as error:
        raise failed(node, error) from None


async def _timer(actor: Actor, node: Node) -> str:
    await actor.ctx.sleep(node["length"])
    return f"t{node['id']}"


async def _signal(actor: Actor, node: Node) -> Any:
    try:
        return await actor.ctx.wait_signal(f"s{node['id']}", node["timeout"])
    except TimeoutError:
        return "timeout"


async def _stream(actor: Actor, node: Node) -> list[Any]:
    taken: list[Any] = []
    async for payload in actor.ctx.receive_signal(f"s{node['id']}"):
        taken.append(payload)
        if len(taken) == node["count"]:
            break
    return taken


async def _until(actor: Actor, node: Node) -> str:
    try:
        await actor.ctx.wait(lambda: len(actor.bumps) >= node["bumps"], node["timeout"])
    except TimeoutError:
        return "timeout"
    return "held"


async def _effect(actor: Actor, _: Node) -> int:
    return actor.ctx.side_effect(EFFECTS.next, int)


async def _seq(actor: Actor, node: Node) -> Any:
    if node.get("plain"):
        from celeriac.testing.simulate.plain import PLAIN  # noqa: PLC0415 - the two know each other

        return await run_sync(PLAIN["seq"], actor, node)
    return [await actor.do(each) for each in node["children"]]


async def _par(actor: Actor, node: Node) -> list[Any]:
    return list(await asyncio.gather(*map(actor.do, node["children"])))


async def _settle(actor: Actor, node: Node) -> list[Any]:
    found = await asyncio.gather(*map(actor.do, node["children"]), return_exceptions=True)
    return [_settled(each) for each in found]


def _settled(value: Any) -> list[Any]:
    if isinstance(value, NodeFailed):
        return ["failed", value.node, value.kind]
    if isinstance(value, BaseException):
        raise value
    return ["ok", value]


async def _group(actor: Actor, node: Node) -> list[Any]:
    tasks = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(actor.do(each)) for each in node["children"]]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [each.result() for each in tasks]


async def _race(actor: Actor, node: Node) -> list[Any]:
    return list(await actor.ctx.first(*map(actor.do, node["children"])))


async def _try(actor: Actor, node: Node) -> Any:
    if node.get("plain"):
        from celeriac.testing.simulate.plain import PLAIN  # noqa: PLC0415

        return await run_sync(PLAIN["try"], actor, node)
    body, cleanup = node["children"]
    try:
        return ["ok", await actor.do(body)]
    except NodeFailed as error:
        return ["caught", error.node, error.kind, await actor.do(cleanup)]


async def _guard(actor: Actor, node: Node) -> Any:
    if node.get("plain"):
        from celeriac.testing.simulate.plain import PLAIN  # noqa: PLC0415

        return await run_sync(PLAIN["guard"], actor, node)
    body, cleanup = node["children"]
    try:
        return ["ok", await actor.do(body)]
    except asyncio.CancelledError:
        cleaned = await actor.do(cleanup)
        if node["swallows"]:
            return ["canceled", cleaned]
        raise


async def _timeout(actor: Actor, node: Node) -> list[Any]:
    try:
        async with asyncio.timeout(node["length"]):
            return ["in time", await actor.do(node["children"][0])]
    except TimeoutError:
        return ["timeout"]


async def _choice(actor: Actor, node: Node) -> list[Any]:
    index = actor.ctx.random().randrange(len(node["children"]))
    return [index, await actor.do(node["children"][index])]


ACT: Final[dict[str, Callable[[Actor, Node], Awaitable[Any]]]] = {
    "act": _act,
    "local": _local,
    "timer": _timer,
    "signal": _signal,
    "stream": _stream,
    "until": _until,
    "effect": _effect,
    "seq": _seq,
    "par": _par,
    "settle": _settle,
    "group": _group,
    "race": _race,
    "try": _try,
    "guard": _guard,
    "timeout": _timeout,
    "choice": _choice,
}


@lru_cache(maxsize=1024)
def read(tree: str) -> Node:
    """Read a tree from the text in which it is handed to the workflow (a text costs the store least)."""
    node: Node = json.loads(tree)
    return node


async def sim(ctx: WorkflowContext, tree: str) -> Any:
    """Do what the tree says."""
    return await Actor(ctx).do(read(tree))


def sim_plain(ctx: WorkflowContext, tree: str) -> Any:
    """Do what the tree says, as a plain function."""
    from celeriac.testing.simulate.plain import do  # noqa: PLC0415 - the two know each other

    return do(Actor(ctx), read(tree))


def _bad(ctx: WorkflowContext, tree: str) -> Any:
    raise BadDeploy


VERSION: Final = "1"
_GOOD: Final = WorkflowSettings(version=VERSION)
_HOLDS: Final = WorkflowSettings(version=VERSION, blocks_on=(BadDeploy,))
GOOD_CODE: Final = {
    NAME: WorkflowDefinition(NAME, sim, _GOOD),
    PLAIN_NAME: WorkflowDefinition(PLAIN_NAME, sim_plain, _GOOD),
}
BAD_CODE: Final = {name: WorkflowDefinition(name, _bad, _HOLDS) for name in GOOD_CODE}
OTHER_CODE: Final = {
    name: WorkflowDefinition(name, each.fn, WorkflowSettings(version="2")) for name, each in GOOD_CODE.items()
}
"""A later version, which leaves runs of the first alone."""
