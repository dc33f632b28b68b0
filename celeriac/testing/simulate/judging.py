"""The model: what may come of a program, whatever happens to workers, broker and store.

It is a relation, not a second implementation: :meth:`Judge.allows` holds an end against a tree, one function a kind of node.
Where the order of things does not matter there is exactly one end that it allows; where it does (a race, a timeout, a
cancellation) all ends that some order leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac.testing.simulate.programs import Node, walk


@dataclass(frozen=True, slots=True)
class Value:
    """A node has come to its end with a value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """A node has failed: which one below it, and with what type of failure."""

    node: int
    kind: str


@dataclass(frozen=True, slots=True)
class Canceled:
    """A cancellation has come out of a node."""


End = Value | Failure | Canceled
_ENDLESS: Final = "forever"
_ATTEMPTS: Final = {"thrice": 3, "once": 1}


class Judge:
    """Knows what was sent to a run, and says what may come of its program.

    :param sent: payloads by the name of the signal, in the order in which they were sent.
    :param cancelable: whether somebody asked the run to stop.
    """

    def __init__(self, sent: Mapping[str, Sequence[Any]], *, cancelable: bool) -> None:
        self.sent = sent
        self.cancelable = cancelable

    def allows(self, node: Node, end: End, *, cancelable: bool | None = None) -> bool:
        """Say whether a node may end so.

        :param cancelable: whether something around the node may cancel it.
        """
        may = self.cancelable if cancelable is None else cancelable
        return ALLOW[node["kind"]](self, node, end, may)

    def may_outlive_cancel(self, tree: Node) -> bool:
        """Say whether a program may come to another end than canceled although its cancellation was delivered.

        A group that has failed waits for the others' cleaning up; a cancellation that comes meanwhile does not take the place
        of the failure.
        """
        return any(
            each.get("swallows")
            or each.get("options", {}).get("cancellation") == "wait"
            or (each["kind"] == "guard" and passes_failures(each["children"][1]))
            or (
                each["kind"] == "group"
                and passes_failures(each)
                and any(part["kind"] == "guard" for part in walk(each))
            )
            for each in walk(tree)
        )


def can_succeed(node: Node) -> bool:
    """Say whether there is any order of things in which a node comes to its end with a value."""
    children = node.get("children", ())
    match node["kind"]:
        case "act" | "local":
            return _may_return(node)
        case "seq" | "par" | "group":
            return all(map(can_succeed, children))
        case "race" | "choice":
            return any(map(can_succeed, children))
        case "try":
            return can_succeed(children[0]) or can_succeed(children[1])
        case _:
            return True


def passes_failures(node: Node) -> bool:
    """Say whether a failure may come out of a node."""
    return any(each["kind"] in {"act", "local"} for each in walk(node))


def _may_return(node: Node) -> bool:
    return node["ends"] == "ok" and node["fails"] < _ATTEMPTS.get(node["retry"], 1_000)


def kinds_of_failure(node: Node) -> set[str]:
    """Return the types of failure that an activity may end with."""
    limited = node["retry"] != _ENDLESS
    found = set()
    if node["ends"] == "fatal":
        found.add("Fatal")
    if limited and node["fails"] >= _ATTEMPTS[node["retry"]]:
        found.add("Boom")
    if limited and node["kind"] == "act":
        found |= {"WorkerLostError", "ActivityTimeoutError"}
        if node["beats"]:
            found |= {"StoreUnavailable", "SoftLimit"}
    if {"schedule_to_close", "schedule_to_start"} & set(node["options"]):
        found.add("ActivityTimeoutError")
    return found


# -- by kind -------------------------------------------------------------------------------------------------------


def _act(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    match end:
        case Value([number, attempt]):
            in_reach = node["fails"] < attempt <= _ATTEMPTS.get(node["retry"], attempt)
            return number == node["id"] and _may_return(node) and in_reach
        case Failure(number, kind):
            return number == node["id"] and kind in kinds_of_failure(node)
        case _:
            return cancelable and isinstance(end, Canceled)


def _timer(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    return end == Value(f"t{node['id']}") or (cancelable and isinstance(end, Canceled))


def _signal(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    match end:
        case Value("timeout"):
            return node["timeout"] is not None
        case Value(payload):
            return payload in judge.sent.get(f"s{node['id']}", ())
        case _:
            return cancelable and isinstance(end, Canceled)


def _stream(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    match end:
        case Value(list(payloads)):
            places = list(judge.sent.get(f"s{node['id']}", ()))
            known = all(each in places for each in payloads)
            return len(payloads) == node["count"] and known and _rising([places.index(each) for each in payloads])
        case _:
            return cancelable and isinstance(end, Canceled)


def _rising(numbers: Sequence[int]) -> bool:
    return all(left < right for left, right in zip(numbers, numbers[1:], strict=False))


def _until(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    match end:
        case Value("timeout"):
            return node["timeout"] is not None
        case Value("held"):
            return True
        case _:
            return cancelable and isinstance(end, Canceled)


def _effect(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    return isinstance(end, Value) and isinstance(end.value, int)


def _seq(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    children = node["children"]
    if isinstance(end, Value):
        return _each(judge, children, end.value, cancelable)
    return any(
        judge.allows(each, end, cancelable=cancelable) and all(map(can_succeed, children[:index]))
        for index, each in enumerate(children)
    )


def _each(judge: Judge, children: Sequence[Node], values: Any, cancelable: bool) -> bool:
    return (
        isinstance(values, list)
        and len(values) == len(children)
        and all(
            judge.allows(child, Value(value), cancelable=cancelable)
            for child, value in zip(children, values, strict=True)
        )
    )


def _par(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    if isinstance(end, Value):
        return _each(judge, node["children"], end.value, cancelable)
    return _any(judge, node["children"], end, cancelable)


def _any(judge: Judge, children: Sequence[Node], end: End, cancelable: bool) -> bool:
    if isinstance(end, Canceled):
        return cancelable
    return any(judge.allows(each, end, cancelable=cancelable) for each in children)


def _settle(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    if isinstance(end, Canceled):
        return cancelable
    if not isinstance(end, Value) or len(end.value) != len(node["children"]):
        return False
    return all(
        judge.allows(child, Value(rest[0]) if how == "ok" else Failure(*rest), cancelable=cancelable)
        for child, (how, *rest) in zip(node["children"], end.value, strict=True)
    )


def _group(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    # When one fails the group cancels the others, whose cleanups may fail too.
    if isinstance(end, Value):
        return _each(judge, node["children"], end.value, cancelable)
    return _any(judge, node["children"], end, cancelable or isinstance(end, Failure))


def _race(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    match end:
        case Value([index, value]):
            return judge.allows(node["children"][index], Value(value), cancelable=cancelable)
        case Value(_):
            return False
        case _:
            return _any(judge, node["children"], end, cancelable)


def _try(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    body, cleanup = node["children"]
    match end:
        case Value(["ok", value]):
            return judge.allows(body, Value(value), cancelable=cancelable)
        case Value(["caught", number, kind, cleaned]):
            return judge.allows(body, Failure(number, kind), cancelable=cancelable) and judge.allows(
                cleanup, Value(cleaned), cancelable=cancelable
            )
        case Failure():
            return passes_failures(body) and judge.allows(cleanup, end, cancelable=cancelable)
        case _:
            return cancelable and isinstance(end, Canceled)


def _guard(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    body, cleanup = node["children"]
    match end:
        case Value(["ok", value]):
            return judge.allows(body, Value(value), cancelable=cancelable)
        case Value(["canceled", cleaned]):
            return cancelable and bool(node["swallows"]) and judge.allows(cleanup, Value(cleaned), cancelable=True)
        case Failure():
            in_cleanup = cancelable and judge.allows(cleanup, end, cancelable=True)
            return in_cleanup or judge.allows(body, end, cancelable=cancelable)
        case _:
            return cancelable and isinstance(end, Canceled)


def _timeout(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    body = node["children"][0]
    match end:
        case Value(["in time", value]):
            return judge.allows(body, Value(value), cancelable=True)
        case Value(["timeout"]):
            return True
        case Failure():
            return judge.allows(body, end, cancelable=True)
        case _:
            return cancelable and isinstance(end, Canceled)


def _choice(judge: Judge, node: Node, end: End, cancelable: bool) -> bool:
    match end:
        case Value([index, value]):
            return judge.allows(node["children"][index], Value(value), cancelable=cancelable)
        case Value(_):
            return False
        case _:
            return _any(judge, node["children"], end, cancelable)


ALLOW: Final[dict[str, Callable[[Judge, Node, End, bool], bool]]] = {
    "act": _act,
    "local": _act,
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
