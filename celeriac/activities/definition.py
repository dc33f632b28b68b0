"""An activity as it is declared: a name, a function where this process has it, its types and its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celeriac.activities.options import ActivityOptions
from celeriac.payloads import UNTYPED, Arguments, Converter, Signature


class ActivityDefinition:
    """An activity under its name.

    :param name: the name under which it is recorded; for Celery the task's name.
    :param fn: the function, or None for a task known by name only, whose arguments and result are then untyped.
    :param skip: leading parameters that are not the caller's (the ``self`` of a bound task).
    :param lenient: let annotations that describe nothing recordable count as missing (tasks that were there before us).
    :raises PayloadError: such an annotation, unless lenient.
    """

    __slots__ = ("fn", "is_async", "name", "options", "result", "signature")

    def __init__(
        self,
        name: str,
        fn: Callable[..., Any] | None = None,
        options: ActivityOptions | None = None,
        *,
        skip: int = 0,
        lenient: bool = False,
    ) -> None:
        self.name = name
        self.fn = fn
        self.is_async = fn is not None and inspect.iscoroutinefunction(fn)
        self.options = options or ActivityOptions()
        label = f"activity {name!r}"
        self.signature = Signature(fn, skip=skip, label=label, lenient=lenient) if fn is not None else None
        self.result: Converter = self.signature.result if self.signature is not None else UNTYPED

    def with_options(self, overrides: Mapping[str, Any]) -> ActivityDefinition:
        """Return the same activity with some options replaced, for one call.

        :raises InvalidCall: an option that does not exist.
        """
        other = object.__new__(type(self))
        for name in self.__slots__:
            object.__setattr__(other, name, getattr(self, name))
        other.options = self.options.merged(overrides)
        return other

    def write(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Check a call and record its arguments.

        :raises InvalidCall: the arguments do not fit the signature.
        :raises PayloadError: an argument can't be recorded; names it.
        """
        if self.signature is not None:
            return self.signature.write(args, kwargs)
        label = f"of activity {self.name!r}"
        return Arguments(
            [UNTYPED.write(value, f"argument {index + 1} {label}") for index, value in enumerate(args)],
            {name: UNTYPED.write(value, f"argument {name!r} {label}") for name, value in kwargs.items()},
        )

    def read(self, arguments: Arguments) -> tuple[list[Any], dict[str, Any]]:
        """Return recorded arguments as values.

        :raises PayloadError: they do not fit the signature as it is now.
        """
        if self.signature is not None:
            return self.signature.read(arguments)
        return (
            [UNTYPED.read(value, self.name) for value in arguments.args],
            {name: UNTYPED.read(value, self.name) for name, value in arguments.kwargs.items()},
        )

    def __repr__(self) -> str:
        return f"<activity {self.name!r}>"
