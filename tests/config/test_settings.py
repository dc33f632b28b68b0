"""Where settings come from, which of two wins, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from celeriac.config import InlineTurns, Settings
from celeriac.errors import ConfigurationError

DEFAULTS = {
    "store": None,
    "namespace": None,
    "lease": timedelta(seconds=10),
    "republish_after": timedelta(seconds=10),
    "republish_max": timedelta(minutes=10),
    "default_start_to_close": timedelta(hours=1),
    "relay_interval_max": timedelta(seconds=1),
    "relay_batch": 100,
    "relay_pollers": 3,
    "inline_turns": InlineTurns.AUTO,
    "cache_runs": 1_000,
    "cache_bytes": 128 * 1024 * 1024,
    "turn_cpu_limit": timedelta(seconds=2),
    "turn_wall_limit": timedelta(seconds=30),
    "table_prefix": "celeriac_",
    "table_schema": None,
    "workflow_queue": None,
    "activity_queue": None,
    "signals_url": None,
    "hints": True,
    "max_payload_bytes": 2_097_152,
    "event_limit_warning": 10_000,
    "accept_channel_signals": True,
    "signal_secrets": None,
    "signal_max_age": timedelta(minutes=5),
}


def test_without_a_word_said_there_are_the_defaults() -> None:
    assert Settings.load(env={}).model_dump() == DEFAULTS


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_arguments_win_over_the_app_and_the_app_over_the_environment() -> None:
    env = {"CELERIAC_LEASE": "1", "CELERIAC_RELAY_BATCH": "1", "CELERIAC_CACHE_RUNS": "1"}
    conf = {"celeriac_lease": 2, "celeriac_relay_batch": 2}
    settings = Settings.load(conf, env, lease=3)
    assert (settings.lease, settings.relay_batch, settings.cache_runs) == (timedelta(seconds=3), 2, 1)


def test_the_environment_of_the_process_is_read_unless_another_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERIAC_STORE", "sqlite:///of-the-process.db")
    assert Settings().store == "sqlite:///of-the-process.db"
    assert Settings.load().store == "sqlite:///of-the-process.db"
    assert Settings.from_app_conf({}).store == "sqlite:///of-the-process.db"
    assert Settings.load(env={}).store is None


def test_the_environment_speaks_in_strings() -> None:
    env = {
        "CELERIAC_LEASE": "0.5",
        "CELERIAC_CACHE_RUNS": "0",
        "CELERIAC_HINTS": "false",
        "CELERIAC_INLINE_TURNS": "never",
        "CELERIAC_NAMESPACE": "",  # what `CELERIAC_NAMESPACE: ${NAMESPACE:-}` leaves in a compose file
        "PATH": "/usr/bin",
        "celeriac_lease": "another program's",
    }
    changed = {
        "lease": timedelta(seconds=0.5),
        "cache_runs": 0,
        "hints": False,
        "inline_turns": InlineTurns.NEVER,
    }
    assert Settings.load(env=env).model_dump() == DEFAULTS | changed


def test_what_kubernetes_says_of_a_service_with_our_name_is_no_setting() -> None:
    of_services = (
        "CELERIAC_SERVICE_HOST",
        "CELERIAC_SERVICE_PORT",
        "CELERIAC_SERVICE_PORT_HTTP",
        "CELERIAC_PORT",
        "CELERIAC_PORT_5555_TCP",
        "CELERIAC_PORT_5555_TCP_ADDR",
        "CELERIAC_FLOWER_SERVICE_HOST",
        "CELERIAC_FLOWER_PORT_5555_TCP_PROTO",
    )
    assert Settings.load(env=dict.fromkeys(of_services, "10.0.0.1")).model_dump() == DEFAULTS


class Django:
    CELERY_CELERIAC_STORE = "sqlite:///django.db"
    CELERY_CELERIAC_LEASE = 4
    CELERY_TASK_DEFAULT_QUEUE = "web"
    DEBUG = True


class Own:
    MINE_CELERIAC_STORE = "sqlite:///own.db"
    MINE_CELERIAC_LEASE = 4


class UpperCase:
    CELERIAC_STORE = "sqlite:///upper.db"
    CELERIAC_LEASE = 4


class LowerCase:
    celeriac_store = "sqlite:///lower.db"
    celeriac_lease = 4
    task_default_queue = "web"


@pytest.mark.parametrize(
    ("module", "namespace", "store"),
    [
        (Django, "CELERY", "sqlite:///django.db"),
        (Own, "MINE", "sqlite:///own.db"),
        (UpperCase, None, "sqlite:///upper.db"),
        (LowerCase, None, "sqlite:///lower.db"),
    ],
)
def test_an_app_may_be_configured_in_every_way_celery_knows(module: type, namespace: str | None, store: str) -> None:
    app = Celery("shop", set_as_current=False)
    app.config_from_object(module, namespace=namespace)
    settings = Settings.load(app.conf, env={})
    assert (settings.store, settings.lease) == (store, timedelta(seconds=4))


def test_an_app_may_be_configured_by_attribute_update_and_argument() -> None:
    app = Celery("shop", set_as_current=False, celeriac_store="sqlite:///argument.db")
    app.conf.celeriac_lease = timedelta(seconds=4)
    app.conf.update(celeriac_relay_batch=5)
    settings = Settings.from_app_conf(app.conf)
    assert (settings.store, settings.lease, settings.relay_batch) == (
        "sqlite:///argument.db",
        timedelta(seconds=4),
        5,
    )


def test_of_two_spellings_celery_decides() -> None:
    app = Celery("shop", set_as_current=False)
    app.config_from_object(Django, namespace="CELERY")
    app.conf.celeriac_lease = 7
    assert app.conf.celeriac_lease == 7
    assert Settings.load(app.conf, env={}).lease == timedelta(seconds=7)


def test_settings_do_not_change() -> None:
    settings = Settings.load(env={})
    with pytest.raises(ValueError, match="frozen"):
        settings.lease = timedelta(seconds=1)  # type: ignore[misc]


def test_a_url_with_a_password_shows_in_neither_repr_nor_error() -> None:
    settings = Settings.load(env={}, store="postgresql://u:hunter2@db/shop", signals_url="redis://:hunter2@r")
    assert "hunter2" not in repr(settings)
    with pytest.raises(ConfigurationError) as told:
        Settings.load({"celeriac_signals_url": "amqp://u:hunter2@mq"}, env={})
    assert str(told.value) == (
        "celeriac_signals_url: is a Redis URL: redis://, rediss:// (with TLS) or unix:// (a socket)"
    )


@pytest.mark.parametrize(
    ("conf", "env", "explicit", "message"),
    [
        ({}, {}, {"lese": 1}, "'lese' is not a setting of celeriac. Did you mean 'lease'?"),
        (
            {"celeriac_lese": 1},
            {},
            {},
            "'celeriac_lese' in app.conf is not a setting of celeriac. Did you mean 'celeriac_lease'?",
        ),
        (
            {"CELERIAC_LESE": 1},
            {},
            {},
            "'CELERIAC_LESE' in app.conf is not a setting of celeriac. Did you mean 'CELERIAC_LEASE'?",
        ),
        (
            {"CELERY_CELERIAC_LESE": 1},
            {},
            {},
            "'CELERY_CELERIAC_LESE' in app.conf is not a setting of celeriac. Did you mean 'CELERY_CELERIAC_LEASE'?",
        ),
        (
            {},
            {"CELERIAC_RELAY_BATHC": "1"},
            {},
            "'CELERIAC_RELAY_BATHC' in the environment is not a setting of celeriac. Did you mean 'CELERIAC_RELAY_BATCH'?",
        ),
        ({}, {"CELERIAC_ZZZ": "1"}, {}, "'CELERIAC_ZZZ' in the environment is not a setting of celeriac."),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(
    conf: dict[str, Any], env: dict[str, str], explicit: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as told:
        Settings.load(conf, env, **explicit)
    assert str(told.value) == message


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"lease": 0}, "lease=0: a duration must be above zero"),
        (
            {"lease": timedelta(seconds=-1)},
            "lease=datetime.timedelta(days=-1, seconds=86399): a duration must be above zero",
        ),
        ({"lease": float("nan")}, "lease=nan: a duration must be finite"),
        ({"lease": 1e30}, "lease=1e+30: a duration can't be as long as that"),
        ({"lease": "10s"}, "lease='10s': a duration is a number of seconds, such as 10 or 0.5"),
        ({"lease": True}, "lease=True: a duration is a timedelta or a number of seconds, not bool"),
        ({"relay_batch": 0}, "relay_batch=0: is a whole number from 1 on"),
        ({"relay_batch": "many"}, "relay_batch='many': is a whole number from 1 on"),
        ({"relay_batch": 1.5}, "relay_batch=1.5: is a whole number from 1 on"),
        ({"cache_runs": -1}, "cache_runs=-1: is a whole number from 0 on; 0 stands for none"),
        ({"inline_turns": "always"}, "inline_turns='always': Input should be 'auto' or 'never'"),
        ({"hints": "perhaps"}, "hints='perhaps': is true or false"),
        ({"namespace": "a b"}, "namespace='a b': takes 1 to 100 characters without blanks and colons"),
        (
            {"workflow_queue": "a,b"},
            "workflow_queue='a,b': is one queue's name: not empty, no comma, no blanks around it",
        ),
        (
            {"table_prefix": "Shop-"},
            "table_prefix='Shop-': takes up to 30 lower-case letters, digits and underscores, and begins with no digit",
        ),
        (
            {"table_schema": "s" * 64},
            f"table_schema={'s' * 64!r}: takes up to 63 lower-case letters, digits and underscores, and begins with no digit",
        ),
        (
            {"store": "shop.db"},
            "store: is a URL with a scheme, such as postgresql+psycopg://localhost/shop or sqlite:///shop.db",
        ),
        ({"republish_max": 9}, "republish_max (9 s) can't be below republish_after (10 s)"),
        ({"turn_wall_limit": 1}, "turn_wall_limit (1 s) can't be below turn_cpu_limit (2 s)"),
        (
            {"lease": 0, "relay_batch": 0},
            "lease=0: a duration must be above zero\nrelay_batch=0: is a whole number from 1 on",
        ),
    ],
)
def test_a_value_that_cannot_work_is_refused_where_it_is_written(written: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        Settings(_env={}, **written)
    assert str(told.value) == message


def test_a_wrong_value_is_told_in_the_spelling_of_its_place() -> None:
    with pytest.raises(ConfigurationError) as told:
        Settings.load({"CELERY_CELERIAC_LEASE": -1}, {"CELERIAC_RELAY_BATCH": "-1"})
    assert str(told.value).splitlines() == [
        "CELERY_CELERIAC_LEASE=-1: a duration must be above zero",
        "CELERIAC_RELAY_BATCH='-1': is a whole number from 1 on",
    ]


@given(seconds=st.floats(min_value=1e-6, max_value=1e9))
def test_a_duration_is_the_same_in_every_spelling(seconds: float) -> None:
    span = timedelta(seconds=seconds)
    assert {
        Settings.load(env={}, default_start_to_close=span).default_start_to_close,
        Settings.load(env={}, default_start_to_close=seconds).default_start_to_close,
        Settings.load(env={"CELERIAC_DEFAULT_START_TO_CLOSE": repr(seconds)}).default_start_to_close,
    } == {span}
