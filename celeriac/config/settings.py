"""The settings: every knob there is, its unit, its default, and where it may be turned."""

from __future__ import annotations

import os
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from celeriac.config.sources import Written, WrittenSource, in_conf, in_environment
from celeriac.config.values import (
    BrokerQueue,
    Count,
    CountOrNone,
    Namespace,
    RedisUrl,
    SchemaName,
    Secrets,
    Span,
    StoreUrl,
    Switch,
    TablePrefix,
)
from celeriac.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


class InlineTurns(StrEnum):
    """Whether a process that has just finished an activity may take the run's next turn itself."""

    AUTO = "auto"
    NEVER = "never"


class Settings(BaseSettings):
    """What celeriac does where nothing else is said. Immutable.

    A value is looked for in keyword arguments, then in the app's configuration (``celeriac_<name>``), then
    in the environment (``CELERIAC_<NAME>``), else it is the default. Durations are timedeltas or **seconds**.

    :raises ConfigurationError: a value that can't work, or a name that is no setting.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    store: StoreUrl | None = Field(default=None, repr=False)
    """URL of the store, such as ``postgresql+psycopg://localhost/shop``. None: none is configured."""

    namespace: Namespace | None = None
    """Keeps apps and environments that share a database and a Redis apart. None: the app's main name."""

    lease: Span = timedelta(seconds=10)
    """How long a turn or an attempt belongs to a process that no longer says so. Recovery takes this long."""

    republish_after: Span = timedelta(seconds=10)
    """How long an unclaimed message is trusted to be under way before it is sent again; then doubling."""

    republish_max: Span = timedelta(minutes=10)
    """Where that doubling ends."""

    default_start_to_close: Span = timedelta(hours=1)
    """How long an attempt of an activity may take that has no timeout and no hard time limit of its own."""

    relay_interval_max: Span = timedelta(seconds=1)
    """How long an idle relay sleeps at most before it looks for due rows again."""

    relay_batch: Count = 100
    """How many due rows a relay takes at once."""

    relay_pollers: Count = 3
    """How many processes of a namespace poll at once, however many workers there are."""

    inline_turns: InlineTurns = InlineTurns.AUTO
    """``auto`` or ``never``: may a process that finished an activity take the next turn without a message?"""

    cache_runs: CountOrNone = 1_000
    """How many suspended runs a process keeps alive. 0: none; each turn replays from the first event."""

    cache_bytes: Count = 128 * 1024 * 1024
    """How many bytes, by estimate, these may take in one process. The least recently used make room."""

    turn_cpu_limit: Span = timedelta(seconds=2)
    """CPU time that one step of a turn may take; then the turn is abandoned and its run blocked. Local activities don't count."""

    turn_wall_limit: Span = timedelta(seconds=30)
    """The same in time on the wall; not below ``turn_cpu_limit``."""

    table_prefix: TablePrefix = "celeriac_"
    """What the names of the SQL tables begin with; lower-case letters, digits and underscores."""

    table_schema: SchemaName | None = None
    """The database schema the SQL tables live in. None: the connection's own."""

    workflow_queue: BrokerQueue | None = None
    """The queue of workflows that have no route of their own. None: as Celery routes them."""

    activity_queue: BrokerQueue | None = None
    """The same for ``@durable.activity`` tasks. The app's other tasks stay where they are routed."""

    signals_url: RedisUrl | None = Field(default=None, repr=False)
    """Redis URL of the signal bus. None: the broker's or backend's where that is a Redis, else no bus."""

    hints: Switch = True
    """Whether processes wake one another over the signal bus. Without, polling delivers, only later."""

    max_payload_bytes: Count = 2 * 1024 * 1024
    """The size, encoded, above which a single argument, result or signal is refused."""

    event_limit_warning: Count = 10_000
    """The number of events in one history from which on a warning advises to continue as new."""

    accept_channel_signals: Switch = True
    """Whether messages that other programs publish on the Redis channel are taken for signals."""

    signal_secrets: Secrets | None = Field(default=None, repr=False)
    """Secrets shared with those who publish signals, the newest first. Where there are any, only messages signed by one of
    them are taken. None: all are."""

    signal_max_age: Span = timedelta(minutes=5)
    """How far the time that a signed message names may lie from this machine's clock, either way."""

    def __init__(
        self,
        *,
        _app_conf: Mapping[str, Any] | None = None,
        _env: Mapping[str, str] | None = None,
        **explicit: Any,
    ) -> None:
        known = type(self).model_fields
        for name in explicit:
            if name not in known:
                raise ConfigurationError(f"{name!r} is not a setting of celeriac.{did_you_mean(name, known)}")
        environment = in_environment(os.environ if _env is None else _env, known)
        conf = in_conf(_app_conf or {}, known)
        try:
            super().__init__(_found=(conf, environment), **explicit)
        except ValidationError as error:
            named = {name: Written(name, value) for name, value in explicit.items()}
            raise _told(error, environment | conf | named) from None

    @classmethod
    def load(
        cls,
        app_conf: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        **explicit: Any,
    ) -> Self:
        """Gather the settings from everywhere.

        :param app_conf: ``app.conf``, or a mapping with such keys; it is read now, so complete it before.
        :param env: the environment; None is this process's.
        :param explicit: settings that win over both.
        :raises ConfigurationError: a value that can't work, or a name that is no setting.
        """
        return cls(_app_conf=app_conf, _env=env, **explicit)

    @classmethod
    def from_app_conf(cls, conf: Mapping[str, Any]) -> Self:
        """Gather the settings from an app's configuration, and from the environment what that leaves open."""
        return cls.load(conf)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003, reads os.environ only
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003, a file nobody named is not read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003, the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order: keyword arguments, the app's configuration, the environment."""
        found: tuple[dict[str, Written], ...] = ()
        if isinstance(init_settings, InitSettingsSource):
            found = init_settings.init_kwargs.pop("_found", ())
        return init_settings, *(WrittenSource(settings_cls, written) for written in found)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse two values that contradict each other."""
        for lower, upper in (("republish_after", "republish_max"), ("turn_cpu_limit", "turn_wall_limit")):
            low, high = getattr(self, lower), getattr(self, upper)
            if low > high:
                raise ValueError(
                    f"{upper} ({high.total_seconds():g} s) can't be below {lower} ({low.total_seconds():g} s)"
                )
        return self


def _told(error: ValidationError, written: Mapping[str, Written]) -> ConfigurationError:
    """Say what is wrong, in the spelling it was written in. URLs are kept back: they hold passwords."""
    lines = []
    for each in error.errors(include_url=False, include_context=False):
        what = each["msg"].removeprefix("Value error, ")
        field = str(each["loc"][0]) if each["loc"] else ""
        if field not in written:
            lines.append(what)
        elif Settings.model_fields[field].repr:
            lines.append(f"{written[field].name}={written[field].value!r}: {what}")
        else:
            lines.append(f"{written[field].name}: {what}")
    return ConfigurationError("\n".join(lines))
