"""Values and their recorded form: anything an annotation describes <-> plain JSON.

Where a parameter, a result, a signal or a query is annotated, pydantic writes and reads it, so that what comes back is what
the annotation says. Where it is not, plain JSON passes as it is and the common types of the standard library are tagged the
way Celery's own JSON tags them (``{"__type__": "datetime", "__value__": ...}``), so that they come back as they went in.
Everything else is refused where it is passed. Nothing is ever pickled.
"""

from __future__ import annotations

import base64
import inspect
import json
import math
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Final, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic._internal import _generate_schema
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError

from celeriac.errors import InvalidCall, PayloadError

Json = Any
"""A value made of dict (with str keys), list, str, int, float, bool and None."""

_PLAIN: Final = (str, bool, type(None))
_QUICK: Final = (int, bool, type(None))
"""What means the same to pydantic in Python and in JSON."""
MAX_DEPTH: Final = 200
"""How deep lists and mappings may lie in one another. What writes them may have more of the interpreter's stack left than
what reads them, and a value that can't be read again holds its run.
"""
_MAX_INT: Final = 10**4000
"""Beyond it Python itself refuses to write a whole number in decimal digits, or to read one (it does from 4,300 digits on)."""
_DUMPS: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, check_circular=False).encode
_TAGS: Final[dict[str, Callable[[Any], Any]]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda seconds: timedelta(seconds=seconds),
    "decimal": Decimal,
    "uuid": lambda value: uuid.UUID(value["hex"] if isinstance(value, Mapping) else value),
    "bytes": lambda value: base64.b64decode(value.encode("ascii")),
    "base64": lambda value: base64.b64decode(value.encode("ascii")),
    "tuple": lambda items: tuple(restore(item) for item in items),
    "set": lambda items: {restore(item) for item in items},
    "frozenset": lambda items: frozenset(restore(item) for item in items),
    "float": float,
    "tagged": lambda value: restore(value),  # noqa: PLW0108 - it is not there yet
    "object": lambda pairs: {restore(key): restore(item) for key, item in pairs},
}


def to_text(value: Json) -> str:
    """Write a JSON value as ASCII text without spaces, which any database's text column holds unchanged."""
    return _DUMPS(value)


def check_size(value: Json, limit: int | None, what: str) -> int:
    """Refuse a value that takes more than ``limit`` bytes when written (None: any size will do, and none is counted).

    :returns: the bytes it takes; 0 where there is no limit.
    :raises PayloadError: names the value, its size and the limit.
    """
    if limit is None:
        return 0
    try:
        size = len(to_text(value))
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"{what} can't be recorded: {error}") from None
    if size > limit:
        raise PayloadError(
            f"{what} would take {size:,} bytes, more than the {limit:,} that are recorded. Store it elsewhere (an object "
            f"store, a file) and pass its name, or raise the setting max_payload_bytes"
        )
    return size


def from_text(text: str) -> Json:
    """Read what :func:`to_text` wrote."""
    return json.loads(text)


def is_shallow(value: Json) -> bool:
    """Whether nothing in a JSON value lies deeper than :data:`MAX_DEPTH`; however deep it is, this takes no stack."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for each in level
            if type(each) in (list, dict)
            for item in (each.values() if type(each) is dict else each)
        ]
        if not level:
            return True
    return False


def plain(value: Any, room: int = MAX_DEPTH) -> Json:
    """Turn a value of unknown annotation into JSON.

    :param room: how many levels of lists and mappings it may have.
    :raises PayloadError: the value's type says nothing about how to write it, or it is too deep or too large to be read again.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        if -_MAX_INT < value < _MAX_INT:
            return value
        raise PayloadError("a whole number of more than 4,000 digits can't be recorded; pass it as a text")
    if kind is float:
        return value if math.isfinite(value) else _tag("float", str(value))
    if room <= 0:
        raise PayloadError(
            f"lists and mappings can't be recorded that lie more than {MAX_DEPTH} levels deep in one another"
        )
    if kind is list:
        return [plain(item, room - 1) for item in value]
    if kind is dict:
        return _plain_mapping(value, room - 1)
    return _plain_other(value, room - 1)


def _plain_mapping(value: Mapping[Any, Any], room: int) -> Json:
    if all(type(key) is str for key in value) and "__type__" not in value:
        return {key: plain(item, room) for key, item in value.items()}
    return _tag("object", [[plain(key, room), plain(item, room)] for key, item in value.items()])


def _plain_other(value: Any, room: int) -> Json:  # noqa: PLR0911 - one line a type reads best
    if isinstance(value, datetime):
        return _tag("datetime", value.isoformat())
    if isinstance(value, date):
        return _tag("date", value.isoformat())
    if isinstance(value, time):
        return _tag("time", value.isoformat())
    if isinstance(value, timedelta):
        return _tag("timedelta", value.total_seconds())
    if isinstance(value, Decimal):
        return _tag("decimal", str(value))
    if isinstance(value, uuid.UUID):
        return _tag("uuid", {"hex": value.hex, "version": value.version})
    if isinstance(value, (bytes, bytearray)):
        return _tag("bytes", base64.b64encode(value).decode("ascii"))
    if type(value) in (tuple, set, frozenset):
        # A set has no order of its own: write it in one that any process repeats.
        items = [plain(item, room) for item in value]
        return _tag(type(value).__name__, items if type(value) is tuple else sorted(items, key=to_text))
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise PayloadError(
        f"a value of type {type(value).__module__}.{type(value).__qualname__} can't be recorded as JSON without an annotation"
    )


def _tag(kind: str, value: Json) -> Json:
    return {"__type__": kind, "__value__": value}


def _without_enums(value: Any) -> Any:
    """Put members' values in place of the members, as JSON has it."""
    if isinstance(value, Enum):
        return _without_enums(value.value)
    if isinstance(value, dict):
        return {_without_enums(key): _without_enums(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        kind = type(value) if type(value) in (list, set, frozenset) else tuple  # named tuples are read back from tuples
        return kind(_without_enums(item) for item in value)
    return value


def restore(value: Json) -> Any:
    """Read what :func:`plain` wrote."""
    if type(value) is list:
        return [restore(item) for item in value]
    if type(value) is dict:
        if "__type__" in value:
            return _untag(value)
        return {key: restore(item) for key, item in value.items()}
    return value


def _untag(value: dict[str, Json]) -> Any:
    kind = value["__type__"]
    reader = _TAGS.get(kind) if isinstance(kind, str) else None
    if reader is None or "__value__" not in value:
        raise PayloadError(f"recorded value of the unknown kind {kind!r} can't be read")
    try:
        return reader(value["__value__"])
    except PayloadError:
        raise
    except Exception as error:  # noqa: BLE001 - what a program elsewhere wrote may be anything
        raise PayloadError(
            f"recorded value of the kind {kind!r} can't be read: {type(error).__name__}: {error}"
        ) from None


class Converter:
    """Writes and reads the values of one annotation.

    :param annotation: any type, or ``Any`` (also: a missing annotation) for untyped values.
    """

    __slots__ = ("_adapter", "annotation")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self._adapter = None if annotation is Any or annotation is inspect.Parameter.empty else _adapter(annotation)

    def write(self, value: Any, what: str) -> Json:
        """Return the value as JSON.

        :param what: what the value is, for the message, such as ``"argument 'order' of workflow 'shop.fulfil'"``.
        :raises PayloadError: it does not fit the annotation, or can't be written.
        """
        if self._adapter is None:
            return self._write_plain(value, what)
        try:
            checked = self._adapter.validate_python(value)
        except ValidationError as error:
            raise PayloadError(f"{what} does not fit {describe(self.annotation)}: {_reason(error)}") from None
        try:
            return self._adapter.dump_python(checked, mode="json", warnings="error", by_alias=True)
        except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
            return self._write_tagged(checked, what, error)

    def _write_tagged(self, value: Any, what: str, why: Exception) -> Json:
        """Write what pydantic has no JSON for, such as bytes in a model that are no text, the way untyped values are written."""
        try:
            return _tag("tagged", plain(_without_enums(self._adapter.dump_python(value, by_alias=True))))  # type: ignore[union-attr]
        except (PydanticSerializationError, PayloadError, ValueError, TypeError, RecursionError):
            raise PayloadError(f"{what}: {type(value).__name__} can't be recorded as JSON: {why}. {_HOW}") from None

    def _write_plain(self, value: Any, what: str) -> Json:
        try:
            return plain(value)
        except PayloadError as error:
            raise PayloadError(f"{what}: {error}. {_HOW}") from None
        except RecursionError:
            raise PayloadError(f"{what}: {type(value).__name__} refers to itself and can't be recorded") from None

    def read(self, recorded: Json, what: str) -> Any:
        """Return the value that ``recorded`` stands for.

        :raises PayloadError: it does not fit the annotation.
        """
        if self._adapter is None:
            try:
                return restore(recorded)
            except PayloadError as error:
                raise PayloadError(f"{what}: {error}") from None
        try:
            return self._read_typed(recorded)
        except ValidationError as error:
            try:  # sent by a program that knows no annotations, with Celery's tags
                return self._adapter.validate_python(restore(recorded))
            except (ValidationError, PayloadError):
                raise PayloadError(f"{what} does not fit {describe(self.annotation)}: {_reason(error)}") from None
        except PayloadError as error:
            raise PayloadError(f"{what}: {error}") from None

    def _read_typed(self, recorded: Json) -> Any:
        adapter: TypeAdapter[Any] = self._adapter  # type: ignore[assignment]
        if type(recorded) in _QUICK or (self.annotation is str and type(recorded) is str):
            return adapter.validate_python(recorded)
        if type(recorded) is dict and recorded.get("__type__") == "tagged":
            return adapter.validate_python(restore(recorded))
        # As JSON, where strings are how UUIDs, dates and bytes are carried; Python's way of looking at a string is stricter.
        return adapter.validate_json(to_text(recorded))


_HOW: Final = (
    "Recordable are JSON values, pydantic models, dataclasses, enums, datetime, UUID, Decimal, bytes, sets and tuples; "
    "annotate it (the parameter, the return value) with its type, or give the type a pydantic serializer"
)


def describe(annotation: Any) -> str:
    """Name an annotation the way the user wrote it."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    given = f", got {type(first['input']).__name__}" if "input" in first else ""
    return f"{path + ': ' if path else ''}{first['msg']}{given}{more}"


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return _cached_adapter(annotation)
    except TypeError:  # an unhashable annotation, such as Annotated[int, [1]]
        return _make_adapter(annotation)


@lru_cache(maxsize=4096)
def _cached_adapter(annotation: Any) -> TypeAdapter[Any]:
    return _make_adapter(annotation)


def _make_adapter(annotation: Any) -> TypeAdapter[Any]:
    config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")
    try:
        with _old_typed_dicts():
            try:
                return TypeAdapter(annotation, config=config)
            except PydanticUserError as error:  # models, dataclasses and TypedDicts bring their own configuration
                if error.code != "type-adapter-config-unused":
                    raise
                return TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise PayloadError(
            f"pydantic knows no way to record {describe(annotation)} as JSON. Give the type a "
            f"__get_pydantic_core_schema__, or annotate with a type that has one ({str(error).splitlines()[0]})"
        ) from None


@contextmanager
def _old_typed_dicts() -> Iterator[None]:
    """Have pydantic take typing.TypedDict before Python 3.12 too; it refuses it there only for the sake of generic ones."""
    if sys.version_info >= (3, 12) or getattr(_generate_schema, "_SUPPORTS_TYPEDDICT", True):
        yield
        return
    _generate_schema._SUPPORTS_TYPEDDICT = True  # noqa: SLF001 - there is no public way
    try:
        yield
    finally:
        _generate_schema._SUPPORTS_TYPEDDICT = False  # noqa: SLF001


UNTYPED: Final = Converter(Any)
"""The converter of values without annotation."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments as they are recorded: JSON values by position and by name."""

    args: Sequence[Json] = ()
    kwargs: Mapping[str, Json] = None  # type: ignore[assignment]  # filled in below: a frozen class can't share a dict

    def __post_init__(self) -> None:
        if self.kwargs is None:
            object.__setattr__(self, "kwargs", {})


class Signature:
    """The arguments and the result of a function, each with its converter.

    :param fn: the function; annotations that can't be resolved count as missing.
    :param skip: how many leading parameters are not the caller's (a workflow's context, a bound task's ``self``).
    :param label: what to call it in messages, such as ``"workflow 'shop.fulfil'"``.
    :param lenient: let an annotation that describes nothing recordable count as missing too (functions that were written
        without us in mind).
    :raises PayloadError: an annotation that describes nothing recordable, unless lenient.
    """

    __slots__ = ("_by_name", "_rest", "_rest_named", "_surely", "label", "positional", "result", "signature")

    def __init__(self, fn: Callable[..., Any], *, skip: int = 0, label: str, lenient: bool = False) -> None:
        hints = _hints(fn)

        def converter(name: str, what: str) -> Converter:
            try:
                return Converter(hints.get(name, Any))
            except PayloadError as error:
                if lenient:
                    return UNTYPED
                raise PayloadError(f"{what} of {label}: {error}") from None

        parameters = list(inspect.signature(fn).parameters.values())[skip:]
        self.label = label
        self.signature = inspect.Signature(parameters)
        self.result = converter("return", "result")
        converters = {each.name: converter(each.name, f"argument {each.name!r}") for each in parameters}
        kinds = {each.kind: converters[each.name] for each in parameters}
        self.positional = [
            converters[each.name]
            for each in parameters
            if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        self._by_name = converters
        # How many arguments by position fit whatever they are: binding them would tell nothing more.
        needed = sum(each.default is each.empty for each in parameters)
        self._surely = range(needed, len(parameters) + 1) if len(self.positional) == len(parameters) else range(0)
        self._rest = kinds.get(inspect.Parameter.VAR_POSITIONAL)
        self._rest_named = kinds.get(inspect.Parameter.VAR_KEYWORD)

    def write(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Check a call against the signature and record its arguments.

        :raises InvalidCall: too many, too few or misnamed arguments.
        :raises PayloadError: an argument that does not fit or can't be recorded; names it.
        """
        try:
            if kwargs or len(args) not in self._surely:
                self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidCall(f"{self.label} takes {self.signature}: {error}") from None
        names = list(self.signature.parameters)
        written = [
            self._at(index).write(value, f"argument {names[min(index, len(names) - 1)]!r} of {self.label}")
            for index, value in enumerate(args)
        ]
        named = {
            name: self._named(name).write(value, f"argument {name!r} of {self.label}") for name, value in kwargs.items()
        }
        return Arguments(written, named)

    def read(self, arguments: Arguments) -> tuple[list[Any], dict[str, Any]]:
        """Return recorded arguments as values.

        :raises PayloadError: one does not fit the signature as it is now.
        """
        try:
            if arguments.kwargs or len(arguments.args) not in self._surely:
                self.signature.bind(*arguments.args, **arguments.kwargs)
        except TypeError as error:
            raise PayloadError(
                f"the recorded arguments do not fit {self.label}, which takes {self.signature}: {error}"
            ) from None
        args = [
            self._at(index).read(value, f"argument {index + 1} of {self.label}")
            for index, value in enumerate(arguments.args)
        ]
        kwargs = {
            name: self._named(name).read(value, f"argument {name!r} of {self.label}")
            for name, value in arguments.kwargs.items()
        }
        return args, kwargs

    def _at(self, index: int) -> Converter:
        return self.positional[index] if index < len(self.positional) else (self._rest or UNTYPED)

    def _named(self, name: str) -> Converter:
        return self._by_name.get(name) or self._rest_named or UNTYPED


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """Resolve annotations one by one: a name that only type checkers know must not cost the others their types."""
    target = inspect.unwrap(fn)
    try:
        return get_type_hints(target, include_extras=True)
    except (NameError, AttributeError, TypeError):
        pass
    found: dict[str, Any] = {}
    for name, annotation in getattr(target, "__annotations__", {}).items():

        def alone() -> None: ...

        alone.__annotations__ = {name: annotation}
        try:
            found |= get_type_hints(alone, globalns={**getattr(target, "__globals__", {})}, include_extras=True)
        except Exception:  # noqa: BLE001, S112 - whatever it raises, it is no annotation we can use
            continue
    return found
