"""What plain ``def`` code does its own way; all other kinds it hands to the async ones and waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from celeriac.errors import ActivityError
from celeriac.testing.simulate.acting import Actor, NodeFailed, failed
from celeriac.testing.simulate.programs import Node


def do(actor: Actor, node: Node) -> Any:
    """Do what a node says, in plain code, and return its value.

    :raises NodeFailed: it, or one below it, has failed.
    """
    act = PLAIN.get(node["kind"])
    if act is None:
        return actor.ctx.first(actor.do(node)).result()[1]
    value = act(actor, node)
    actor.done.append(node["id"])
    return value


def _act(actor: Actor, node: Node) -> Any:
    try:
        return actor.schedule(node).result()
    except ActivityError as error:
        raise failed(node, error) from None


def _local(actor: Actor, node: Node) -> Any:
    try:
        return actor.call(node).result()
    except ActivityError as error:
        raise failed(node, error) from None


def _timer(actor: Actor, node: Node) -> str:
    actor.ctx.sleep(node["length"])
    return f"t{node['id']}"


def _signal(actor: Actor, node: Node) -> Any:
    try:
        return actor.ctx.wait_signal(f"s{node['id']}", node["timeout"]).result()
    except TimeoutError:
        return "timeout"


def _stream(actor: Actor, node: Node) -> list[Any]:
    receiver = actor.ctx.receive_signal(f"s{node['id']}")
    return [receiver.result() for _ in range(node["count"])]


def _until(actor: Actor, node: Node) -> str:
    try:
        actor.ctx.wait(lambda: len(actor.bumps) >= node["bumps"], node["timeout"]).result()
    except TimeoutError:
        return "timeout"
    return "held"


def _seq(actor: Actor, node: Node) -> list[Any]:
    return [do(actor, each) for each in node["children"]]


def _try(actor: Actor, node: Node) -> list[Any]:
    body, cleanup = node["children"]
    try:
        return ["ok", do(actor, body)]
    except NodeFailed as error:
        return ["caught", error.node, error.kind, do(actor, cleanup)]


def _guard(actor: Actor, node: Node) -> list[Any]:
    body, cleanup = node["children"]
    try:
        return ["ok", do(actor, body)]
    except asyncio.CancelledError:
        cleaned = do(actor, cleanup)
        if node["swallows"]:
            return ["canceled", cleaned]
        raise


PLAIN: Final[dict[str, Callable[[Actor, Node], Any]]] = {
    "act": _act,
    "local": _local,
    "timer": _timer,
    "signal": _signal,
    "stream": _stream,
    "until": _until,
    "seq": _seq,
    "try": _try,
    "guard": _guard,
}
